"""A job of several pods in a world of its own: its pods come to harm, its operator dies between any two writes, its kubelets hold
deadlines. Each write of the operator is checked: `World` has the invariants.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import TrainingJob
from fovea_api.v1alpha1.training_job_status import TrainingJobStatus
from fovea_operator.desired.members import members_of
from fovea_operator.reconcile.shared.decision import POD_GROUP, WORKLOAD, Child, Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, JobObserved, PodRecord, WorkloadRecord
from fovea_operator.reconcile.shared.pods import ended as has_ended
from fovea_operator.reconcile.shared.pods import lost
from fovea_operator.reconcile.training.decide import decide_job
from support import kubelet_deadlines
from support.observations import SETTINGS, at, ended, job, machine, observed, pod, preparing, published, running
from support.workloads import ADMITTED, PREEMPTED, RESERVED, workload

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
    "in a queue": {
        "distribution": "MultiWorkerMirrored",
        "roles": {"worker": {"count": 1}},
        "scheduling": {"queue": "team-a"},
    },
    "a gang": {
        "distribution": "MultiWorkerMirrored",
        "roles": {"worker": {"count": 2}},
        "scheduling": {"gang": "Always", "gangTimeoutSeconds": 30},
    },
    "31 pods": {"distribution": "ParameterServer", "scaleTier": "PREMIUM_1"},
    "several machines and an evaluator": {
        "distribution": "MultiWorkerMirrored",
        "roles": {"worker": {"count": 2}, "evaluator": {}},
    },
    "one machine and an evaluator": {"roles": {"evaluator": {}}},
    "roles that restart alone": {
        "distribution": "ParameterServer",
        "roles": {"worker": {"count": 2}, "ps": {"count": 2}},
        "runPolicy": {"restartScope": "Role"},
    },
    "servers that may run for a while only": {
        "distribution": "ParameterServer",
        "roles": {"worker": {"count": 2}, "ps": {"count": 1}},
        "runPolicy": {"maxRunningSeconds": 150},
    },
}
PENDING, PREPARING, PUBLISHED, SYNC_ENDED = pod(), preparing(), published(), ContainerRecord(exit_code=0)
KEPT = (
    *("name", "uid", "labels", "created", "deleting", "told_to_end", "deletion_deadline", "disrupted"),
    *("active_deadline", "deadline_is_own"),
)
"""Of a pod's record: what stays as it is when its containers come further."""
TYPES = (machine(), *(machine(name, default=False) for name in ("complex-model-m", "large-model")))


