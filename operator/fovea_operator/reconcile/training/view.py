"""Bucket first: what is observed of a job, sorted for the policies."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from fovea_api.contract import labels, names
from fovea_api.contract.report import ProgressReport, Termination
from fovea_api.v1alpha1 import JobState, MachineType, TrainingJob
from fovea_api.v1alpha1.conditions import JobCondition, JobReason
from fovea_api.v1alpha1.roles import Pods
from fovea_api.v1alpha1.training_job import TrainingJobSpec
from fovea_api.v1alpha1.training_job_status import ResolvedInput, RoleStatus, TrainingJobStatus

from fovea_operator.desired.members import members_of, roles_of
from fovea_operator.reconcile.shared import conditions, platform, times
from fovea_operator.reconcile.shared.conditions import Finding
from fovea_operator.reconcile.shared.observed import JobObserved, PodRecord
from fovea_operator.reconcile.shared.pods import (
    MemberPods,
    Place,
    PodSet,
    Recorded,
    alive,
    attempt_of,
    ended,
    trainer_ended,
    trainer_started,
)
from fovea_operator.reconcile.training import inputs, progress
from fovea_operator.reconcile.training.progress import Reported
from fovea_operator.settings import Settings


@dataclass(frozen=True)
class View:
    """A job with its pods as a set of members."""

    observed: JobObserved
    now: datetime
    settings: Settings
    status: TrainingJobStatus
    """The last status, with the suspension taken back if the spec says so."""
    pods: PodSet
    resumed: bool = False
    """Whether the spec has just taken a suspension back."""

    @classmethod
    def of(cls, observed: JobObserved, now: datetime, settings: Settings) -> "View":
        """Sort the pods to the members, of which the chief comes first."""
        job, status = observed.job, observed.job.status
        resumed = _is_suspended(status) and not job.spec.suspend and not is_over(status)
        if resumed:
            status = _resumed(job, now)
        members = members_of(job)
        if members[0].key not in (status.attempts or {}):
            # They are about attempts, and the status names none. Fovea never writes such a status.
            status = status.model_copy(update={"ended_programs": None, "next_attempt_times": None})
        pods = PodSet.of(members, observed.pods, _recorded(status, observed.vanished_places))
        return cls(observed, now, settings, status, pods, resumed)

    @property
    def job(self) -> TrainingJob:
        """The job."""
        return self.observed.job

    @property
    def spec(self) -> TrainingJobSpec:
        """What is wanted."""
        return self.job.spec

    @property
    def chief(self) -> MemberPods:
        """The member whose program trains and whose sidecar publishes: its success is the job's."""
        return self.pods.first

    @property
    def suspended(self) -> bool:
        """Whether the status says that the job is suspended."""
        return _is_suspended(self.status)

    @property
    def admitted(self) -> bool | None:
        """Whether the status says that the job may have pods; None while it says neither."""
        found = conditions.find(self.status.conditions, JobCondition.ADMITTED)
        return None if found is None else found.status == "True"

    @property
    def suspending(self) -> bool:
        """Whether the status says that pods were deleted because of a suspension, and the next attempt has not begun."""
        return bool(self.status.suspending)

    @property
    def cancel_wanted(self) -> bool:
        """Whether the job is to be cancelled. Once begun it is finished, even if the field could be taken back."""
        return self.spec.cancel or self.status.state == JobState.CANCELLING

    @property
    def succeeded(self) -> bool:
        """Whether the status says that the program has succeeded, and only its model cannot be registered yet."""
        return self.status.output is not None and not is_over(self.status)

    @property
    def without_store(self) -> bool:
        """Whether the status says that the program cannot start, since the object store does not answer."""
        return bool(self.status.store_unreachable)

    @property
    def begun(self) -> bool:
        """Whether the job ever had a pod."""
        return self.chief.recorded >= 0 or bool(self.observed.pods)

    @property
    def queued_since(self) -> datetime:
        """When the job began to wait for a node, last: at its creation, or when it was resumed or its inputs came."""
        known = times.parse(self.status.queue_time)
        if known is None and self.status.state is None:
            known = times.parse(self.job.metadata.creation_timestamp)
        return known or self.now

    @property
    def waiting_limit(self) -> timedelta | None:
        """How long the job may wait; None: for good."""
        limit = self.spec.run_policy.max_wait_seconds
        return None if limit is None else timedelta(seconds=limit)

    @property
    def waiting_deadline(self) -> datetime | None:
        """When the job has waited too long since it was queued; None: no limit."""
        return None if self.waiting_limit is None else self.queued_since + self.waiting_limit

    @property
    def next_attempt(self) -> datetime | None:
        """When the next attempt may begin; None while the status names none."""
        return times.parse(self.status.next_attempt_time)

    def machine_type_name(self, role: str) -> str | None:
        """Name of a role's machine type; None: the default one."""
        return self._roles_wanted[role].machine_type

    def machine_type(self, role: str) -> MachineType | None:
        """A role's machine type; None where there is none of that name."""
        return self._machine_types[role]

    @cached_property
    def _roles_wanted(self) -> dict[str, Pods]:
        return roles_of(self.job)

    @cached_property
    def _machine_types(self) -> dict[str, MachineType | None]:
        known = self.observed.machine_types
        return {role: platform.machine_type(pods.machine_type, known) for role, pods in self._roles_wanted.items()}

    @cached_property
    def resolved_inputs(self) -> tuple[ResolvedInput, ...]:
        """What the names among the inputs stood for in the attempts before."""
        return inputs.resolved(self.observed)

    @cached_property
    def predecessors(self) -> tuple[PodRecord, ...]:
        """Pods of deleted jobs of this name whose programs may still run; one whose node does not answer is not waited for."""
        return alive(self.observed.predecessors, self.now)

    @property
    def roles(self) -> dict[str, RoleStatus]:
        """The pods that are there, counted by role; those that no member has count as the chief's."""
        first = self.chief.member.role
        counts = {each.member.role: {"pending": 0, "active": 0, "succeeded": 0, "failed": 0} for each in self.pods}
        for pod in (each for each in self.observed.pods if not each.gone):
            of_role = counts.get(pod.labels.get(labels.ROLE, first), counts[first])
            if ended(pod):
                of_role["succeeded" if pod.phase == "Succeeded" else "failed"] += 1
            else:
                of_role["active" if trainer_started(pod) else "pending"] += 1
        return {role: RoleStatus(**found) for role, found in counts.items()}

    @property
    def last_report(self) -> ProgressReport | None:
        """What the chief's agent has reported last: its last words once its pod has ended, since no operator may have led before."""
        pod = self.chief.pod
        record = pod.containers.get(names.SYNC_CONTAINER) if pod is not None and ended(pod) else None
        said = Termination.from_json(record.termination_message) if record is not None else None
        return said.progress if said is not None and said.progress is not None else self.observed.progress

    @property
    def reported(self) -> Reported:
        """Fields of the status that the latest report changes."""
        found, before = progress.fields(self.last_report), self.status.progress
        if before is not None and "progress" in found:
            # The pace rides along (`riders`): it is no reason to write.
            held = {"steps_per_second": before.steps_per_second, "remaining_seconds": before.remaining_seconds}
            found["progress"] = found["progress"].model_copy(update=held)
        return found | self.best

    @property
    def best(self) -> Reported:
        """The best checkpoint by the evaluator's latest report; nothing without one."""
        each = self.pods.evaluator
        heard = self.observed.heard.get(each.pod.uid) if each is not None and each.pod is not None else None
        return progress.best(heard.report if heard is not None else None)

    @property
    def evaluator_ended(self) -> dict[str, int] | None:
        """The exit code of an evaluator that needs no pod any more: it needs none in later attempts of the others either."""
        each = self.pods.evaluator
        code = (self.status.ended_programs or {}).get(each.member.key) if each is not None and each.done else None
        return None if code is None or each is None else {each.member.key: code}

    @property
    def left_out(self) -> str:
        """A sentence, with a space before it, on what the pod's agent does not publish; empty when it leaves nothing out."""
        return progress.left_out(self.observed.progress)

    @property
    def start_time(self) -> str | None:
        """When a program of this job started first."""
        started = self.program_started
        return self.status.start_time or (times.text(started) if started else None)

    @property
    def program_started(self) -> datetime | None:
        """When the chief's program started: from its pod, or from the status when the pod is gone or has forgotten it.

        A node that restarts may refuse a pod that ran, and then says nothing of its containers.
        """
        pod = self.chief.pod
        if pod is not None and (not ended(pod) or trainer_started(pod)):
            return trainer_started(pod)
        if pod is None and self.chief.begins is not None:
            return None  # its next attempt is yet to be made, while other members go on
        found = conditions.find(self.status.conditions, JobCondition.RUNNING)
        return times.parse(found.last_transition_time) if found and found.status == "True" else None

    @property
    def program_ended(self) -> datetime | None:
        """When the chief's program ended; of one whose pod is gone or has forgotten it, when it was last known to run."""
        pod = self.chief.pod
        if pod is not None and (not ended(pod) or trainer_ended(pod)):
            return trainer_ended(pod)
        if self.observed.vanished is not None:
            return self.observed.vanished
        # It went while no operator ran, or its node was down before: the time until now may be hours, and is nobody's.
        saved = times.parse(self.status.checkpoint.time) if self.status.checkpoint else None
        known = [time for time in (self.program_started, saved) if time is not None]
        return max(known) if self.program_started is not None else None

    @property
    def seconds_run(self) -> int:
        """Seconds that the chief's programs ran, all attempts together, the current one until now or its end."""
        before = self.status.running_seconds or 0
        if self.succeeded:
            return before  # counted when that was written: the pod may be gone by now
        return before + times.seconds_between(self.program_started, self.program_ended or self.now)


