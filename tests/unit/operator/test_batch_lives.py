"""Lives of BatchPredictions, with crashes between the writes: workers fail, are drained and go, others delete the Job or the status."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fovea_api.contract import labels
from fovea_api.v1alpha1 import BatchPrediction
from fovea_operator.reconcile.shared.decision import BATCH_JOB, Child, Write
from fovea_operator.reconcile.shared.observed import BatchJobRecord, PodRecord, PredictionObserved
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.observations import version
from support.predictions import decide, ended, observed, prediction, published, running, worker, written

PROFILE = settings(max_examples=150)
WORKERS = 2
HAPPENS = (
    "the controller works",
    "the controller works",
    "a worker starts",
    "a worker starts",
    "a worker is done",
    "a worker is done",
    "a worker runs out of memory",
    "a worker is drained",
    "an ended pod is cleaned up",
    "somebody deletes the Job",
    "the status is lost",
    "a version is registered",
    "it is cancelled",
    "the operator forgets",
)


@dataclass
class World:
    """What the API server holds, and what is published."""

    of: BatchPrediction = field(default_factory=lambda: prediction(parallelism=WORKERS, runPolicy={"backoffLimit": 2}))
    jobs: dict[str, BatchJobRecord] = field(default_factory=dict)
    pods: dict[str, PodRecord] = field(default_factory=dict)
    versions: int = 3
    answered: set[int] = field(default_factory=set)
    """Numbers of the workers whose shards are published."""
    made: int = 0
    """Pods so far."""
    created: list[str] = field(default_factory=list)
    """Jobs so far, and by which version."""
    now: float = 60
    lost: bool = False
    """Whether the status was ever lost: then what was counted in it may be counted again."""

    def seen(self) -> PredictionObserved:
        return observed(
            self.of,
            *self.pods.values(),
            versions=[version(number) for number in range(3, self.versions + 1)],
            jobs=self.jobs.values(),
        )

    def reconcile(self, crash_after: int | None = None) -> None:
        """Decide and carry out, in the order of the edges, at most this many writes."""
        for done, _ in enumerate(self._steps(), 1):
            if crash_after is not None and done >= crash_after:
                return

    def _steps(self) -> Iterator[None]:
        decision = decide(self.seen(), self.now)
        for child in decision.children:
            self._write(child)
            yield
        before = self.of.status
        self.of = written(self.of, decision)
        if before.state is not None and before.state.ended:
            assert self.of.status.state == before.state, "an end is the end"
        if before.version is not None:
            assert self.of.status.version == before.version, "the version never changes"
        yield
        for deletion in decision.deletions:
            assert deletion.gvk == BATCH_JOB
            if self.jobs.get(deletion.name) is not None:
                self._delete(deletion.name)
            yield

    def _write(self, child: Child) -> None:
        name = child.manifest["metadata"]["name"]
        if child.write is Write.PATCH:
            if name in self.jobs:
                self.jobs[name] = replace(self.jobs[name], suspended=True)
            return
        assert self.of.status.version is not None, "the version stands in the status before there is a Job"
        assert self.of.status.state is None or not self.of.status.state.ended
        if name in self.jobs:
            return  # AlreadyExists: our own
        held = child.manifest["metadata"]["labels"]
        self.created.append(held[labels.VERSION])
        self.jobs[name] = BatchJobRecord("vision", name, f"{name}-uid", held)

    def _delete(self, name: str) -> None:
        """A Job goes, and its pods with it."""
        uid = self.jobs.pop(name).uid
        self.pods = {key: pod for key, pod in self.pods.items() if pod.labels[labels.CONTROLLER_UID] != uid}

    # -- what happens --------------------------------------------------------------------------------------------------

    def happens(self, what: str, number: int) -> None:
        """Something that the operator does not do."""
        live = [pod for pod in self.pods.values() if pod.phase in ("Pending", "Running")]
        chosen = live[number % len(live)] if live else None
        over = [pod for pod in self.pods.values() if pod.phase in ("Succeeded", "Failed")]
        if what == "the controller works":
            self.control()
        elif what == "a worker starts" and chosen is not None:
            self._step(chosen, "runs")
        elif what == "a worker is done" and chosen is not None:
            self._step(chosen, "is done")
        elif what == "a worker runs out of memory" and chosen is not None:
            self._step(chosen, "runs out of memory")
        elif what == "a worker is drained" and chosen is not None:
            del self.pods[chosen.name]
        elif what == "an ended pod is cleaned up" and over:
            del self.pods[over[number % len(over)].name]
        elif what == "somebody deletes the Job" and self.jobs:
            self._delete(next(iter(self.jobs)))
        elif what == "the status is lost" and not self._is_over:
            self.of = self.of.model_copy(update={"status": prediction().status})
            self.lost = True
        elif what == "a version is registered":
            self.versions = min(self.versions + 1, 8)
        elif what == "it is cancelled" and number == 0:
            self.of = self.of.model_copy(update={"spec": self.of.spec.model_copy(update={"cancel": True})})

    @property
    def _is_over(self) -> bool:
        return self.of.status.state is not None and self.of.status.state.ended

    def control(self) -> None:
        """Kubernetes' Job controller: a pod for each number that has neither a live nor a successful one; none while suspended."""
        for job in self.jobs.values():
            own = [pod for pod in self.pods.values() if pod.labels[labels.CONTROLLER_UID] == job.uid]
            if job.suspended:
                for pod in own:
                    if pod.phase in ("Pending", "Running"):
                        del self.pods[pod.name]
                continue
            if job.complete:
                continue
            done = {pod.labels[labels.COMPLETION_INDEX] for pod in own if pod.phase != "Failed"}
            missing = [index for index in range(WORKERS) if str(index) not in done]
            for index in missing:
                self.made += 1
                rerun = int(job.name.rsplit("-", 1)[1])
                pod = worker(index, number=self.made, rerun=rerun)
                self.pods[pod.name] = pod
            if not missing and all(pod.phase in ("Succeeded", "Failed") for pod in own):
                self.jobs[job.name] = replace(job, complete=True)

    def _step(self, pod: PodRecord, what: str) -> None:
        index = int(pod.labels[labels.COMPLETION_INDEX])
        how = {"number": int(pod.name.rsplit("-", 1)[1]), "rerun": int(pod.name.split("-")[2])}
        if what == "runs":
            self.pods[pod.name] = running(index, **how)
        elif what == "is done":
            self.answered.add(index)
            whole = len(self.answered) == WORKERS
            self.pods[pod.name] = ended(index, **how, **({"batch": published(100)} if whole else {}))
        else:
            self.pods[pod.name] = ended(index, **how, code=137, reason="OOMKilled")

    def calm(self) -> None:
        """From now on everything works."""
        for _ in range(40):
            self.reconcile()
            self.control()
            for pod in list(self.pods.values()):
                if pod.phase == "Pending":
                    self._step(pod, "runs")
                elif pod.phase == "Running":
                    self._step(pod, "is done")
            self.now += 30


@PROFILE
@given(st.lists(st.tuples(st.sampled_from(HAPPENS), st.integers(0, 5), st.none() | st.integers(1, 3)), max_size=40))
def test_a_prediction_ends_once_with_one_version_whatever_happens(history: list[tuple[str, int, int | None]]) -> None:
    world = World()
    for what, number, crash_after in history:
        world.happens(what, number)
        world.reconcile(crash_after)
        world.now += 1
    chosen = world.of.status.version
    world.calm()
    state = world.of.status.state
    assert state is not None
    assert state.ended, world.of.status.message
    event(state.value)
    if state.value == "SUCCEEDED":
        assert world.answered == set(range(WORKERS))
        assert world.of.status.output is not None
    if chosen is not None and not world.lost:
        assert world.of.status.version == chosen
        assert set(world.created) <= {str(chosen)}
    # At rest: nothing is left to do, and no worker runs.
    before = world.of
    world.now += 600
    world.reconcile()
    assert world.of == before
    assert not [pod for pod in world.pods.values() if pod.phase in ("Pending", "Running")]
    assert len(world.jobs) <= 1