@dataclass
class World:
    """What the API server holds of one job, and what is watched over it."""

    job: TrainingJob
    chance: random.Random
    pods: dict[str, PodRecord] = field(default_factory=dict)
    predecessor: PodRecord | None = None
    """The pod of a deleted job of this name: it is not ours to delete, and no pod of ours is there beside it."""
    workload: WorkloadRecord | None = None
    """By which the job waits for quota, where it is in a queue."""
    now: float = 0
    made: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Member and attempt of each pod, by its name."""
    seen: set[str] = field(default_factory=set)
    """Pods that a status claims to have been there: one of them that vanishes has failed."""
    spent: float = 0
    """Seconds that programs of the chief have run, but for the one that runs now."""
    failed: set[str] = field(default_factory=set)
    """Pods whose program ended by itself, and not well."""
    events: Counter[str] = field(default_factory=Counter)
    """What has happened: the test asks for each of them."""

    def __post_init__(self) -> None:
        self.around = vars(observed(self.job, machine_types=TYPES, served=frozenset({WORKLOAD, POD_GROUP})))
        self.queued = bool(self.job.spec.scheduling and self.job.spec.scheduling.queue)

    @property
    def over(self) -> bool:
        state = self.job.status.state
        return state is not None and state.ended

    def reconcile(self, crash_after: int | None = None) -> None:
        """Decide and carry out, at most this many writes."""
        others = () if self.predecessor is None else (self.predecessor,)
        changing = {
            "job": self.job,
            "pods": tuple(self.pods.values()),
            "predecessors": others,
            "workload": self.workload,
        }
        seen = JobObserved(**self.around | changing)
        decision = decide_job(seen, at(self.now), SETTINGS)
        for done, _ in enumerate(self._steps(decision), 1):
            if crash_after is not None and done >= crash_after:
                self.events["the operator dies"] += 1
                return

    def _steps(self, decision: Decision) -> Iterator[None]:
        for child in decision.children:
            match child.manifest["kind"]:
                case "Pod" if child.write is Write.PATCH:
                    self._put(kubelet_deadlines.told(self.pods[child.manifest["metadata"]["name"]], (child,)))
                case "Pod":
                    self._post(child.manifest["metadata"])
                case "Workload":
                    self._queue(child)
            yield
        if decision.status is not None:
            self._write(decision.status)
            yield
        for deletion in decision.deletions:
            if self.workload is not None and deletion.uid == self.workload.uid:
                self.workload = None
            else:
                found = self.pods.get(deletion.name)
                assert found is not None, f"{deletion.name} is no pod of this job"
                assert found.uid == deletion.uid, f"{deletion.name} is another pod than the one that was seen"
                self._delete(found)
            yield

    def _post(self, metadata: dict[str, Any]) -> None:
        name, marks = metadata["name"], metadata["labels"]
        assert not self.over, "a job that has ended gets no pod"
        assert name not in self.seen, f"{name} is made once"
        assert self.predecessor is None, f"{name} is not made beside a pod of the job before"
        assert not self.queued or self._has_quota, f"{name} is made with quota"
        of_member = [
            each for each in self.pods.values() if member(each) == f"{marks[labels.ROLE]}-{marks[labels.INDEX]}"
        ]
        assert not [each.name for each in of_member if not has_ended(each) and not lost(each, at(self.now))], (
            f"one pod of a member is alive, not {name}"
        )
        self.made[name] = (f"{marks[labels.ROLE]}-{marks[labels.INDEX]}", int(marks[labels.ATTEMPT]))
        self._put(replace(PENDING, created=at(self.now), name=name, uid=f"{name}-uid", labels=marks))
        alive = sum(not has_ended(each) for each in self.pods.values())
        self.events["all pods at once"] += alive == len(members_of(self.job))

    def _write(self, status: dict[str, Any]) -> None:
        before = self.job.status
        after = TrainingJobStatus.model_validate(status)
        self.job = self.job.model_copy(update={"status": after})
        if self.over and before.state is not None and before.state.ended:
            assert after.state == before.state, "the end is final"
        retries, new = after.retries or 0, after.attempts or {}
        assert retries <= self.job.spec.run_policy.backoff_limit, "retries stay within the limit"
        assert retries <= len(self.failed), "each retry is of a program that failed"
        for key, attempt in (before.attempts or {}).items():
            assert new.get(key, 0) >= attempt, f"no attempt of {key} is forgotten"
            assert new.get(key, 0) <= attempt + 1, f"no attempt of {key} is left out"
        begun = any(attempt > (before.attempts or {}).get(key, 0) for key, attempt in new.items())
        counted = retries - (before.retries or 0)
        assert 0 <= counted <= begun, "each retry is a new attempt"
        self.events["retry"] += counted
        self.events["disruption"] += (after.disruptions or 0) - (before.disruptions or 0)
        self.events.update(condition.reason for condition in after.conditions or ())
        if after.last_failure is not None:
            self.events[after.last_failure.reason] += 1
        for name, (key, attempt) in self.made.items():
            assert attempt <= new.get(key, 0), f"{name} is recorded"
        assert len(new) <= len(members_of(self.job))
        if after.attempts and not after.next_attempt_time:
            self.seen |= {
                name for name, each in self.pods.items() if member(each) not in (after.next_attempt_times or {})
            }

    @property
    def _has_quota(self) -> bool:
        held = self.workload
        return held is not None and held.condition("Admitted") is not None and held.condition("Evicted") is None

    def _queue(self, child: Child) -> None:
        """As Kueue and the API server take it: a new Workload, or its status, patched at the version that was seen."""
        if self.workload is None:
            assert child.write is Write.APPLY
            self.workload = workload(version=1)
        elif child.write is Write.STATUS:
            assert child.manifest["metadata"]["resourceVersion"] == str(self.workload.version)
            self._conditions(*child.manifest["status"]["conditions"])

    def _conditions(self, *conditions: Mapping[str, Any]) -> None:
        assert self.workload is not None
        held = {one["type"]: one for one in (*self.workload.conditions, *conditions)}
        self.workload = replace(self.workload, version=self.workload.version + 1, conditions=tuple(held.values()))

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
            moved = replace(PREPARING, active_since=at(self.now))
        elif how == "start" and record.node and since is None:
            moved = running(started=self.now)
        elif how.startswith("exit") and since is not None:
            self._spend(record)
            code = int(how.removeprefix("exit "))
            sync = replace(PUBLISHED, finished=at(self.now)) if code == 0 and is_chief(record) else SYNC_ENDED
            moved = ended(code=code, started=since, finished=self.now, sync=sync)
            if code:
                self.failed.add(to)
        if moved is not None:
            known = {} if how == "schedule" else {"active_since": record.active_since}
            self._put(replace(moved, **{name: getattr(record, name) for name in KEPT}, **known))

    def pass_time(self, seconds: float) -> None:
        """Whoever leads, or nobody: kubelets end the pods whose deadline has come."""
        self.now += seconds
        for name, record in list(self.pods.items()):
            late = kubelet_deadlines.stopped(record, at(self.now), self.chance.choice((143, 137, 1, 75, 0)))
            if late is not record:
                self._spend(late)
                self.failed.add(name)
                self.pods[name] = late

    def _spend(self, record: PodRecord) -> None:
        """A program of the chief ends, now or as its pod says."""
        since, program = started(record), record.containers.get(names.TRAINER_CONTAINER)
        if is_chief(record) and since is not None and program is not None:
            until = (program.finished - at(0)).total_seconds() if program.finished else self.now
            self.spent += until - since

    def quota(self, *, given: bool) -> None:
        """Kueue gives quota, or takes it back from a job that holds some."""
        if self.workload is None or self.workload.condition("Finished") is not None:
            return
        reserved = self.workload.condition("QuotaReserved") is not None
        if given and not reserved:
            self._conditions(RESERVED, ADMITTED, PREEMPTED | {"status": "False"})
        elif reserved and not given and self._has_quota:
            self._conditions(PREEMPTED)

    def advance(self) -> None:
        """Nothing goes wrong: pods that are deleted end, the others start, and there is quota."""
        self.predecessor = None
        self.quota(given=True)
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
    """When its program started; None: it has not."""
    program = record.containers.get(names.TRAINER_CONTAINER)
    since = program and (program.running_since or program.started)
    return (since - at(0)).total_seconds() if since else None


def member(record: PodRecord) -> str:
    return f"{record.labels[labels.ROLE]}-{record.labels[labels.INDEX]}"


def is_chief(record: PodRecord) -> bool:
    return record.labels[labels.ROLE] == names.ROLE_CHIEF


def what_can_happen(record: PodRecord) -> tuple[str, ...]:
    """To a pod that has not ended, each as often as it is likely."""
    if not record.node:
        return ("vanish", "schedule", "schedule", "schedule")
    if started(record) is None:
        return ("vanish", "drain", "start", "start", "start")
    return ("vanish", "drain", "exit 137", "exit 75", "exit 143", "exit 0")


def of_shape(shape: str, limit: int, **policy: Any) -> TrainingJob:
    """A job with so many retries, and more of its runPolicy."""
    spec = SHAPES[shape]
    return job(**spec | {"runPolicy": spec.get("runPolicy", {}) | {"backoffLimit": limit} | policy})
