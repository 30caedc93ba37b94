"""Bucket first: what is observed of a job, sorted for the policies."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.conditions import JobCondition, JobReason
from fovea_api.v1alpha1.training_job import TrainingJobSpec
from fovea_api.v1alpha1.training_job_status import TrainingJobStatus

from fovea_operator.desired.pod import Member
from fovea_operator.reconcile.shared import conditions, times
from fovea_operator.reconcile.shared.observed import ContainerRecord, JobObserved, PodRecord
from fovea_operator.settings import Settings

CHIEF = Member()
ENDED_PHASES = ("Succeeded", "Failed")
SLACK = timedelta(seconds=30)
"""A pod that is still there so long after its grace period is on a node that is lost."""

OTHERS_PATIENCE = timedelta(seconds=10)
"""Many containers of others end by themselves soon after the program."""


@dataclass(frozen=True)
class View:
    """A job with its pods by attempt. `pod` is the current attempt's, `earlier` are all others of the job."""

    observed: JobObserved
    now: datetime
    settings: Settings
    status: TrainingJobStatus
    """What was said last, with the suspension taken back if the spec says so."""
    attempt: int
    pod: PodRecord | None
    earlier: tuple[PodRecord, ...]

    @classmethod
    def of(cls, observed: JobObserved, now: datetime, settings: Settings) -> "View":
        """Sort the pods. The current attempt is the status's, or a newer one that has a pod already."""
        by_attempt = {attempt: pod for pod in observed.pods if (attempt := attempt_of(pod)) is not None}
        recorded = (observed.job.status.attempts or {}).get(CHIEF.key, 0)
        attempt = max(recorded, *by_attempt) if by_attempt else recorded
        pod = by_attempt.get(attempt)
        earlier = tuple(other for other in observed.pods if pod is None or other.name != pod.name)
        return cls(observed, now, settings, observed.job.status, attempt, pod, earlier)

    def with_status(self, status: TrainingJobStatus) -> "View":
        """The same view with another status to start from."""
        return replace(self, status=status)

    @property
    def job(self) -> TrainingJob:
        """The job."""
        return self.observed.job

    @property
    def spec(self) -> TrainingJobSpec:
        """What is wanted."""
        return self.job.spec

    @property
    def recorded_attempt(self) -> int:
        """The current attempt by the status; -1 when it names none."""
        return (self.status.attempts or {}).get(CHIEF.key, -1)

    @property
    def running(self) -> bool:
        """Whether the status says that a program runs."""
        return conditions.is_true(self.status.conditions, JobCondition.RUNNING)

    @property
    def suspended(self) -> bool:
        """Whether the status says that the job is suspended."""
        return conditions.is_true(self.status.conditions, JobCondition.SUSPENDED)

    @property
    def stopping(self) -> bool:
        """Whether the status says that the pod was told to end because of a suspension."""
        return self._runs_with(JobReason.SUSPENDED)

    @property
    def ending_pod(self) -> bool:
        """Whether the status says that the program had ended when the operator told its pod to end."""
        return self._runs_with(JobReason.ENDING_POD)

    @property
    def succeeded(self) -> bool:
        """Whether the status says that the program has succeeded, and only its model cannot be registered yet."""
        return self._runs_with(JobReason.REGISTRATION_REFUSED)

    @property
    def had_ended(self) -> bool:
        """Whether the status says that the program had ended: what becomes of its pod afterwards says nothing of it."""
        return self.ending_pod or self.succeeded

    def _runs_with(self, reason: JobReason) -> bool:
        found = conditions.find(self.status.conditions, JobCondition.RUNNING)
        return found is not None and found.reason == reason and not self.suspended

    @property
    def resumed(self) -> bool:
        """Whether the spec has just taken a suspension back."""
        return self.status is not self.job.status

    @property
    def seen(self) -> bool:
        """Whether the current attempt had a pod: a status names an attempt without a next time only once it is seen."""
        return self.recorded_attempt == self.attempt and not self.status.next_attempt_time and not self.suspended

    @property
    def begun(self) -> bool:
        """Whether the job ever had a pod."""
        return self.recorded_attempt >= 0 or bool(self.observed.pods)

    @property
    def queued_since(self) -> datetime:
        """When the job began to wait for a node, last: at its creation, or when it was resumed or its inputs came."""
        known = times.parse(self.status.queue_time)
        if known is None and self.status.state is None:
            known = times.parse(self.job.metadata.creation_timestamp)
        return known or self.now

    @property
    def program_started(self) -> datetime | None:
        """When the current attempt's program started: from its pod, or, when that is gone, from the status."""
        if self.pod is not None:
            return trainer_started(self.pod)
        found = conditions.find(self.status.conditions, JobCondition.RUNNING)
        return times.parse(found.last_transition_time) if found and found.status == "True" else None

    @property
    def seconds_run(self) -> int:
        """Seconds that programs ran, all attempts together, the current one until now or its end."""
        before = self.status.running_seconds or 0
        if self.succeeded and self.status.output is not None:
            return before  # counted when that was written: the pod may be gone by now
        return before + times.seconds_between(self.program_started, self.program_ended or self.now)

    @property
    def program_ended(self) -> datetime | None:
        """When the current attempt's program ended."""
        return trainer_ended(self.pod) if self.pod is not None else None

    def attempts(self, attempt: int) -> Mapping[str, int]:
        """The status's attempts with this one as the current."""
        return {**(self.status.attempts or {}), CHIEF.key: attempt}


