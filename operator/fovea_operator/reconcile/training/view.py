"""Bucket first: what is observed of a job, sorted for the policies."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.conditions import JobCondition
from fovea_api.v1alpha1.training_job import TrainingJobSpec
from fovea_api.v1alpha1.training_job_status import TrainingJobStatus

from fovea_operator.desired.pod import Member
from fovea_operator.reconcile.shared import conditions, times
from fovea_operator.reconcile.shared.observed import JobObserved, PodRecord
from fovea_operator.reconcile.shared.pods import (
    MemberPods,
    PodSet,
    Recorded,
    attempt_of,
    ended,
    trainer_ended,
    trainer_started,
)
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
    def of(
        cls, observed: JobObserved, now: datetime, settings: Settings, members: Sequence[Member] = (Member(),)
    ) -> "View":
        """Sort the pods to the members, of which the chief comes first."""
        pods = pods_of(observed.job, observed.pods, members)
        return cls(observed, now, settings, observed.job.status, pods)

    def with_resumption(self, status: TrainingJobStatus) -> "View":
        """The same view with the suspension taken back, by this status."""
        members = [each.member for each in self.pods]
        pods = PodSet.of(members, self.observed.pods, _recorded(status))
        return replace(self, status=status, pods=pods, resumed=True)

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
        return conditions.is_true(self.status.conditions, JobCondition.SUSPENDED)

    @property
    def suspending(self) -> bool:
        """Whether the status says that pods were deleted because of a suspension, and the next attempt has not begun."""
        return bool(self.status.suspending)

    @property
    def succeeded(self) -> bool:
        """Whether the status says that the program has succeeded, and only its model cannot be registered yet."""
        return self.status.output is not None and not is_over(self.status)

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
    def program_started(self) -> datetime | None:
        """When the chief's program started: from its pod, or, when that is gone, from the status."""
        if self.chief.pod is not None:
            return trainer_started(self.chief.pod)
        found = conditions.find(self.status.conditions, JobCondition.RUNNING)
        return times.parse(found.last_transition_time) if found and found.status == "True" else None

    @property
    def program_ended(self) -> datetime | None:
        """When the chief's program ended."""
        return trainer_ended(self.chief.pod) if self.chief.pod is not None else None

    @property
    def seconds_run(self) -> int:
        """Seconds that the chief's programs ran, all attempts together, the current one until now or its end."""
        before = self.status.running_seconds or 0
        if self.succeeded:
            return before  # counted when that was written: the pod may be gone by now
        return before + times.seconds_between(self.program_started, self.program_ended or self.now)


def pods_of(job: TrainingJob, pods: Iterable[PodRecord], members: Sequence[Member] = (Member(),)) -> PodSet:
    """The pods of a job, sorted to its members."""
    return PodSet.of(members, pods, _recorded(job.status))


def _recorded(status: TrainingJobStatus) -> Recorded:
    suspended = conditions.is_true(status.conditions, JobCondition.SUSPENDED)
    return Recorded(status.attempts or {}, bool(status.next_attempt_time) or suspended, status.ended_programs or {})


def is_over(status: TrainingJobStatus) -> bool:
    """Whether the job has ended."""
    return isinstance(status.state, JobState) and status.state.ended


def is_settled(job: TrainingJob) -> bool:
    """Whether the job has ended and its status is of the newest spec: nothing is left to do but to clean up, and its TTL."""
    observed = job.status.observed_generation
    return is_over(job.status) and (observed is None or observed >= job.metadata.generation)


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
