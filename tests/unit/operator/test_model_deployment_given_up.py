"""ModelDeployments: which versions are given up, which Fovea goes on trying or tries again, and what is said of it (ADR 93)."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_api.v1alpha1.rollout import Rollout
from fovea_operator.reconcile.serving.giving_up import hash_of
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import ServingObserved
from support.observations import at, version
from support.rollout_table import (
    CORRUPT,
    CRASH,
    NOTHING,
    ROLLING,
    V1,
    V2,
    V3,
    Row,
    candidate,
    decide,
    failed,
    held,
    name_of,
    stable,
)
from support.serving_observations import model_deployment, server_pod, service_at, serving, workload, written

QUOTA = "exceeded quota: count/deployments.apps"
SERVES_1 = {"Serving": "True Available"}
INTERNAL_ERROR = {
    "conditions": [
        {
            "type": "Progressing",
            "status": "Unknown",
            "reason": "InternalError",
            "message": "Fovea failed at something it did not expect",
            "lastTransitionTime": "2026-11-21T10:00:00Z",
            "observedGeneration": 1,
        }
    ]
}
SERVES_NOT = {"Serving": "False ProgressDeadlineExceeded"}


def given_up(
    reason: str, message: str = "", *, generation: int = 1, deadline: int = 600, retry: int | None = None, **spec: Any
) -> ServingObserved:
    """Version 1 serves, version 2 was given up at T0 with that deadline, until `retry` seconds later."""
    until = {} if retry is None else {"retryTime": times.text(at(retry))}
    left = failed(
        2, reason, message=message or None, rolloutHash=hash_of(Rollout(progress_deadline_seconds=deadline), 2), **until
    )
    return serving(
        model_deployment(held(stable(1), left), generation=generation, **spec),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1)],
        service=service_at(V1),
    )


TABLE: dict[str, Row] = {
    "a corrupt model is given up at once and never served": Row(
        lambda: serving(
            model_deployment(ROLLING),
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
            model_deployment(ROLLING),
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
    "a corrupt version that was given up is not tried again": Row(
        lambda: given_up("ModelCorrupt", "it is corrupt"),
        NOTHING
        | {
            "failed": 2,
            "candidate": None,
            "conditions": {"Progressing": "False ModelCorrupt", "Serving": "True Available"},
            "wakes": None,
        },
        "Version 2 is given up: it is corrupt; version 1 keeps serving. Fovea tries it again when the wanted version, "
        "spec.machineType, spec.pod or spec.rollout changes.",
        now=99_999,
    ),
    "a version that was given up is not tried again because an autoscaler writes to the scale": Row(
        lambda: given_up("ModelCorrupt", generation=2), NOTHING | {"failed": 2, "candidate": None}
    ),
    "a late version that was given up is not tried again because an autoscaler writes to the scale": Row(
        lambda: given_up("ProgressDeadlineExceeded", retry=3600, generation=2),
        NOTHING | {"failed": 2, "candidate": None},
    ),
    "a corrupt version is tried again when its deadline changes": Row(
        lambda: given_up("ModelCorrupt", rollout={"progressDeadlineSeconds": 601}),
        NOTHING | {"creates": [V2], "failed": None, "candidate": 2},
    ),
    "a version that was given up is tried again when its machine type is named": Row(
        lambda: given_up("ModelCorrupt", machineType="standard"),
        NOTHING | {"creates": [name_of(2, machineType="standard")], "failed": None, "candidate": 2},
    ),
    "a late version waits an hour for its next try": Row(
        lambda: given_up("ProgressDeadlineExceeded", "it is late", retry=3600),
        NOTHING | {"failed": 2, "candidate": None, "wakes": 3600},
        "Version 2 is given up: it is late; version 1 keeps serving. Fovea tries it again at 2026-11-21T11:00:00Z, or",
        now=3599,
    ),
    "a late version is tried again after an hour": Row(
        lambda: given_up("ProgressDeadlineExceeded", retry=3600),
        NOTHING | {"creates": [V2], "failed": None, "candidate": 2, "stable": 1, "wakes": 4200},
        now=3600,
    ),
    "a late version of a long deadline is tried again after six of them": Row(
        lambda: serving(
            model_deployment(ROLLING, rollout={"progressDeadlineSeconds": 1000}),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1), workload(V2)],
            service=service_at(V1),
        ),
        {"deletes": [V2], "failed": 2, "wakes": 7000},
        "Fovea tries it again at 2026-11-21T11:56:40Z, or",
        now=1000,
    ),
    "a version whose time of the next try cannot be read is tried again": Row(
        lambda: serving(
            model_deployment(held(stable(1), failed(2, "ProgressDeadlineExceeded", retryTime="soon"))),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"creates": [V2], "failed": None, "candidate": 2},
    ),
    "an error of the operator's own brings back no version that was given up": Row(
        lambda: serving(
            model_deployment(held(stable(1), failed(2, "ModelCorrupt")) | INTERNAL_ERROR),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"failed": 2, "candidate": None, "conditions": SERVES_1 | {"Progressing": "False ModelCorrupt"}},
        "Version 2 is given up; version 1 keeps serving.",
    ),
    "Fovea goes on trying a first version that is late": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[server_pod(V1, containers={names.MODEL_SERVER_CONTAINER: CRASH})],
            service=service_at(V1),
        ),
        NOTHING
        | {
            "candidate": 1,
            "failed": None,
            "conditions": {
                "Serving": "False ProgressDeadlineExceeded",
                "Progressing": "False ProgressDeadlineExceeded",
            },
            "wakes": None,
        },
        "nothing is served. Fovea goes on trying, and serves it as soon as it answers.",
        now=90_000,
    ),
    "a first version that answers late is served": Row(
        lambda: serving(
            model_deployment(held(candidate(1, reason="ProgressDeadlineExceeded", message="it is late"))),
            version(1),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"stable": 1, "conditions": {"Serving": "True Available", "Progressing": "False UpToDate"}},
        now=90_000,
    ),
    "a first version that is corrupt is given up": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            workloads=[workload(V1)],
            pods=[server_pod(V1, phase="Pending", containers={names.FETCH_MODEL_CONTAINER: CORRUPT})],
            service=service_at(V1),
        ),
        NOTHING | {"deletes": [V1], "candidate": None, "failed": 1},
        "nothing is served. Fovea tries it again when the wanted version, spec.machineType, spec.pod or",
    ),
    "Fovea goes on trying a first Deployment that is refused for too long, and says why": Row(
        lambda: serving(
            model_deployment(held(candidate(1))),
            version(1),
            refused=QUOTA,
        ),
        {"candidate": 1, "conditions": {"Progressing": "False ProgressDeadlineExceeded"} | SERVES_NOT},
        "its pods were not ready within 600 s (rollout.progressDeadlineSeconds): exceeded quota: count/deployments.apps;",
        now=600,
    ),
    "a Deployment that was refused until its deadline is given up with the refusal": Row(
        lambda: serving(
            model_deployment(held(stable(1), candidate(2, reason="PodRefused", message=QUOTA))),
            version(1),
            version(2),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"failed": 2, "candidate": None},
        "(rollout.progressDeadlineSeconds): exceeded quota: count/deployments.apps; version 1 keeps serving. "
        "Fovea tries it again at 2026-11-21T11:10:00Z, or when the wanted version",
        now=600,
    ),
    "a version after the one that was given up is tried": Row(
        lambda: serving(
            model_deployment(held(stable(1), failed(2, "ModelCorrupt"))),
            version(1),
            version(2),
            version(3),
            workloads=[workload(V1, ready=1)],
            service=service_at(V1),
        ),
        NOTHING | {"creates": [V3], "failed": None, "candidate": 3},
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()


def test_giving_up_is_said_once_and_stays_said() -> None:
    pods = [server_pod(V2, phase="Pending", containers={names.FETCH_MODEL_CONTAINER: CORRUPT})]
    seen = serving(
        model_deployment(ROLLING),
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
    then = replace(
        seen, model_deployment=written(seen.model_deployment, first), workloads=(workload(V1, ready=1),), pods=()
    )
    again = decide(then, 5000)
    assert (again.status, again.events, again.children) == (first.status, (), ())
