"""Whole texts of ModelDeployments and their rollouts against golden files."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fovea.cli import deployment_text
from fovea_api.v1alpha1 import ModelDeployment
from support.golden import Golden
from support.rollouts import (
    ABORTED,
    ALONE,
    CANDIDATE,
    FAILED,
    HISTORY,
    LATE,
    SHIFT,
    STABLE,
    STARTING,
    deployment,
    place,
    traffic,
)

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
ENDPOINT = {
    "grpc": "digits.vision.svc:8500",
    "rest": "http://digits.vision.svc:8501/v1/models/digits",
    "externalGrpc": "digits.vision.example.com:443",
}
CONDITIONS = [
    {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-05-01T11:59:20Z",
    }
    for kind, status, reason, message in (
        ("Serving", "True", "Available", "Version 3 answers."),
        ("Progressing", "True", "Shifting", "Version 4 gets 10 % of the requests (step 2 of 4)."),
        ("RolledBack", "False", "NotRolledBack", "Version 4 was not given up."),
    )
]
WAITING = {**CANDIDATE, "shift": {**SHIFT, "waitsFor": "100 requests to version 4"}}
COMPARED = {**WAITING, "traffic": traffic(1013, 2, 12.6, None) | {"compared": 120, "drift": 0.00417}}
HELD = {**CANDIDATE, "shift": {key: value for key, value in SHIFT.items() if key != "nextTime"}}
LAST = {
    **place(4, "candidate", "Baking", 100, traffic=traffic(5000, 0)),
    "shift": {"step": 4, "steps": 4, "weight": 100, "since": SHIFT["since"], "nextTime": "2026-05-01T12:01:20Z"},
}
OLD = place(2, "draining", "Draining")
BLUE_GREEN = {"strategy": "BlueGreen", "steps": None}

SHOWN = {
    "shifting": deployment(
        STABLE,
        CANDIDATE,
        OLD,
        endpoint=ENDPOINT,
        conditions=CONDITIONS,
        history=HISTORY,
        message="Version 4 gets 10 % of the requests (step 2 of 4). At 2026-05-01T12:00:20Z, it gets 50 %.",
    ),
    "waiting": deployment(STABLE, WAITING),
    "compared": deployment(STABLE, COMPARED),
    "paused": deployment(STABLE, HELD, rollout={"paused": True}),
    "baking": deployment(place(3, "stable", "Switching"), LAST),
    "starting": deployment(ALONE, STARTING, rollout=BLUE_GREEN),
    "first": deployment(STARTING, replicas=0),
    "rolled-back": deployment(ALONE, FAILED, history=HISTORY),
    "late": deployment(ALONE, LATE),
    "aborted": deployment(ALONE, ABORTED, rollout={"abortedVersion": 4}),
    "promoted-in-vain": deployment(ALONE, FAILED, rollout={"promotedVersion": 4}),
    "idle": deployment(ALONE, history=HISTORY[:3]),
    "new": {
        "metadata": {"name": "digits", "namespace": "vision", "creationTimestamp": "2026-05-01T11:59:57Z"},
        "spec": {"model": "digits", "version": 3},
    },
}


def read(document: dict[str, Any], name: str = "") -> ModelDeployment:
    found = ModelDeployment.model_validate(document)
    return found.model_copy(update={"metadata": found.metadata.model_copy(update={"name": name})}) if name else found


def test_a_list_of_model_deployments(golden: Golden) -> None:
    listed = [read(document, name) for name, document in SHOWN.items()]
    golden.check_text("client/deployments-list.txt", deployment_text.deployments_table(listed, NOW))


@pytest.mark.parametrize("name", SHOWN)
def test_a_description_of_a_model_deployment(golden: Golden, name: str) -> None:
    text = deployment_text.deployment_description(read(SHOWN[name]), NOW)
    golden.check_text(f"client/deployment-{name}.txt", text)


def test_a_list_of_rollouts_that_are_over_begins_with_the_newest(golden: Golden) -> None:
    ended = deployment_text.newest_first(read(SHOWN["rolled-back"]))
    golden.check_text("client/deployment-history.txt", deployment_text.history_table(ended, NOW))
