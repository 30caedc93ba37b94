"""The progress of a BatchPrediction over lives of its workers: whatever pods end, go and follow, a record counts once."""

from dataclasses import dataclass, field
from typing import Any

from fovea_api.contract.report import ProgressReport
from fovea_operator.reconcile.batch.progress import further
from fovea_operator.reconcile.shared.observed import Heard, PodRecord, PredictionObserved
from hypothesis import given, settings
from hypothesis import strategies as st
from support.predictions import PINNED, counts, decide, ended, observed, prediction, running, written

WORKERS = 3
SHARDS = 12
SIZES = (256, 1, 70, 256, 3, 256, 9, 256, 256, 40, 1, 256)
"""Records of each shard."""
ERRORS = (7, 1, 0, 200, 0, 3, 9, 0, 0, 40, 0, 1)
HAPPENS = ("a shard is answered", "a report comes", "a pod is followed", "a pod goes", "the operator starts again")


@dataclass
class World:
    """What the workers have answered, and what an operator hears of it."""

    answered: list[list[int]] = field(default_factory=lambda: [[] for _ in range(WORKERS)])
    pods: list[PodRecord] = field(default_factory=lambda: [running(index) for index in range(WORKERS)])
    heard: dict[str, Heard] = field(default_factory=dict)
    before: dict[int, ProgressReport] = field(default_factory=dict)
    made: int = 0
    of: Any = field(default_factory=lambda: prediction(PINNED, parallelism=WORKERS, maxErrorRatio=1))

    def happens(self, what: str, index: int, which: int) -> None:
        own = [pod for pod in self.pods if self.index_of(pod) == index]
        pod = own[which % len(own)] if own else None
        left = [n for n in range(index, SHARDS, WORKERS) if n not in self.answered[index]]
        if what == "a shard is answered" and left:
            self.answered[index].append(left[0])
        elif what == "a report comes" and pod is not None and pod.phase == "Running":
            self.heard[pod.uid] = self.tally(index)
        elif what == "a pod is followed":
            self.made += 1
            if pod is not None:
                number = int(pod.name.rsplit("-", 1)[1])
                place = self.pods.index(pod)
                self.pods[place] = (
                    ended(index, number=number, code=137) if which % 2 else running(index, number, deleting=True)
                )
            self.pods.insert(which % (len(self.pods) + 1), running(index, self.made))
        elif what == "a pod goes" and pod is not None:
            self.pods.remove(pod)
            if (said := self.heard.pop(pod.uid, None)) is not None:
                self.before[index] = further(self.before.get(index), said.report)
        elif what == "the operator starts again":
            self.heard, self.before = {}, {}

    @staticmethod
    def index_of(pod: PodRecord) -> int:
        return int(pod.name.rsplit("-", 2)[1])

    def tally(self, index: int) -> Heard:
        """A pod's report: all that its number has answered."""
        shards = self.answered[index]
        return counts(sum(SIZES[n] for n in shards), sum(ERRORS[n] for n in shards), len(shards), SHARDS)

    @property
    def truth(self) -> tuple[int, int, int]:
        tallies = [self.tally(index).report.metrics for index in range(WORKERS)]
        records, errors, shards = (int(sum(each[name] for each in tallies)) for name in ("records", "errors", "shards"))
        return records, errors, shards

    def seen(self) -> PredictionObserved:
        there = {pod.uid for pod in self.pods}
        heard = {uid: said for uid, said in self.heard.items() if uid in there}
        return observed(self.of, *self.pods, heard=heard, heard_before=dict(self.before))


def progress(seen: PredictionObserved) -> tuple[int, int, int]:
    found = (decide(seen).status or {})["progress"]
    return found["records"], found["errors"], found["shards"]["done"]


STEPS = st.lists(st.tuples(st.sampled_from(HAPPENS), st.integers(0, WORKERS - 1), st.integers(0, 5)), max_size=60)


@settings(max_examples=200)
@given(STEPS, st.booleans())
def test_the_total_never_goes_back_and_is_never_above_what_is_answered(
    history: list[tuple[str, int, int]], reads_backwards: bool
) -> None:
    world, last = World(), (0, 0, 0)
    for what, index, which in history:
        world.happens(what, index, which)
        if reads_backwards:
            world.pods.reverse()
        seen = world.seen()
        now = progress(seen)
        assert all(one >= other for one, other in zip(now, last, strict=True))
        assert all(one <= other for one, other in zip(now, world.truth, strict=True))
        world.of, last = written(world.of, decide(seen)), now


@settings(max_examples=100)
@given(STEPS)
def test_a_worker_counts_as_much_as_the_furthest_report_of_its_pods(history: list[tuple[str, int, int]]) -> None:
    world = World()
    for what, index, which in history:
        world.happens(what, index, which)
    best = [(0, 0, 0)] * WORKERS
    there = {pod.uid: world.index_of(pod) for pod in world.pods}
    reports = [(there[uid], said.report) for uid, said in world.heard.items() if uid in there]
    for index, report in [*reports, *world.before.items()]:
        metrics = report.metrics
        best[index] = max(best[index], (int(metrics["shards"]), int(metrics["records"]), int(metrics["errors"])))
    shards, records, errors = (sum(each) for each in zip(*best, strict=True))
    assert progress(world.seen()) == (records, errors, shards)
