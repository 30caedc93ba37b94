"""What a phase answers: what the status of a job says, and what is to be done. `transition` makes a decision of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, Unpack

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import (
    CheckpointStatus,
    FailureStatus,
    ProgressStatus,
    PublicationStatus,
    ResolvedInput,
)

from fovea_operator.reconcile.shared.decision import Child, Deletion


@dataclass(frozen=True)
class Admitted:
    """What the condition Admitted says: whether the job may have pods."""

    value: bool
    reason: str
    message: str


ACCEPTED = Admitted(True, JobReason.ACCEPTED, "The spec is valid; the job may have pods.")


class Reported(TypedDict, total=False):
    """Fields that come from the reports of a pod's agent."""

    progress: ProgressStatus
    checkpoint: CheckpointStatus


class Changes(Reported, total=False):
    """Fields of a status that a policy sets beside state, message and conditions."""

    attempts: Mapping[str, int]
    retries: int
    disruptions: int
    next_attempt_time: str | None
    suspending: bool | None
    ended_programs: Mapping[str, int] | None
    resolved_inputs: list[ResolvedInput] | None
    last_failure: FailureStatus
    output: PublicationStatus
    model: PublicationStatus | None
    model_problem: str | None
    metrics: Mapping[str, float] | None
    metrics_left_out: int | None
    model_version: str
    queue_time: str | None
    start_time: str | None
    running_seconds: int


@dataclass(frozen=True)
class Statement:
    """What the status is to say."""

    state: JobState
    reason: str
    message: str
    changes: Changes
    admitted: Admitted | None = None
    """None: the condition Admitted stays as it is."""
    running: bool = False
    suspended: bool = False
    """The condition Suspended becomes True."""
    invalid: bool = False
    """The job ends since its spec can never work."""


@dataclass(frozen=True)
class Answer:
    """Carried out in the order of a Decision."""

    statement: Statement | None = None
    """None: the status stays as it is; it acknowledges a newer spec."""
    is_quiet: bool = False
    """Nothing at all is written to the status."""
    children: tuple[Child, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    requeue_at: datetime | None = None


def goes_on(
    state: JobState,
    reason: str,
    message: str,
    *,
    admitted: Admitted | None,
    running: bool = False,
    suspended: bool = False,
    children: tuple[Child, ...] = (),
    deletions: tuple[Deletion, ...] = (),
    requeue_at: datetime | None = None,
    **changes: Unpack[Changes],
) -> Answer:
    """The answer for a job that has not ended."""
    said = Statement(state, reason, message, changes, admitted, running, suspended)
    return Answer(said, children=children, deletions=deletions, requeue_at=requeue_at)


def ends(
    state: JobState,
    reason: str,
    message: str,
    *,
    invalid: bool = False,
    children: tuple[Child, ...] = (),
    **changes: Unpack[Changes],
) -> Answer:
    """The answer by which a job ends: with its pods cleaned up, and looked at again at its TTL."""
    return Answer(Statement(state, reason, message, changes, invalid=invalid), children=children)
