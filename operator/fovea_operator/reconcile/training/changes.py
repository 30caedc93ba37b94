"""What a policy may change of a job's status, typed: a misspelt or unknown field is found before it runs."""

from collections.abc import Mapping
from typing import TypedDict

from fovea_api.v1alpha1.training_job_status import (
    CheckpointStatus,
    FailureStatus,
    ProgressStatus,
    PublicationStatus,
    ResolvedInput,
)


class Reported(TypedDict, total=False):
    """Fields that come from the reports of a pod's agent."""

    progress: ProgressStatus
    checkpoint: CheckpointStatus


class Changes(Reported, total=False):
    """Fields of a status that a policy sets beside state, message and conditions."""

    attempts: Mapping[str, int]
    retries: int
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
