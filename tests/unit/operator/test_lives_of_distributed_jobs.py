"""Lives of jobs of several pods: members come to harm in any order, and the operator dies between any two writes.

Histories are drawn from seeds by the standard library: thousands of them fit into seconds. A failure names its seed, and
FOVEA_TEST_SEED plays that one alone. What a history holds, the test says; what its invariants are, stands in `World`.
"""

import os
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.desired.pod import training_pod
from fovea_operator.reconcile.shared.pods import ended as has_ended
from fovea_operator.reconcile.training import starting
from support.job_world import PENDING, SHAPES, World, is_chief, of_shape, what_can_happen

HISTORIES = 2_500 if os.environ.get("FOVEA_TEST_WIDE") else 1_250
"""Of each shape, of 31 pods a tenth: ten thousand in `make test`, twenty thousand in `make test-all`."""
SEED = os.environ.get("FOVEA_TEST_SEED")
"""Of the only history to play, as the message of a failure says it."""


def live(world: World) -> None:
    """Some steps at random, then nothing goes wrong any more."""
    chance = world.chance
    if chance.random() < 0.1:
        world.predecessor = replace(PENDING, name="digits-chief-0-0", uid="of-another-job")
    for _ in range(chance.randint(4, 16)):
        alive = [each for each in world.pods.values() if not has_ended(each)]
        match chance.randrange(8):
            case 0 if world.queued and chance.random() < 0.5:
                world.quota(given=False)
            case 0:
                world.ask(suspend=chance.random() < 0.5)
            case 1:
                world.advance()
            case _ if alive:
                to = chance.choice(alive)
                world.happen(to.name, chance.choice(what_can_happen(to)))
            case _:
                world.quota(given=True)
        world.pass_time(chance.choice((0, 1, 7, 30, 60)))
        world.reconcile(chance.choice((None, None, 1, 2, 3)))
    world.ask(suspend=False)
    for _ in range(40):
        world.pass_time(400)
        world.advance()
        world.reconcile()
        chief = next((each for each in world.pods.values() if is_chief(each) and not has_ended(each)), None)
        if chief is not None and not chief.deleting and chance.random() < 0.7:
            world.happen(chief.name, "exit 0")
            world.reconcile()
        if world.over:
            break
    for _ in range(2):
        world.advance()
        world.reconcile()


def expected(shape: str) -> set[str]:
    """What must have happened in some of a shape's histories, for their number to be worth something."""
    always = {"retry", "disruption", "the operator dies", "Suspended", "Resumed", "Published", "BackoffLimitExceeded"}
    always |= {"all pods at once", "PodLost", "Disrupted", "ProgramFailed", "PredecessorEnding"}
    return always | {
        "in a queue": {"WaitingForQuota", "QueueStoppedJob"},
        "a gang": {"GangTimeout"},
        "servers that may run for a while only": {"MaxRunningSecondsExceeded"},
    }.get(shape, set())


@pytest.fixture
def pods_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod's manifest is the same in all histories of a shape: by member and attempt."""
    made: dict[tuple[Member, int], dict[str, Any]] = {}

    def pod_of(of: TrainingJob, one: Member, attempt: int, *more: Any, **named: Any) -> dict[str, Any]:
        if (one, attempt) not in made:
            made[one, attempt] = training_pod(of, one, attempt, *more, **named)
        return made[one, attempt]

    monkeypatch.setattr(starting, "training_pod", pod_of)


@pytest.mark.usefixtures("pods_made_once")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_distributed_job_survives_and_comes_to_an_end(shape: str) -> None:
    """A history: 4 to 16 times something happens to a job (it is suspended or resumed; one of its pods gets a node, starts, is
    drained, vanishes, is killed, asks for a restart or ends; its queue takes the quota back), time passes, and the operator decides
    and carries the decision out, in three of five times only as far as its first, second or third write. Then nothing goes wrong
    any more, and the job must end. It may have 0 to 3 retries. In one of ten histories a pod of a deleted job of the same name is there at first.
    """
    events: Counter[str] = Counter()
    number = HISTORIES // 10 if shape == "31 pods" else HISTORIES
    for seed in range(number) if SEED is None else (int(SEED),):
        world = World(of_shape(shape, seed % 4), random.Random(seed))
        try:
            live(world)
            assert world.over, f"{world.job.status.state}: {world.job.status.message}"
            assert not [each.name for each in world.pods.values() if not has_ended(each)], "nothing runs on"
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        events.update((+world.events).keys())
    rare = {event: events[event] for event in expected(shape) if events[event] < max(1, number // 200)}
    assert SEED is not None or not rare, f"of {number} histories, so few have these: {rare}"
