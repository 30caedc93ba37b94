"""The scheduler changes its words on every waiting pod whenever a node joins: that alone costs a bounded number of writes."""

import asyncio
from typing import Any

import pytest
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.words import Words
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.training.decide import decide_job
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from support.kinds import MODEL_DEPLOYMENT, POD, TRAINING_JOB
from support.reconciled import DIGITS, World, job, pod
from support.rollout_table import V1
from support.serving_observations import server_pod

Raw = dict[str, Any]


def waiting(nodes: int, raw: Raw, **status: Any) -> Raw:
    """A pod that no node takes, by the scheduler's words when there are so many nodes."""
    message = f"0/{nodes} nodes are available: {nodes} Insufficient cpu."
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {**raw, "status": {"phase": "Pending", "conditions": [said], **status}}


class Lab(World):
    """A world in which keys that wait for words alone are kept apart."""

    def __init__(self) -> None:
        super().__init__(decide_job, decide_model_deployment)
        self.later: list[Key] = []
        self.intake.words = self.later.append
        self.know(job())

    def changes(self, raw: Raw) -> tuple[list[Key], list[Key]]:
        """Keys that are queued at once, and those that wait, after a change of a pod."""
        self.queued.clear()
        self.later.clear()
        self.intake.event(POD, "MODIFIED", self.server.put(raw))
        return list(self.queued), list(self.later)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_other_words_on_a_pod_that_waits_for_a_node_are_in_no_hurry(lab: Lab) -> None:
    known = lab.know(pod())
    assert lab.changes(waiting(5, known)) == ([DIGITS], []), "that no node takes it is news"
    for nodes in (6, 7):
        assert lab.changes(waiting(nodes, known)) == ([], [DIGITS])
    assert lab.changes(waiting(7, known)) == ([], []), "nothing has changed"


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": [{"type": "PodScheduled", "status": "True"}]},
        {"phase": "Failed", "reason": "Evicted"},
        {"conditions": []},
    ],
    ids=["it has a node", "it failed", "the scheduler says nothing any more"],
)
def test_whatever_else_changes_is_looked_at_at_once(lab: Lab, status: Raw) -> None:
    known = lab.know(waiting(5, pod()))
    assert lab.changes(waiting(6, known, **status)) == ([DIGITS], [])


def test_a_pod_that_follows_another_one_of_its_name_is_looked_at_at_once(lab: Lab) -> None:
    known = lab.know(waiting(5, pod()))
    other = {**known, "metadata": {**known["metadata"], "uid": "another"}}
    assert lab.changes(waiting(6, other)) == ([DIGITS], [])


def test_words_on_a_pod_of_a_model_are_in_no_hurry_either(lab: Lab) -> None:
    metadata = {"name": "digits-abcde", "namespace": "vision", "labels": dict(server_pod(V1).labels)}
    known = lab.know(waiting(5, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
    assert lab.changes(waiting(6, known)) == ([], [Key(MODEL_DEPLOYMENT, "vision", "digits")])


def test_the_newest_words_are_what_a_later_look_writes(lab: Lab) -> None:
    known = lab.know(waiting(5, pod()))
    lab.work()
    assert "0/5 nodes" in lab.status["message"]
    for nodes in (6, 7, 8):
        lab.changes(waiting(nodes, known))
    lab.work()
    assert "0/8 nodes" in lab.status["message"]


# -- when --------------------------------------------------------------------------------------------------------------


def key(number: int) -> Key:
    return Key(TRAINING_JOB, "team", f"job-{number}")


class Looks:
    """When each key is looked at."""

    def __init__(self, period: float, rate: float) -> None:
        self.now = 0.0
        self.at: list[tuple[Key, float]] = []
        self.words = Words(period, lambda key, seconds: self.at.append((key, self.now + seconds)), rate)

    def changed(self, now: float, *numbers: int) -> None:
        self.now = now
        for number in numbers:
            self.words.changed(key(number), now)


def test_a_single_job_is_looked_at_at_once_and_then_once_per_period() -> None:
    looks = Looks(period=5, rate=20)
    for now in (0, 1, 2, 4, 5, 6, 30):
        looks.changed(now, 1)
    assert [at for _, at in looks.at] == [0, 5, 10, 30]


def test_nodes_that_join_one_after_the_other_cost_all_jobs_together_no_more_looks_than_the_rate() -> None:
    looks = Looks(period=5, rate=4)
    for now in range(0, 100, 10):
        looks.changed(now, *range(100))
    assert {which for which, _ in looks.at} == {key(number) for number in range(100)}
    times = sorted(at for _, at in looks.at)
    assert len([at for at in times if at < 100]) == 400
    for first, last in zip(times, times[20:], strict=False):
        assert last - first >= 4.9, "twenty looks take five seconds"


def test_every_change_is_followed_by_a_look() -> None:
    looks = Looks(period=5, rate=4)
    for now in (0, 3, 11, 12, 40):
        looks.changed(now, *range(30))
        for number in range(30):
            assert any(which == key(number) and at >= now for which, at in looks.at)


def test_keys_that_are_not_looked_at_any_more_are_forgotten() -> None:
    looks = Looks(period=5, rate=1000)
    for now in range(1000):
        looks.changed(now, now)
    assert len(looks.words) < 10


def test_the_running_operator_puts_off_a_look_for_words_alone() -> None:
    async def run() -> list[int]:
        operator = Operator(Settings())
        queued: list[int] = []
        queue = operator._queue.schedule
        lab = World()
        for raw in (job(), waiting(5, pod())):
            stored = lab.server.put(raw)
            operator._intake.event(TRAINING_JOB if raw["kind"] == "TrainingJob" else POD, "ADDED", stored)
        while (item := queue.take(0)) is not None:
            queue.done(item[0], 0)
        operator._intake.event(POD, "MODIFIED", lab.server.put(waiting(6, stored)))
        queued.append(queue.depth)
        async with asyncio.timeout(30):
            while queue.depth == 0:  # noqa: ASYNC110 - a timer of the loop adds it, which notifies no test
                await asyncio.sleep(0)
        operator._intake.event(POD, "MODIFIED", lab.server.put(waiting(7, stored)))
        await operator._client.close()
        return [*queued, queue.depth]

    assert asyncio.run(run()) == [0, 1]
