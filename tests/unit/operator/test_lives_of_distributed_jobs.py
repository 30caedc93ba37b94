"""Lives of jobs of several pods: members come to harm in any order, and the operator dies between any two writes.

Histories are drawn from seeds by the standard library: thousands of them fit into seconds. A failure names its seed.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import members_of
from fovea_operator.reconcile.shared.decision import Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import ended as has_ended
from fovea_operator.reconcile.shared.pods import lost
from fovea_operator.reconcile.training.decide import decide_job
from support import kubelet_deadlines
from support.observations import SETTINGS, at, ended, job, machine, observed, pod, preparing, published, running

LIMIT = 3
HISTORIES = 2000 if os.environ.get("FOVEA_TEST_WIDE") else 200
"""Of each shape: ten thousand in `make test-all`, a thousand in `make test`."""
SHAPES: dict[str, dict[str, Any]] = {
    "asynchronous parameter servers": {
        "distribution": "ParameterServer",
        "roles": {"worker": {"count": 2}, "ps": {"count": 1}},
    },
    "synchronous parameter servers": {
        "distribution": "ParameterServer",
        "sync": True,
        "roles": {"worker": {"count": 1}, "ps": {"count": 1}},
    },
    "several machines": {"distribution": "MultiWorkerMirrored", "roles": {"worker": {"count": 2}}},
    "31 pods": {"distribution": "ParameterServer", "scaleTier": "PREMIUM_1"},
    "several machines and an evaluator": {
        "distribution": "MultiWorkerMirrored",
        "roles": {"worker": {"count": 2}, "evaluator": {}},
    },
    "one machine and an evaluator": {"roles": {"evaluator": {}}},
    "roles that restart alone": {
        "distribution": "ParameterServer",
        "roles": {"worker": {"count": 2}, "ps": {"count": 2}},
        "runPolicy": {"backoffLimit": LIMIT, "restartScope": "Role"},
    },
    "servers that may run for a while only": {
        "distribution": "ParameterServer",
        "roles": {"worker": {"count": 2}, "ps": {"count": 1}},
        "runPolicy": {"backoffLimit": LIMIT, "maxRunningSeconds": 150},
    },
}
TYPES = (machine(), *(machine(name, default=False) for name in ("complex-model-m", "large-model")))


@dataclass
class World:
    """What the API server holds of one job, and what is watched over it."""

    job: TrainingJob
    chance: random.Random
    pods: dict[str, PodRecord] = field(default_factory=dict)
    now: float = 0
    made: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    """Pods that a status claims to have been there: one of them that vanishes has failed."""
    spent: float = 0
    """Seconds that programs of the chief have run, but for the one that runs now."""

    @property
    def over(self) -> bool:
        state = self.job.status.state
        return state is not None and state.ended

    def reconcile(self, crash_after: int | None = None) -> None:
        """Decide and carry out, at most this many writes."""
        decision = decide_job(observed(self.job, *self.pods.values(), machine_types=TYPES), at(self.now), SETTINGS)
        for done, _ in enumerate(self._steps(decision), 1):
            if crash_after is not None and done >= crash_after:
                return

    def _steps(self, decision: Decision) -> Iterator[None]:
        for child in decision.children:
            if child.write is Write.PATCH:
                name = child.manifest["metadata"]["name"]
                self._put(kubelet_deadlines.told(self.pods[name], (child,)))
            elif child.manifest["kind"] == "Pod":
                self._post(child.manifest["metadata"])
            yield
        if decision.status is not None:
            self._write(decision.status)
            yield
        for deletion in decision.deletions:
            found = self.pods.get(deletion.name)
            if found is not None and found.uid == deletion.uid:
                self._delete(found)
            yield

    def _post(self, metadata: dict[str, Any]) -> None:
        name, marks = metadata["name"], metadata["labels"]
        assert not self.over, "a job that has ended gets no pod"
        assert name not in self.seen, f"{name} is made once"
        of_member = [
            each for each in self.pods.values() if member(each) == f"{marks[labels.ROLE]}-{marks[labels.INDEX]}"
        ]
        assert not [each.name for each in of_member if not has_ended(each) and not lost(each, at(self.now))], (
            f"one pod of a member is alive, not {name}"
        )
        self.made.add(name)
        self._put(replace(pod(created=self.now), name=name, uid=f"{name}-uid", labels=marks))

    def _write(self, status: dict[str, Any]) -> None:
        before = self.job.status
        self.job = TrainingJob.model_validate(self.job.dump() | {"status": status})
        after = self.job.status
        if self.over and before.state is not None and before.state.ended:
            assert after.state == before.state, "the end is final"
        assert (after.retries or 0) <= self.job.spec.run_policy.backoff_limit, "retries stay within the limit"
        for key, attempt in (before.attempts or {}).items():
            assert (after.attempts or {}).get(key, 0) >= attempt, f"no attempt of {key} is forgotten"
        for name in self.made:
            _, role, index, attempt = name.rsplit("-", 3)
            assert int(attempt) <= (after.attempts or {}).get(f"{role}-{index}", 0), f"{name} is recorded"
        assert len(after.attempts or {}) <= len(members_of(self.job))
        if after.attempts and not after.next_attempt_time:
            self.seen |= {
                name for name, each in self.pods.items() if member(each) not in (after.next_attempt_times or {})
            }

    def _put(self, record: PodRecord) -> None:
        self.pods[record.name] = record

    def _delete(self, found: PodRecord) -> None:
        if has_ended(found) or not found.node:
            del self.pods[found.name]
        else:
            self._put(replace(found, deleting=True, told_to_end=at(self.now), deletion_deadline=at(self.now + 60)))

    # -- what happens to pods ------------------------------------------------------------------------------------------

    def happen(self, to: str, how: str) -> None:
        record = self.pods.get(to)
        if record is None or has_ended(record):
            return
        since = started(record)
        moved: PodRecord | None = None
        if how == "vanish":
            self._spend(record)
            del self.pods[to]
        elif how == "drain" and record.node:
            self._put(replace(record, disrupted="drained"))
            self._delete(self.pods[to])
        elif how == "schedule" and not record.node:
            moved = preparing(active_since=at(self.now))
        elif how == "start" and record.node and since is None:
            moved = running(started=self.now, active_since=record.active_since)
        elif how.startswith("exit") and since is not None:
            self._spend(record)
            code = int(how.removeprefix("exit "))
            sync = published(self.now) if code == 0 and member(record) == "chief-0" else ContainerRecord(exit_code=0)
            moved = ended(code=code, started=since, finished=self.now, sync=sync, active_since=record.active_since)
        if moved is not None:
            self._put(
                replace(
                    moved,
                    name=record.name,
                    uid=record.uid,
                    labels=record.labels,
                    created=record.created,
                    deleting=record.deleting,
                    told_to_end=record.told_to_end,
                    deletion_deadline=record.deletion_deadline,
                    disrupted=record.disrupted,
                    active_deadline=record.active_deadline,
                    deadline_is_own=record.deadline_is_own,
                )
            )

    def pass_time(self, seconds: float) -> None:
        """Whoever leads, or nobody: kubelets end the pods whose deadline has come."""
        self.now += seconds
        for name, record in list(self.pods.items()):
            late = kubelet_deadlines.stopped(record, at(self.now), self.chance.choice((143, 137, 1, 75, 0)))
            if late is not record:
                self._spend(late)
                self.pods[name] = late

    def _spend(self, record: PodRecord) -> None:
        """A program of the chief ends, now or as its pod says."""
        since, program = started(record), record.containers.get(names.TRAINER_CONTAINER)
        if member(record) == "chief-0" and since is not None and program is not None:
            until = (program.finished - at(0)).total_seconds() if program.finished else self.now
            self.spent += until - since

    def advance(self) -> None:
        """Nothing goes wrong: pods that are deleted end, the others start."""
        for name, record in list(self.pods.items()):
            if record.deleting and not has_ended(record):
                self.happen(name, "exit 143") if started(record) is not None else self.pods.pop(name)
            elif record.deleting:
                del self.pods[name]
            else:
                self.happen(name, "start" if record.node else "schedule")

    def ask(self, **wanted: bool) -> None:
        self.job = self.job.model_copy(update={"spec": self.job.spec.model_copy(update=wanted)})


def started(record: PodRecord) -> float | None:
    program = record.containers.get(names.TRAINER_CONTAINER, ContainerRecord())
    since = program.running_since or program.started
    return (since - at(0)).total_seconds() if since else None


def member(record: PodRecord) -> str:
    return f"{record.labels[labels.ROLE]}-{record.labels[labels.INDEX]}"


HARM = ("vanish", "drain", "exit 137", "exit 75", "exit 143", "schedule", "start", "schedule", "start", "exit 0")


def live(world: World) -> None:
    """Some steps at random, then nothing goes wrong any more."""
    chance = world.chance
    for _ in range(chance.randint(5, 25)):
        match chance.randrange(8):
            case 0:
                world.ask(suspend=chance.random() < 0.5)
            case 1 | 2:
                world.advance()
            case _ if world.pods:
                world.happen(chance.choice(list(world.pods)), chance.choice(HARM))
        world.pass_time(chance.choice((0, 1, 7, 30)))
        world.reconcile(chance.choice((None, None, 1, 2, 3)))
    world.ask(suspend=False)
    for _ in range(40):
        world.pass_time(400)
        world.advance()
        world.reconcile()
        chief = next((each for each in world.pods.values() if member(each) == "chief-0" and not has_ended(each)), None)
        if chief is not None and not chief.deleting and chance.random() < 0.5:
            world.happen(chief.name, "exit 0")
        world.reconcile()
        if world.over:
            break
    for _ in range(3):
        world.advance()
        world.reconcile()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_distributed_job_survives_and_comes_to_an_end(shape: str) -> None:
    policy = {"runPolicy": {"backoffLimit": LIMIT}}
    number = HISTORIES // 10 if shape == "31 pods" else HISTORIES
    for seed in range(number):
        world = World(job(**policy | SHAPES[shape]), random.Random(seed))
        try:
            live(world)
            assert world.over, f"{world.job.status.state}: {world.job.status.message}"
            assert not [each.name for each in world.pods.values() if not has_ended(each)], "nothing runs on"
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


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
            harm = [how for how in HARM if how != "vanish"]  # nobody knows how long such a program ran
            world.happen(chance.choice(list(world.pods)), chance.choice(harm))
        else:
            world.advance()
        world.pass_time(chance.choice((0, 1, 7, 15)))
        world.reconcile(chance.choice((None, None, 1, 2, 3)))
    world.reconcile()
    chiefs = sorted((each for each in world.pods.values() if member(each) == "chief-0"), key=lambda each: each.name)
    return bool(chiefs) and not world.over and started(chiefs[-1]) is not None and is_left(chiefs[-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_no_program_outlives_its_job_s_time_while_no_operator_leads(shape: str) -> None:
    """Kubernetes' own word for it then ends the job as its operator would have: no retry, no further attempt."""
    lives = 0
    for seed in range(HISTORIES // 10 if shape == "31 pods" else HISTORIES):
        fields = SHAPES[shape]
        policy = {"backoffLimit": LIMIT} | fields.get("runPolicy", {}) | {"maxRunningSeconds": MOST_SECONDS}
        world = World(job(**fields | {"runPolicy": policy}), random.Random(seed))
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
