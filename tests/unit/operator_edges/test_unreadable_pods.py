"""A pod at which the reader fails: a defect. It runs on, and no decision may take it for one that is gone."""

from typing import Any

from fovea_operator.cluster.queue import Again
from fovea_operator.reconcile.shared.decision import Child, Decision, Write
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.training.decide import decide_job
from support.kinds import POD
from support.reconciled import World, job, pod

NO_READER_EXPECTS_IT: dict[str, Any] = {"status": {"phase": "Running", "conditions": [{}]}}
RUNNING = {"state": "RUNNING", "attempts": {"chief-0": 0}}


def test_a_pod_that_becomes_unreadable_is_not_followed_by_a_second_one() -> None:
    world = World(decide_job)
    world.know({**job(), "status": RUNNING})
    world.know(pod())
    world.intake.event(POD, "MODIFIED", world.server.put({**pod(), **NO_READER_EXPECTS_IT}))
    again, calls = world.work()
    assert again == Again()
    assert calls == ["get Pod", "patch TrainingJob/status"]
    assert world.status["attempts"] == {"chief-0": 0}
    [told] = [each for each in world.status["conditions"] if each["reason"] == "InternalError"]
    assert told["status"] == "Unknown"


def test_a_job_goes_on_when_its_pod_can_be_read_again_or_is_gone() -> None:
    world = World(decide_job)
    world.know({**job(), "status": RUNNING})
    broken = world.know({**pod(), **NO_READER_EXPECTS_IT})
    world.work()
    del world.server.objects[POD, broken["metadata"]["name"]]
    world.intake.event(POD, "DELETED", {**broken, "metadata": {**broken["metadata"], "resourceVersion": "90"}})
    world.work()
    assert world.status["attempts"] == {"chief-0": 1}


def test_an_unreadable_pod_that_is_met_by_its_name_is_told_as_a_refusal() -> None:
    refused: list[str] = []

    def decide(observed: JobObserved, *_: Any) -> Decision:
        refused.append(observed.refused)
        return Decision(children=(Child(Write.CREATE, pod()),))

    world = World(decide)
    world.know(job())
    world.know({**pod(), **NO_READER_EXPECTS_IT})
    assert world.work() == (Again(), ["create Pod", "get Pod"])
    assert refused[1].startswith("Pod team/digits-chief-0-0 exists and cannot be read: Fovea fails at it (KeyError)")
