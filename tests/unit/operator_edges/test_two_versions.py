"""Two versions of the operator during an upgrade: either may lead, and reads what the other has written."""

from typing import Any

import pytest
from fovea_operator.reconcile.shared.decision import Decision
from support.reconciled import World, job


@pytest.mark.parametrize(
    "status",
    [
        {"state": "EVALUATING"},
        {"state": "RUNNING", "attempts": [{"member": "chief-0", "attempt": 1}]},
        {"state": "RUNNING", "retries": {"chief": 1}},
    ],
    ids=["a state of tomorrow", "attempts of another shape", "retries by role"],
)
def test_a_status_that_only_a_newer_operator_can_read_is_left_alone(status: dict[str, Any]) -> None:
    world = World(lambda *_: pytest.fail("nothing is decided on what cannot be read"))
    world.know({**job(), "status": status})
    assert world.work() == (None, [])
    assert world.status == status


def test_a_spec_that_cannot_be_read_is_reported_on_the_object() -> None:
    world = World(lambda *_: Decision())
    unreadable = job()
    unreadable["spec"]["distribution"] = "Telepathic"
    world.know(unreadable)
    _, calls = world.work()
    assert calls == ["get TrainingJob", "patch TrainingJob/status"]
    [condition] = world.status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Admitted", "False", "InvalidSpec")
    assert "spec.distribution" in condition["message"]


def test_fields_that_a_newer_operator_wrote_stay_also_inside_of_maps() -> None:
    newer = {"state": "RUNNING", "placement": "rack-7", "progress": {"step": 3, "share": 0.5}}
    world = World(lambda observed, *_: Decision(status={**observed.job.status.dump(), "state": "FAILED"}))
    world.know({**job(), "status": newer})
    world.work()
    assert world.status == {**newer, "state": "FAILED"}
