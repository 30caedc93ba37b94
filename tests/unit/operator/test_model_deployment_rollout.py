"""ModelDeployments: which version serves, which comes, which goes; scale."""

from collections.abc import Sequence
from typing import Any

import pytest
from fovea_operator.reconcile.shared.observed import DeploymentRecord, PodRecord, ServingObserved
from support.observations import machine, version
from support.rollout_table import (
    DRAINING,
    NOTHING,
    ROLLING,
    STABLE_1,
    V1,
    V2,
    V3,
    Row,
    candidate,
    held,
    name_of,
    place,
    stable,
)
from support.serving_observations import model_deployment, server_pod, service_at, serving, workload

STOPPED = held(place(1, "stable", "Stopped", weight=100), candidate(2))


def recreated(status: dict[str, Any], *workloads: DeploymentRecord, pods: Sequence[PodRecord] = ()) -> ServingObserved:
    """Versions 1 and 2, of which only one has room."""
    of = model_deployment(status, rollout={"strategy": "Recreate"})
    return serving(of, version(1), version(2), workloads=workloads, pods=pods, service=service_at(V1))


TABLE: dict[str, Row] = {
    # the first version
    "without a version nothing is made": Row(
        lambda: serving(model_deployment()),
        NOTHING | {"conditions": {"Serving": "False NoVersion", "Progressing": "False NoVersion"}, "replicas": 0},
        "Model digits has no approved version: train one",
    ),
    "a version number that does not exist is named": Row(
        lambda: serving(model_deployment(version=7), version(1)), NOTHING, "Model digits has no version 7: register it"
    ),
    "the first version gets its Deployment and the Service": Row(
        lambda: serving(model_deployment(), version(1)),
        {
            "creates": [V1],
            "points_at": ["v1"],
            "candidate": 1,
            "stable": None,
            "conditions": {"Serving": "False Starting", "Progressing": "True Starting"},
            "wakes": 660,
        },
    ),
    "a version whose pods do not all answer is not served yet": Row(
        lambda: serving(
            model_deployment(held(candidate(1)), scaling={"minReplicas": 2}),
            version(1),
            workloads=[workload(V1, ready=1, replicas=2)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": None, "candidate": 1},
    ),
    "a Deployment that has not seen its newest spec is not believed": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1, ready=1, generation=2)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": None, "candidate": 1},
    ),
    "when all its pods answer the first version is served": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING
        | {
            "stable": 1,
            "candidate": None,
            "draining": [],
            "replicas": 1,
            "conditions": {"Serving": "True Available", "Progressing": "False UpToDate"},
        },
        "Version 1 of model digits answers on 1 of 1 pods.",
    ),
    "the newest approved version is wanted": Row(
        lambda: serving(model_deployment(), version(1), version(2), version(3, approval="Rejected")), {"candidate": 2}
    ),
    "a version that is asked for by number is served": Row(
        lambda: serving(model_deployment(version=1), version(1), version(2)), {"candidate": 1}
    ),
    "without a machine type there is no Deployment": Row(
        lambda: serving(model_deployment(machineType="gone"), version(1)),
        NOTHING | {"conditions": {"Serving": "False MachineTypeMissing", "Progressing": "False MachineTypeMissing"}},
        "There is no MachineType 'gone'",
    ),
    # the next version
    "a new version is started beside the old one": Row(
        lambda: serving(
            model_deployment(STABLE_1),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING
        | {
            "creates": [V2],
            "stable": 1,
            "candidate": 2,
            "conditions": {"Serving": "True Available", "Progressing": "True Starting"},
        },
        "Version 1 of model digits answers on 1 of 1 pods. Version 2 is starting;",
    ),
    "the Service moves when the new version answers, and the old one drains": Row(
        lambda: serving(
            model_deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V1),
        ),
        NOTHING
        | {
            "points_at": ["v2"],
            "stable": 2,
            "candidate": None,
            "draining": [1],
            "conditions": {"Serving": "True Available", "Progressing": "True Draining"},
            "wakes": 120,
        },
    ),
    "a draining version is kept until its time is over": Row(
        lambda: serving(
            model_deployment(DRAINING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V2),
        ),
        NOTHING | {"draining": [1], "wakes": 120},
        now=119,
    ),
    "a drained version goes": Row(
        lambda: serving(
            model_deployment(DRAINING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V2),
        ),
        NOTHING
        | {
            "deletes": [V1],
            "draining": [],
            "conditions": {"Serving": "True Available", "Progressing": "False UpToDate"},
        },
        now=120,
    ),
    "a candidate that is no longer wanted goes at once": Row(
        lambda: serving(
            model_deployment(ROLLING),
            version(1),
            version(2),
            version(3),
            workloads=[workload(V1, ready=1), workload(V2)],
            service=service_at(V1),
        ),
        NOTHING | {"creates": [V3], "deletes": [V2], "candidate": 3, "stable": 1},
    ),
    "rejecting the served version goes back to the one before": Row(
        lambda: serving(
            model_deployment(held(stable(2))),
            version(1),
            version(2, approval="Rejected"),
            workloads=[workload(V2, ready=1)],
            service=service_at(V2),
        ),
        NOTHING | {"creates": [V1], "stable": 2, "candidate": 1},
    ),
    "a rollback to a version that still drains uses its pods": Row(
        lambda: serving(
            model_deployment(DRAINING, version=1),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V2),
        ),
        NOTHING | {"points_at": ["v1"], "stable": 1, "candidate": None, "draining": [2]},
        now=100,
    ),
    "when no version is approved any more the stable one keeps serving": Row(
        lambda: serving(
            model_deployment(STABLE_1),
            version(1, approval="Rejected"),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "conditions": {"Serving": "True Available", "Progressing": "False NoVersion"}},
    ),
    "another machine type starts the same version again": Row(
        lambda: serving(
            model_deployment(STABLE_1, machineType="large"),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
            machine_types=[machine(), machine("large", default=False)],
        ),
        NOTHING | {"creates": [name_of(1, machineType="large")], "stable": 1, "candidate": 1},
    ),
    # scale
    "scaling changes the stable version's replicas only": Row(
        lambda: serving(
            model_deployment(STABLE_1, scaling={"minReplicas": 3}),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"scales": {V1: 3}, "stable": 1, "replicas": 1},
        "answers on 1 of 3 pods",
    ),
    "an upgrade of the operator leaves what serves alone": Row(
        lambda: serving(
            model_deployment(STABLE_1), version(1), workloads=[workload(V1, ready=1)], service=service_at(V1)
        ),
        NOTHING,
    ),
    "a stable version's Deployment that was deleted is made again": Row(
        lambda: serving(model_deployment(STABLE_1), version(1), service=service_at(V1)),
        NOTHING | {"creates": [V1], "conditions": {"Serving": "False Starting", "Progressing": "True Starting"}},
    ),
    "a larger scale for which there is no room is not up to date": Row(
        lambda: serving(
            model_deployment(STABLE_1, scaling={"minReplicas": 4}),
            version(1),
            workloads=[workload(V1, ready=1, replicas=4)],
            pods=[server_pod(V1, ready=True), server_pod(V1, node="", unschedulable="0/1 nodes are available")],
            service=service_at(V1),
        ),
        NOTHING | {"conditions": {"Serving": "True Available", "Progressing": "True Unschedulable"}},
        "1 of 4 pods of version 1 answer: no node takes pod",
    ),
    "a larger scale whose pods start is not up to date": Row(
        lambda: serving(
            model_deployment(STABLE_1, scaling={"minReplicas": 2}),
            version(1),
            workloads=[workload(V1, ready=1, replicas=2)],
            service=service_at(V1),
        ),
        NOTHING | {"conditions": {"Serving": "True Available", "Progressing": "True Starting"}},
        "1 of 2 pods of version 1 answer; the others are starting.",
    ),
    "a lost status does not cost a served version whose pods are away for a minute": Row(
        lambda: serving(
            model_deployment({"observedGeneration": 1}),
            version(1),
            version(2),
            workloads=[workload(V1, ready=0)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "candidate": 2, "creates": [V2], "deletes": [], "points_at": []},
    ),
    "a ModelDeployment waits for what a deleted one of its name has left": Row(
        lambda: serving(model_deployment(), version(1), predecessors=("digits", V1)),
        NOTHING | {"conditions": {"Serving": "False PredecessorEnding", "Progressing": "False PredecessorEnding"}},
        f"Waiting for digits, {V1} of the deleted ModelDeployment of this name",
    ),
    "what a deleted one has left does not touch what is served": Row(
        lambda: serving(
            model_deployment(STABLE_1),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
            predecessors=("old",),
        ),
        NOTHING | {"stable": 1, "conditions": {"Serving": "True Available", "Progressing": "False UpToDate"}},
    ),
    "another type of Service is applied": Row(
        lambda: serving(
            model_deployment(STABLE_1, service={"type": "NodePort"}),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"points_at": ["v1"]},
    ),
    # without room for two
    "where there is no room for two the old version's pods end first": Row(
        lambda: recreated(STABLE_1, workload(V1, ready=1), pods=[server_pod(V1, ready=True)]),
        NOTHING
        | {
            "scales": {V1: 0},
            "creates_services": [V2],
            "candidate": 2,
            "steps": {1: "Stopped", 2: "Starting"},
            "conditions": {"Serving": "True Available", "Progressing": "True Starting"},
        },
        "Version 1 of model digits ends its pods.",
    ),
    "as long as one of them is there the new version gets none": Row(
        lambda: recreated(STOPPED, workload(V1, replicas=0), pods=[server_pod(V1, deleting=True)]),
        NOTHING
        | {"creates_services": [V2], "conditions": {"Serving": "False Starting", "Progressing": "True Starting"}},
        "Nothing answers until version 2 does",
    ),
    "then it is made": Row(lambda: recreated(STOPPED, workload(V1, replicas=0)), {"creates": [V2], "scales": {}}),
    "when it answers it is served": Row(
        lambda: recreated(STOPPED, workload(V1, replicas=0), workload(V2, ready=1)),
        {"points_at": ["v2"], "stable": 2, "draining": [1], "promoted": "True Promoted"},
    ),
    "if it is late the old version starts again, and the new one is not tried by time": Row(
        lambda: recreated(STOPPED, workload(V1, replicas=0), workload(V2)),
        {
            "scales": {V1: 1},
            "deletes": [V2],
            "stable": 1,
            "failed": 2,
            "wakes": None,
            "rolled_back": "True ProgressDeadlineExceeded",
        },
        "its pods were not ready within 600 s",
        now=700,
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()
