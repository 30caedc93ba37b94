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
    """Pods of a role, by phase; for a job that has ended, the pods that had ended by then."""

    pending: int = 0
    """Waiting for a node or an image."""
    active: int = 0
    """Running."""
    succeeded: int = 0
    """Ended with success."""
    failed: int = 0
    """Ended without success. Pods that are gone are not counted: see retries and lastFailure."""


class ProgressStatus(Model):
    """How far the program is, as it reports itself."""

    step: int | None = None
    """Steps done."""
    steps: int | None = None
    """Steps planned."""
    epoch: int | None = None
    """Epochs done."""
    epochs: int | None = None
    """Epochs planned."""
    metrics: dict[str, float] | None = None
    """Latest values by name, at most 64."""
    metrics_left_out: int | None = None
    """How many more metrics the program gave, including those that are not finite. Kept are accuracy, loss, names with val/ or val_, then the first ones."""


class LiveStatus(Model):
    """Where the newest progress can be read, for as long as the job goes on."""

    url: str
    """Address inside the cluster at which the operator answers."""
    ticket: str
    """Ask for the progress with it. It shows the progress of this job and nothing else."""


class CheckpointStatus(Model):
    """The newest published checkpoint."""

    step: int
    """Its step."""
    digest: str = ""
    """Its digest."""
    time: str | None = None
    """When it was published."""


class PublicationStatus(Model):
    """Something that was published."""

    uri: str
    """Where it is."""
    digest: str
    """What it contains."""
    bytes: int = 0
    """Size of its files."""
    files: int = 0
    """How many files."""


class ResolvedInput(Model):
    """Where an input or a checkpoint of another object was found."""

    name: str
    """Name of the input in spec.inputs, or checkpoint.from."""
    uri: str
    """Where it is."""
    digest: str = ""
    """What it contains; empty for checkpoint.from, whose newest checkpoint is taken."""


class FailureStatus(Model):
    """Why the last failed attempt ended."""

    attempt: int
    """Which attempt."""
    exit_code: int | None = None
    """Exit code of the container that ended the attempt; absent when the pod was lost."""
    reason: str
    """CamelCase word for programs."""
    message: str
    """Sentence for people."""


class TrainingJobStatus(Status):
    """Where the job stands."""

    state: JobState | None = None
    """QUEUED, PREPARING, RUNNING, SUCCEEDED, FAILED, CANCELLING or CANCELLED."""
    message: Annotated[str | None, Field(max_length=32_768)] = None
    """One sentence on where it stands and what to do."""
    conditions: Conditions | None = None
    """Admitted, Running, Suspended, Complete, Failed."""
    roles: dict[str, RoleStatus] | None = None
    """Pods by role."""
    attempts: dict[str, int] | None = None
    """Number of the current attempt by member (<role>-<index>), from 0; written before a failed pod is replaced. Members but the chief are left out at 0."""
    retries: int | None = None
    """Failures counted against runPolicy.backoffLimit."""
    disruptions: int | None = None
    """Attempts that ended from outside (a drain, a preemption, a lost node, a deleted pod). They do not count as retries."""
    next_attempt_time: str | None = None
    """The next attempt does not start before this time."""
    suspending: bool | None = None
    """Whether pods are being stopped, or were stopped, because of spec.suspend; absent once that attempt is over."""
    ended_programs: dict[str, int] | None = None
    """Exit codes, by member (<role>-<index>), of programs that had ended before their pods were deleted."""
    resolved_inputs: Annotated[
        list[ResolvedInput] | None,
        Field(
            max_length=33, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = None
    """Where job://, model:// and checkpoint.from led when the first pod was made; every later attempt uses the same."""
    last_failure: FailureStatus | None = None
    """The last failed attempt."""
    progress: ProgressStatus | None = None
    """How far the program is. Written every few seconds; less often where many jobs run."""
    live: LiveStatus | None = None
    """Where the newest progress can be read, for as long as the job goes on. `fovea jobs list` and `fovea jobs wait` do that."""
    checkpoint: CheckpointStatus | None = None
    """Newest published checkpoint."""
    output: PublicationStatus | None = None
    """Published output folder."""
    model: PublicationStatus | None = None
    """Published SavedModel."""
    model_problem: str | None = None
    """Why the published model cannot be served; absent when it can."""
    metrics: dict[str, float] | None = None
    """Final metrics (evaluation.json), at most 64."""
    metrics_left_out: int | None = None
    """How many more metrics there were, including those that are not finite. Kept are accuracy, loss, names with val/ or val_, then the first ones."""
    model_version: str | None = None
    """Name of the ModelVersion that was registered."""
    queue_time: str | None = None
    """When the job last began to wait for a node."""
    start_time: str | None = None
    """When a program first started."""
    running_seconds: int | None = None
    """Seconds that programs of ended attempts ran; runPolicy.maxRunningSeconds counts these and the current attempt."""
    end_time: str | None = None
    """When the job ended."""
    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
