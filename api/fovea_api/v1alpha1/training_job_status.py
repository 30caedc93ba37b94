"""The status of a TrainingJob: its state, and what each field means."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .common import Conditions, Model, Status


class JobState(StrEnum):
    """States of a job, named as Cloud ML's."""

    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to a job in this state."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class RoleStatus(Model):
    """Numbers of a role's pods by phase. For a job that has ended: the pods that had ended at that time."""

    pending: int = 0
    """Pods that wait for a node or an image."""
    active: int = 0
    """Pods that run."""
    succeeded: int = 0
    """Pods that ended with success."""
    failed: int = 0
    """Pods that ended without success. Pods that were deleted do not count: see retries, disruptions and lastFailure."""


class ProgressStatus(Model):
    """Progress of the program, as the program reports it."""

    step: int | None = None
    """Steps done."""
    steps: int | None = None
    """Steps planned."""
    epoch: int | None = None
    """Epochs done."""
    epochs: int | None = None
    """Epochs planned."""
    metrics: dict[str, float] | None = None
    """Newest values by name, at most 64."""
    metrics_left_out: int | None = None
    """Number of metrics that are not listed, including those that are not finite. Listed first are accuracy and loss, then
    names that begin with val/ or val_, then the first of the others."""


class LiveStatus(Model):
    """Where clients can read the newest progress until the job has ended."""

    url: str
    """Address of the operator inside the cluster."""
    ticket: str
    """Secret text for the request. With it, a client can read the progress of this job, and nothing else."""


class CheckpointStatus(Model):
    """Newest published checkpoint."""

    step: int
    """Step of the checkpoint."""
    digest: str = ""
    """Digest of its files."""
    time: str | None = None
    """Time of the publication."""


class PublicationStatus(Model):
    """Files that were published."""

    uri: str
    """Address in the store."""
    digest: str
    """Digest of the files."""
    bytes: int = 0
    """Total size, in bytes."""
    files: int = 0
    """Number of files."""


class ResolvedInput(Model):
    """Address that an input job:// or model://, or checkpoint.from, stands for."""

    name: str
    """Name of the input in spec.inputs, or checkpoint.from."""
    uri: str
    """Address in the store."""
    digest: str = ""
    """Digest of the files. Empty for checkpoint.from, which always means the newest checkpoint."""


class FailureStatus(Model):
    """How the last failed or disrupted attempt ended."""

    attempt: int
    """Number of the attempt, from 0."""
    exit_code: int | None = None
    """Exit code of the container that ended the attempt. Absent if the pod was lost."""
    reason: str
    """Reason in CamelCase, for programs."""
    message: str
    """Reason in a sentence, for people."""


class TrainingJobStatus(Status):
    """State of the job."""

    state: JobState | None = None
    """QUEUED, PREPARING, RUNNING, SUCCEEDED, FAILED, CANCELLING or CANCELLED."""
    message: Annotated[str | None, Field(max_length=32_768)] = None
    """State of the job in a sentence, and what to do."""
    conditions: Conditions | None = None
    """Conditions: Admitted, Running, Suspended, Complete, Failed."""
    roles: dict[str, RoleStatus] | None = None
    """Numbers of pods by role."""
    attempts: dict[str, int] | None = None
    """Number of the current attempt of each member (<role>-<index>). The first attempt is 0. Only the chief is listed at 0."""
    retries: int | None = None
    """Number of retries so far. runPolicy.backoffLimit limits it."""
    disruptions: int | None = None
    """Number of attempts that ended from outside: by a drain, a preemption, an eviction, a deleted pod, or a node that is
    lost, restarts or refuses the pod. They are not retries, and have no limit."""
    next_attempt_time: str | None = None
    """The next attempt does not start before this time."""
    suspending: bool | None = None
    """true from the time at which Fovea stops the pods because of spec.suspend until that attempt has ended; then absent."""
    ended_programs: dict[str, int] | None = None
    """Exit code by member (<role>-<index>). Listed are members whose program ended before Fovea deleted their pod."""
    resolved_inputs: Annotated[
        list[ResolvedInput] | None,
        Field(
            max_length=33, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = None
    """Addresses that job://, model:// and checkpoint.from stood for when the first pod was made. Each later attempt uses the same addresses."""
    last_failure: FailureStatus | None = None
    """Last failed or disrupted attempt."""
    progress: ProgressStatus | None = None
    """Progress of the program. Fovea updates it every few seconds, and less often while many jobs run."""
    live: LiveStatus | None = None
    """Where clients can read the newest progress until the job has ended. `fovea jobs list` and `fovea jobs wait` do this."""
    checkpoint: CheckpointStatus | None = None
    """Newest published checkpoint."""
    output: PublicationStatus | None = None
    """Published output folder."""
    model: PublicationStatus | None = None
    """Published SavedModel."""
    model_problem: str | None = None
    """Reason for which the published model cannot be served. Absent if it can."""
    metrics: dict[str, float] | None = None
    """Final metrics (evaluation.json), at most 64."""
    metrics_left_out: int | None = None
    """Number of metrics that are not listed, including those that are not finite. Listed first are mainMetric, accuracy and
    loss, then names that begin with val/ or val_, then the first of the others."""
    main_metric: str | None = None
    """Name of the metric that stands for the model: the mainMetric of evaluation.json, else accuracy, loss, or the first."""
    model_version: str | None = None
    """Name of the registered ModelVersion."""
    queue_time: str | None = None
    """Time at which the job last began to wait for a node."""
    start_time: str | None = None
    """Time at which a program of the job first started."""
    running_seconds: int | None = None
    """Seconds for which the programs of ended attempts ran. runPolicy.maxRunningSeconds limits these and the current attempt together."""
    end_time: str | None = None
    """Time at which the job ended."""
    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