def pods_of(job: TrainingJob, pods: Iterable[PodRecord], vanished: frozenset[Place]) -> PodSet:
    """The pods of a job, sorted to its members."""
    return PodSet.of(members_of(job), pods, _recorded(job.status, vanished))


def _recorded(status: TrainingJobStatus, vanished: frozenset[Place]) -> Recorded:
    between = bool(status.next_attempt_time) or _is_suspended(status)
    times_by_member = {key: times.parse(text) for key, text in (status.next_attempt_times or {}).items()}
    begins = {key: time for key, time in times_by_member.items() if time is not None}
    return Recorded(status.attempts or {}, between, status.ended_programs or {}, begins, vanished)


def _is_suspended(status: TrainingJobStatus) -> bool:
    return conditions.is_true(status.conditions, JobCondition.SUSPENDED)


def _resumed(job: TrainingJob, now: datetime) -> TrainingJobStatus:
    """The status of a suspended job with the suspension taken back: it queues again from now on."""
    held = conditions.put(
        job.status.conditions,
        Finding(JobCondition.SUSPENDED, "False", JobReason.RESUMED, "spec.suspend is false again."),
        now=now,
        generation=job.metadata.generation,
    )
    begin = times.text(now)
    return job.status.model_copy(update={"conditions": held, "queue_time": begin, "next_attempt_time": begin})


