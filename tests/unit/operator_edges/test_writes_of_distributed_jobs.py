"""What a job of several pods costs at the API server until its pods are there."""

from typing import Any

import pytest
from fovea_operator import errors
from fovea_operator.reconcile.training.decide import decide_job
from support.local_jobs import machine_type
from support.reconciled import World, job

ROLES = {"worker": {"count": 2}, "ps": {"count": 1}}
SPEC: dict[str, Any] = {
    "trainer": {"container": {"image": "a:1"}},
    "distribution": "ParameterServer",
    "roles": ROLES,
}
POLICY, SERVICE = ["create NetworkPolicy"], ["get Service", "apply Service"]


@pytest.fixture
def world() -> World:
    made = World(decide_job)
    made.know(machine_type("standard", default=True))
    made.know(job(spec=SPEC))
    return made


def test_a_job_of_four_pods_costs_six_writes_and_nothing_more_when_it_is_decided_on_again(world: World) -> None:
    assert world.work()[1] == [*POLICY, *SERVICE, *["create Pod"] * 4]
    assert world.work()[1] == ["patch TrainingJob/status"], "of the objects, none"


def test_pods_that_are_refused_are_tried_again_without_the_policy(world: World) -> None:
    world.server.fail = lambda call: errors.Refused("exceeded quota", code=403) if call == "create Pod" else None
    first = world.work()[1]
    assert first[:3] == [*POLICY, *SERVICE]
    world.server.fail = None
    assert world.work()[1][:4] == ["create Pod"] * 4


def test_no_pod_is_made_while_the_policy_is_refused(world: World) -> None:
    world.server.fail = lambda call: errors.Refused("no right", code=403) if call == POLICY[0] else None
    assert not {"apply Service", "create Pod"} & set(world.work()[1])