def attempt_of(pod: PodRecord) -> int | None:
    """The attempt that a pod is of; None when it is not one of the chief's."""
    text = pod.labels.get(labels.ATTEMPT, "")
    member = (pod.labels.get(labels.ROLE), pod.labels.get(labels.INDEX))
    is_chief = member == (CHIEF.role, str(CHIEF.index))
    return int(text) if is_chief and text.isascii() and text.isdigit() and len(text) < 10 else None


def ended(pod: PodRecord) -> bool:
    """Whether all its containers have ended for good."""
    return pod.phase in ENDED_PHASES


def lost(pod: PodRecord, now: datetime) -> bool:
    """Whether it should have gone long ago: nothing on its node answers any more."""
    return not ended(pod) and pod.deletion_deadline is not None and now >= pod.deletion_deadline + SLACK


def trainer_started(pod: PodRecord) -> datetime | None:
    """When its program started."""
    record = pod.containers.get(names.TRAINER_CONTAINER)
    return (record.running_since or record.started) if record else None


def trainer_ended(pod: PodRecord) -> datetime | None:
    """When its program ended."""
    record = pod.containers.get(names.TRAINER_CONTAINER)
    return record.finished if record else None


def others_alive(pod: PodRecord) -> tuple[str, ...]:
    """Names of the containers that something else added and that have not ended."""
    return tuple(name for name in pod.foreign if pod.containers.get(name, ContainerRecord()).exit_code is None)


def others_due(pod: PodRecord) -> datetime | None:
    """When those are held to keep the pod alive, since its program has ended; None: they do not."""
    finished = trainer_ended(pod)
    alive = finished and not ended(pod) and not pod.deleting and others_alive(pod)
    return finished + OTHERS_PATIENCE if finished and alive else None


def is_over(status: TrainingJobStatus) -> bool:
    """Whether the job has ended."""
    return isinstance(status.state, JobState) and status.state.ended


def is_urgent(job: TrainingJob, pods: Collection[PodRecord]) -> bool:
    """Whether the next decision makes the job's first pod, or says how its pod ended.

    Everything else either bears a delay, or is outdated by the end that comes after it.
    """
    if job.metadata.deletion_timestamp is not None or is_over(job.status):
        return False
    if not pods:
        return job.status.state is None
    newest = max(pods, key=lambda pod: attempt_of(pod) or 0)
    return ended(newest) and job.status.next_attempt_time is None