def is_over(status: TrainingJobStatus) -> bool:
    """Whether the job has ended."""
    return isinstance(status.state, JobState) and status.state.ended


def is_settled(job: TrainingJob) -> bool:
    """Whether the job has ended and its status is of the newest spec: nothing is left to do but to clean up, and its TTL."""
    observed = job.status.observed_generation
    return is_over(job.status) and (observed is None or observed >= job.metadata.generation)


def expires_at(job: TrainingJob, ttl_seconds: float | None) -> datetime | None:
    """When an ended job is to be deleted; None: never. `ttl_seconds` holds where its spec says nothing."""
    own = job.spec.run_policy.ttl_seconds_after_finished
    seconds = ttl_seconds if own is None else own
    end = times.parse(job.status.end_time)
    return None if seconds is None or end is None else end + timedelta(seconds=seconds)


def is_urgent(job: TrainingJob, pods: Collection[PodRecord]) -> bool:
    """Whether the next decision makes the job's first pod, or says how its pod ended.

    Everything else either bears a delay, or is outdated by the end that comes after it.
    """
    if job.metadata.deletion_timestamp is not None or is_over(job.status):
        return False
    if not pods:
        return job.status.state is None
    trains = [pod for pod in pods if pod.labels.get(labels.ROLE) != names.ROLE_EVALUATOR] or list(pods)
    newest = max(trains, key=lambda pod: attempt_of(pod) or 0)
    return ended(newest) and job.status.next_attempt_time is None
