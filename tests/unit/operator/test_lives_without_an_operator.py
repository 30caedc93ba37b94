"""Lives of jobs of several pods whose operator dies for good: their kubelets hold runPolicy.maxRunningSeconds (ADR 216)."""

import os
import random

import pytest
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import ended as has_ended
from support import kubelet_deadlines
from support.job_world import SHAPES, World, is_chief, of_shape, started, what_can_happen

HISTORIES = 400 if os.environ.get("FOVEA_TEST_WIDE") else 200
"""Of each shape, of 31 pods a tenth."""
MOST_SECONDS = 150
"""runPolicy.maxRunningSeconds of the jobs whose operators die."""


def is_left(record: PodRecord) -> bool:
    return not has_ended(record) and not record.deleting


def counted(world: World) -> tuple[int, int, int]:
    status = world.job.status
    return status.retries or 0, sum((status.attempts or {}).values()), len(world.made)


def live_until_no_operator_leads(world: World) -> bool:
    """Some steps at random with an operator. Whether it leaves a job whose chief's program runs."""
    chance = world.chance
    for _ in range(chance.randint(3, 15)):
        if world.pods and chance.random() < 0.4:
            to = chance.choice(list(world.pods.values()))
            # Nobody knows how long a program ran whose pod has vanished.
            world.happen(to.name, chance.choice([how for how in what_can_happen(to) if how != "vanish"]))
        else:
            world.advance()
        world.pass_time(chance.choice((0, 1, 7, 15)))
        world.reconcile(chance.choice((None, None, 1, 2, 3)))
    world.reconcile()
    chiefs = sorted((each for each in world.pods.values() if is_chief(each)), key=lambda each: each.name)
    return bool(chiefs) and not world.over and started(chiefs[-1]) is not None and is_left(chiefs[-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_no_program_outlives_its_job_s_time_while_no_operator_leads(shape: str) -> None:
    """Kubernetes' own word for it then ends the job as its operator would have: no retry, no further attempt."""
    lives = 0
    for seed in range(HISTORIES // 10 if shape == "31 pods" else HISTORIES):
        world = World(of_shape(shape, 3, maxRunningSeconds=MOST_SECONDS), random.Random(seed))
        try:
            if not live_until_no_operator_leads(world):
                continue
            lives += 1
            before, spent = counted(world), world.spent
            left = MOST_SECONDS - (world.job.status.running_seconds or 0)
            for _ in range(20):
                world.pass_time(20)
            # A pod that no node has taken before the operator goes gets no deadline; nor does one that is being deleted.
            assert not [each.name for each in world.pods.values() if started(each) is not None and is_left(each)]
            assert world.spent - spent <= left + kubelet_deadlines.LATE.total_seconds()
            world.reconcile()
            status = world.job.status
            failed = next(each for each in status.conditions or () if each.type == "Failed")
            assert (status.state, failed.reason) == ("FAILED", "MaxRunningSecondsExceeded")
            assert counted(world) == before
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert lives > 0, "some jobs are left without an operator"
