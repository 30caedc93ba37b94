"""Decisions on ModelDeployments: which version serves, which comes, which goes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_api.contract.report import REASON_MODEL_CORRUPT, Termination
from fovea_operator.desired.deployment import revision
from fovea_operator.reconcile import model_deployment
from fovea_operator.reconcile.decision import Decision, Write
from fovea_operator.reconcile.observed import ContainerRecord, DeploymentObserved
from support.observations import (
    SETTINGS,
    at,
    deployment,
    machine,
    server_pod,
    service_at,
    serving,
    version,
    workload,
    written,
)


def name_of(number: int, **spec: Any) -> str:
    return f"digits-v{number}-{revision(deployment(**spec), version(number))}"


V1, V2, V3 = name_of(1), name_of(2), name_of(3)


def place(number: int, since: float = 0) -> dict[str, Any]:
    seconds = int(since)
    return {
        "version": number,
        "digest": version(number).spec.digest,
        "deployment": name_of(number),
        "since": f"2026-11-21T10:{seconds // 60:02}:{seconds % 60:02}Z",
    }


def progressing(reason: str, message: str = "", generation: int = 1) -> dict[str, Any]:
    condition = {"type": "Progressing", "status": "False", "reason": reason, "message": message}
    return {
        "conditions": [
            condition | {"lastTransitionTime": "2026-11-21T10:00:00Z", "observedGeneration": generation},
        ]
    }


CORRUPT = ContainerRecord(
    waiting_reason="CrashLoopBackOff",
    last_exit_code=65,
    last_message=Termination(REASON_MODEL_CORRUPT, "s3://fovea/m/2/saved_model.pb does not match its digest").to_json(),
)
PULL = ContainerRecord(waiting_reason="ImagePullBackOff", waiting_message="Back-off pulling image")
CRASH = ContainerRecord(waiting_reason="CrashLoopBackOff", last_exit_code=1, last_message="no saved_model.pb")


def decide(seen: DeploymentObserved, now: float = 60) -> Decision:
    return model_deployment.decide(seen, at(now), SETTINGS)


def summary(decision: Decision) -> dict[str, Any]:
    status = decision.status or {}
    made = [child.manifest for child in decision.children if child.write is Write.CREATE]
    applied = [child.manifest for child in decision.children if child.write is Write.APPLY]
    pointed = [manifest for manifest in applied if manifest["kind"] == "Service"]
    return {
        "creates": [manifest["metadata"]["name"] for manifest in made],
        "scales": {m["metadata"]["name"]: m["spec"]["replicas"] for m in applied if m["kind"] == "Deployment"},
        "points_at": [f"v{manifest['spec']['selector']['fovea.dev/version']}" for manifest in pointed],
        "deletes": [deletion.name for deletion in decision.deletions],
        "stable": (status.get("stable") or {}).get("version"),
        "candidate": (status.get("candidate") or {}).get("version"),
        "draining": [each["version"] for each in status.get("draining", ())],
        "failed": (status.get("failed") or {}).get("version"),
        "conditions": {each["type"]: f"{each['status']} {each['reason']}" for each in status.get("conditions", ())},
        "replicas": status.get("replicas"),
        "wakes": (decision.requeue_at - at(0)).total_seconds() if decision.requeue_at else None,
    }


@dataclass(frozen=True)
class Row:
    seen: Callable[[], DeploymentObserved]
    then: dict[str, Any]
    says: str = ""
    now: float = 60


NOTHING: dict[str, Any] = {"creates": [], "scales": {}, "points_at": [], "deletes": []}
STABLE_1 = {"stable": place(1), "observedGeneration": 1}
ROLLING = STABLE_1 | {"candidate": place(2)}
DRAINING = {"observedGeneration": 1, "stable": place(2, 60), "draining": [place(1, 60)]}

TABLE: dict[str, Row] = {
    # the first version
    "without a version nothing is made": Row(
        lambda: serving(deployment()),
        NOTHING | {"conditions": {"Serving": "False NoVersion", "Progressing": "False NoVersion"}, "replicas": 0},
        "Model digits has no approved version: train one",
    ),
    "a version number that does not exist is named": Row(
        lambda: serving(deployment(version=7), version(1)), NOTHING, "Model digits has no version 7: register it"
    ),
    "the first version gets its Deployment and the Service": Row(
        lambda: serving(deployment(), version(1)),
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
            deployment({"candidate": place(1), "observedGeneration": 1}, scaling={"minReplicas": 2}),
            version(1),
            workloads=[workload(V1, ready=1, replicas=2)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": None, "candidate": 1},
    ),
    "a Deployment that has not seen its newest spec is not believed": Row(
        lambda: serving(
            deployment({"candidate": place(1), "observedGeneration": 1}),
            version(1),
            workloads=[workload(V1, ready=1, generation=2)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": None, "candidate": 1},
    ),
    "when all its pods answer the first version is served": Row(
        lambda: serving(
            deployment({"candidate": place(1), "observedGeneration": 1}),
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
        lambda: serving(deployment(), version(1), version(2), version(3, approval="Rejected")), {"candidate": 2}
    ),
    "a version that is asked for by number is served": Row(
        lambda: serving(deployment(version=1), version(1), version(2)), {"candidate": 1}
    ),
    "without a machine type there is no Deployment": Row(
        lambda: serving(deployment(machineType="gone"), version(1)),
        NOTHING | {"conditions": {"Serving": "False MachineTypeMissing", "Progressing": "False MachineTypeMissing"}},
        "There is no MachineType 'gone'",
    ),
    # the next version
    "a new version is brought up beside the old one": Row(
        lambda: serving(
            deployment(STABLE_1), version(1), version(2), workloads=[workload(V1, ready=1)], service=service_at(V1)
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
            deployment(ROLLING),
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
            deployment(DRAINING),
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
            deployment(DRAINING),
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
            deployment(ROLLING),
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
            deployment({"stable": place(2), "observedGeneration": 1}),
            version(1),
            version(2, approval="Rejected"),
            workloads=[workload(V2, ready=1)],
            service=service_at(V2),
        ),
        NOTHING | {"creates": [V1], "stable": 2, "candidate": 1},
    ),
    "a rollback to a version that still drains uses its pods": Row(
        lambda: serving(
            deployment(DRAINING, version=1),
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
            deployment(STABLE_1),
            version(1, approval="Rejected"),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "conditions": {"Serving": "True Available", "Progressing": "False NoVersion"}},
    ),
    "another machine type brings the same version up anew": Row(
        lambda: serving(
            deployment(STABLE_1, machineType="large"),
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
            deployment(STABLE_1, scaling={"minReplicas": 3}),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"scales": {V1: 3}, "stable": 1, "replicas": 1},
        "answers on 1 of 3 pods",
    ),
    "an upgrade of the operator leaves what serves alone": Row(
        lambda: serving(deployment(STABLE_1), version(1), workloads=[workload(V1, ready=1)], service=service_at(V1)),
        NOTHING,
    ),
    "a stable version's Deployment that was deleted is made again": Row(
        lambda: serving(deployment(STABLE_1), version(1), service=service_at(V1)),
        NOTHING | {"creates": [V1], "conditions": {"Serving": "False Starting", "Progressing": "False UpToDate"}},
    ),
    "another type of Service is applied": Row(
        lambda: serving(
            deployment(STABLE_1, service={"type": "NodePort"}),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"points_at": ["v1"]},
    ),
    # trouble
    "a corrupt model is given up at once and never served": Row(
        lambda: serving(
            deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            pods=[server_pod(V2, phase="Pending", containers={names.FETCH_MODEL_CONTAINER: CORRUPT})],
            service=service_at(V1),
        ),
        NOTHING
        | {
            "deletes": [V2],
            "stable": 1,
            "candidate": None,
            "failed": 2,
            "conditions": {"Serving": "True Available", "Progressing": "False ModelCorrupt"},
        },
        "Version 2 is given up: s3://fovea/m/2/saved_model.pb does not match its digest; version 1 keeps serving.",
    ),
    "a version that is not ready in time is given up with its reason": Row(
        lambda: serving(
            deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            pods=[server_pod(V2, containers={names.MODEL_SERVER_CONTAINER: CRASH})],
            service=service_at(V1),
        ),
        {
            "deletes": [V2],
            "failed": 2,
            "candidate": None,
            "conditions": {"Serving": "True Available", "Progressing": "False ProgressDeadlineExceeded"},
        },
        "its pods were not ready within 600 s (rollout.progressDeadlineSeconds): the model server of pod",
        now=600,
    ),
    "a version that was given up is not tried again": Row(
        lambda: serving(
            deployment(
                STABLE_1 | {"failed": place(2)} | progressing("ModelCorrupt", "Version 2 is given up: it is corrupt.")
            ),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING
        | {
            "failed": 2,
            "candidate": None,
            "conditions": {"Progressing": "False ModelCorrupt", "Serving": "True Available"},
        },
        "Version 2 is given up: it is corrupt.",
        now=9999,
    ),
    "a version that was given up is tried again when the spec changes": Row(
        lambda: serving(
            deployment(STABLE_1 | {"failed": place(2)} | progressing("ModelCorrupt"), generation=2),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"creates": [V2], "failed": None, "candidate": 2},
    ),
    "a version after the one that was given up is tried": Row(
        lambda: serving(
            deployment(STABLE_1 | {"failed": place(2)} | progressing("ModelCorrupt")),
            version(1),
            version(2),
            version(3),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"creates": [V3], "failed": None, "candidate": 3},
    ),
    "an image that cannot be pulled is told while there is time": Row(
        lambda: serving(
            deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            pods=[server_pod(V2, containers={names.MODEL_SERVER_CONTAINER: PULL})],
            service=service_at(V1),
        ),
        NOTHING | {"candidate": 2, "conditions": {"Serving": "True Available", "Progressing": "True ImagePullFailed"}},
        "Version 2 is not ready: the image of model-server cannot be pulled: Back-off pulling image.",
    ),
    "pods that no node takes are told in the scheduler's words": Row(
        lambda: serving(
            deployment({"candidate": place(1), "observedGeneration": 1}),
            version(1),
            workloads=[workload(V1)],
            pods=[server_pod(V1, node="", unschedulable="0/1 nodes are available")],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False Unschedulable", "Progressing": "True Unschedulable"}},
        "no node takes pod",
    ),
    "pods that a quota refuses are told in the API server's words": Row(
        lambda: serving(
            deployment({"candidate": place(1), "observedGeneration": 1}),
            version(1),
            workloads=[workload(V1, replica_failure="exceeded quota")],
            service=service_at(V1),
        ),
        {"conditions": {"Serving": "False PodRefused", "Progressing": "True PodRefused"}},
        "Version 1 is not ready: pods are refused: exceeded quota.",
    ),
    "a refused Deployment is told and tried again": Row(
        lambda: serving(deployment(), version(1), refused="exceeded quota: count/deployments.apps"),
        {"conditions": {"Serving": "False Starting", "Progressing": "True PodRefused"}, "wakes": 90},
        "exceeded quota: count/deployments.apps",
    ),
    "pods of a served version that stop answering are told": Row(
        lambda: serving(
            deployment(STABLE_1),
            version(1),
            workloads=[workload(V1, ready=0)],
            pods=[server_pod(V1, containers={names.MODEL_SERVER_CONTAINER: CRASH})],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "conditions": {"Serving": "False ServerFailed", "Progressing": "False UpToDate"}},
    ),
    # recovery
    "a lost status is recovered from the Service": Row(
        lambda: serving(
            deployment(), version(1), version(2), workloads=[workload(V1, ready=1)], service=service_at(V1)
        ),
        NOTHING | {"creates": [V2], "stable": 1, "candidate": 2},
    ),
    "a candidate whose Deployment was made before a crash is taken up": Row(
        lambda: serving(
            deployment(STABLE_1),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "candidate": 2},
    ),
    "a Service that moved before a crash moves again": Row(
        lambda: serving(
            deployment(ROLLING),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2, ready=1)],
            service=service_at(V2),
        ),
        NOTHING | {"stable": 2, "draining": [1]},
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    row = TABLE[sentence]
    decision = decide(row.seen(), row.now)
    found = summary(decision)
    assert {key: found[key] for key in row.then} == row.then
    if row.says:
        assert row.says in (decision.status or {})["message"]


def test_a_deployment_that_is_being_deleted_is_left_to_its_owner_references() -> None:
    gone = deployment()
    gone = gone.model_copy(update={"metadata": gone.metadata.model_copy(update={"deletion_timestamp": "now"})})
    assert decide(serving(gone, version(1))) == Decision()


def test_the_endpoint_names_the_service_and_its_node_ports() -> None:
    service = service_at(V1, type_="NodePort", node_ports={"grpc": 30500, "rest": 30501})
    seen = serving(
        deployment(STABLE_1, service={"type": "NodePort"}),
        version(1),
        workloads=[workload(V1, ready=1)],
        service=service,
    )
    status = decide(seen).status
    assert status is not None
    assert status["endpoint"] == {
        "grpc": "digits.vision.svc:8500",
        "rest": "http://digits.vision.svc:8501/v1/models/digits",
        "nodePortGrpc": 30500,
        "nodePortRest": 30501,
    }
    revision_ = V1.rpartition("-")[2]
    assert status["selector"] == (
        f"fovea.dev/model-deployment=digits,fovea.dev/version=1,fovea.dev/revision={revision_}"
    )


def test_giving_up_is_said_once_and_stays_said() -> None:
    pods = [server_pod(V2, phase="Pending", containers={names.FETCH_MODEL_CONTAINER: CORRUPT})]
    seen = serving(
        deployment(ROLLING),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1), workload(V2)],
        pods=pods,
        service=service_at(V1),
    )
    first = decide(seen)
    assert [(event.type, event.reason) for event in first.events] == [
        ("Normal", "Available"),
        ("Warning", "ModelCorrupt"),
    ]
    then = replace(seen, deployment=written(seen.deployment, first), workloads=(workload(V1, ready=1),), pods=())
    again = decide(then, 5000)
    assert (again.status, again.events, again.children) == (first.status, (), ())


def test_a_rollout_from_first_version_to_drained_second_one() -> None:
    """The whole way, each status written before the next look; the template is written once per version."""
    of, workloads, service, created = deployment(), (), None, []
    seen = serving(of, version(1))
    for now, answers in ((0, {}), (5, {V1: 1}), (20, {V1: 1}), (30, {V1: 1, V2: 1}), (100, {V1: 1, V2: 1})):
        if now >= 20:
            seen = replace(seen, versions=(version(1), version(2)))
        workloads = tuple(
            replace(each, ready_replicas=answers.get(each.name, 0), available_replicas=answers.get(each.name, 0))
            for each in workloads
        )
        seen = replace(seen, deployment=of, workloads=workloads, service=service)
        decision = decide(seen, now)
        of = written(of, decision)
        for child in decision.children:
            if child.manifest["kind"] == "Service":
                service = service_at(V2 if child.manifest["spec"]["selector"]["fovea.dev/version"] == "2" else V1)
            else:
                created.append(child.manifest["metadata"]["name"])
                workloads = (*workloads, workload(created[-1]))
        gone = {deletion.name for deletion in decision.deletions}
        workloads = tuple(each for each in workloads if each.name not in gone)
    assert created == [V1, V2]
    assert [each.name for each in workloads] == [V2]
    assert (of.status.stable.version if of.status.stable else None, of.status.draining) == (2, None)
