"""Lives of jobs, with crashes: the operator dies between any two writes, pods vanish, users change their mind."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.plan import INPUT_PUBLICATION, Input, TrainingPlan
from fovea_api.v1alpha1 import JobState, ModelVersion, TrainingJob
from fovea_operator.reconcile.shared.decision import Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import ended as has_ended
from fovea_operator.reconcile.training.decide import decide_job
from hypothesis import given, settings
from hypothesis import strategies as st
from support import kubelet_deadlines
from support.observations import SETTINGS, at, ended, job, observed, pod, preparing, published, running, version

PROFILE = settings(max_examples=60)


@dataclass
class World:
    """What the API server holds, and what tests watch over."""

    job: TrainingJob
    pods: dict[str, PodRecord] = field(default_factory=dict)
    versions: dict[str, ModelVersion] = field(default_factory=dict)
    now: float = 0
    uids: int = 0
    posted: list[int] = field(default_factory=list)
    others: dict[str, TrainingJob] = field(default_factory=dict)
    read: tuple[Input, ...] = ()
    """Inputs of the newest pod."""

    def reconcile(self, crash_after: int | None = None) -> None:
        """Decide and carry out, in the order of the edges, at most this many writes."""
        seen = observed(
            self.job, *self.pods.values(), versions=tuple(self.versions.values()), jobs=self.others.values()
        )
        decision = decide_job(seen, at(self.now), SETTINGS)
        steps = self._steps(decision)
        for done, _ in enumerate(steps, 1):
            if crash_after is not None and done >= crash_after:
                return

    def _steps(self, decision: Decision) -> Iterator[None]:
        for child in decision.children:
            metadata = child.manifest["metadata"]
            if child.write is Write.PATCH:
                self._put(kubelet_deadlines.told(self.pods[metadata["name"]], (child,)))
            elif child.manifest["kind"] == "Pod" and metadata["name"] not in self.pods:
                self._post(int(metadata["labels"][labels.ATTEMPT]), publications(child.manifest))
            if child.manifest["kind"] == "ModelVersion" and metadata["name"] not in self.versions:
                made = version(child.manifest["spec"]["version"], job_uid="job-uid")
                self.versions[metadata["name"]] = made
            yield
        if decision.status is not None:
            document = self.job.dump() | {"status": decision.status}
            before = self.job.status
            self.job = TrainingJob.model_validate(document)
            self._watch(before.state, (before.attempts or {}).get("chief-0", -1))
            yield
        for deletion in decision.deletions:
            found = self.pods.get(deletion.name)
            if found is not None and found.uid == deletion.uid:
                self._delete(found, deletion.grace_seconds or 600)
            yield

    def _post(self, attempt: int, inputs: tuple[Input, ...]) -> None:
        status = self.job.status
        assert status.attempts is None or inputs == self.read, "what the first attempt read is what all read"
        self.read = inputs
        assert status.state is None or not status.state.ended, "an ended job gets no pod"
        alive = [each for each in self.pods.values() if not has_ended(each) and not each.deleting]
        assert not alive, "at most one pod is alive"
        assert attempt >= max(self.posted, default=0), "attempts never go back"
        self.posted.append(attempt)
        self.uids += 1
        self._put(replace(pod(attempt, created=self.now), uid=f"uid-{self.uids}", publications=inputs))

    def _put(self, record: PodRecord) -> None:
        self.pods[record.name] = record

    def _delete(self, found: PodRecord, grace: int) -> None:
        if has_ended(found) or not found.node:
            del self.pods[found.name]
        else:
            self._put(replace(found, deleting=True, deletion_deadline=at(self.now + grace)))

    def _watch(self, before: JobState | None, attempt: int) -> None:
        status = self.job.status
        assert (status.attempts or {}).get("chief-0", -1) >= attempt, "attempts never decrease"
        if before is not None and before.ended:
            assert status.state == before, "the end is final"
        mine = [each for each in self.versions.values() if each.spec.lineage and each.spec.lineage.job_uid == "job-uid"]
        assert len(mine) <= 1, "a job makes one version"

    # -- what happens to pods ------------------------------------------------------------------------------------------

    def step(self, how: str) -> None:
        """The newest pod goes one step on its way, or comes to harm."""
        record = next(reversed(self.pods.values()), None)
        if record is None:
            return
        attempt = int(record.labels[labels.ATTEMPT])
        moved: PodRecord | None = None
        if how == "vanish":
            del self.pods[record.name]
        elif how == "evict" and record.node and not has_ended(record):
            moved = replace(record, deleting=True, deletion_deadline=at(self.now + 600), disrupted="preempted")
        elif how == "schedule" and not record.node and not has_ended(record):
            moved = preparing(attempt, active_since=at(self.now))
        elif how == "start" and record.node and not has_ended(record) and not started(record):
            moved = running(attempt, started=self.now, active_since=record.active_since)
        elif how.startswith("exit") and started(record) and not has_ended(record):
            code = int(how.removeprefix("exit "))
            sync = published(self.now + 2) if code == 0 else ContainerRecord(exit_code=0)
            since = record.active_since
            moved = ended(attempt, code=code, started=self.now - 5, finished=self.now, sync=sync, active_since=since)
        if moved is not None:
            kept = {name: getattr(record, name) for name in ("uid", "created", "publications", *DEADLINE)}
            if how != "evict":
                kept |= {"deleting": record.deleting, "deletion_deadline": record.deletion_deadline}
            self._put(replace(moved, **kept))

    def pass_time(self, seconds: float) -> None:
        """Kubelets end the pods whose deadline has come."""
        self.now += seconds
        self.pods = {name: kubelet_deadlines.stopped(each, at(self.now)) for name, each in self.pods.items()}

    def collect(self) -> None:
        """The kubelet ends what is being deleted."""
        for record in list(self.pods.values()):
            if record.deleting:
                del self.pods[record.name]

    def ask(self, **wanted: bool) -> None:
        """A user edits the spec."""
        self.job = self.job.model_copy(update={"spec": self.job.spec.model_copy(update=wanted)})

    def prepare(self, digest: str | None) -> None:
        """The job whose output is read succeeds, is submitted again and succeeds, or is deleted."""
        output = {"uri": f"s3://fovea/vision/{digest}", "digest": digest}
        self.others = {"prepare": job({"state": "SUCCEEDED", "output": output}, name="prepare")} if digest else {}


def publications(manifest: dict[str, Any]) -> tuple[Input, ...]:
    plan = TrainingPlan.from_json(manifest["spec"]["initContainers"][0]["env"][0]["value"])
    return tuple(item for item in plan.inputs if item.kind == INPUT_PUBLICATION)


def started(record: PodRecord) -> bool:
    return names.TRAINER_CONTAINER in record.containers


DEADLINE = ("active_deadline", "deadline_is_own")
PREPARATIONS = {"prepared": "first", "prepared again": "second", "forgotten": None}
HAPPENINGS = st.one_of(
    st.sampled_from(["schedule", "start", "exit 0", "exit 75", "exit 137", "vanish", "evict"]),
    st.sampled_from(["schedule", "start", "schedule", "start", "exit 75"]),
    st.sampled_from(["suspend", "resume", "collect", "nothing", "prepared", "prepared again", "forgotten"]),
)


@given(
    st.lists(st.tuples(HAPPENINGS, st.none() | st.integers(1, 3), st.integers(0, 60)), min_size=5, max_size=40),
    st.booleans(),
    st.sampled_from([{}, {"maxRunningSeconds": 100}]),
)
@PROFILE
def test_a_job_survives_crashes_and_comes_to_an_end(
    story: list[tuple[str, int | None, int]], cancelled: bool, limit: dict[str, int]
) -> None:
    policy = {"backoffLimit": 3, "cleanPodPolicy": "All"} | limit
    world = World(job(model={"name": "digits"}, runPolicy=policy, inputs={"data": "job://prepare/output"}))
    world.prepare("first")
    for happening, crash, pause in story:
        if happening in ("suspend", "resume"):
            world.ask(suspend=happening == "suspend")
        elif happening == "collect":
            world.collect()
        elif happening in PREPARATIONS:
            world.prepare(PREPARATIONS[happening])
        else:
            world.step(happening)
        world.pass_time(pause)
        world.reconcile(crash)
    # Then nothing goes wrong any more.
    world.ask(suspend=False, cancel=cancelled)
    # A job of which a pod was seen needs the job no more whose output it reads.
    world.prepare("first" if world.job.status.attempts is None else None)
    for _ in range(60):
        world.pass_time(120)
        world.collect()
        world.reconcile()
        for happening in ("schedule", "start", "exit 0"):
            world.step(happening)
            world.reconcile()
        if world.job.status.state is not None and world.job.status.state.ended:
            break
    state = world.job.status.state
    assert state is not None
    assert state.ended, f"{state}: {world.job.status.message}"
    if state == JobState.SUCCEEDED:
        assert [each.metadata.name for each in world.versions.values()] == [world.job.status.model_version]


def test_an_undisturbed_life_costs_one_pod_and_two_status_writes() -> None:
    world = World(job())
    statuses: list[JobState | None] = []
    for happening, pause in (("nothing", 0), ("schedule", 1), ("start", 0), ("nothing", 30), ("exit 0", 30)):
        world.step(happening)
        world.now += pause
        before = world.job.status
        world.reconcile()
        if world.job.status != before:
            statuses.append(world.job.status.state)
    assert (world.posted, statuses) == ([0], [JobState.RUNNING, JobState.SUCCEEDED])
