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


class MemberState(StrEnum):
    """States of a member of a distributed job."""

    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


class MemberStatus(Model):
    """One member of a distributed job: where its current attempt stands."""

    state: MemberState
    """QUEUED, PREPARING, RUNNING, SUCCEEDED, FAILED, or STOPPED: Fovea ended it together with the job."""
    attempt: int = 0
    """Number of the attempt, from 0."""
    since: str | None = None
    """Time at which this state began."""
    node: str | None = None
    """Node of its pod."""
    step: int | None = None
    """Steps that its program has reported. A worker of a recipe with distribution ParameterServer counts the steps that it has
    run itself since it started."""
    behind_percent: int | None = None
    """Percent by which a straggler is slower than the median worker. Absent for all other members. Only workers with
    distribution ParameterServer and sync false are compared: other workers wait for each other at every step."""


class ProgressStatus(Model):
    """Progress of the program, as the program reports it."""

    summary: str | None = None
    """Steps done of steps planned, for example 120/500. Only the steps done, if the program plans none."""
    step: int | None = None
    """Steps done."""
    steps: int | None = None
    """Steps planned."""
    epoch: int | None = None
    """Epochs done."""
    epochs: int | None = None
    """Epochs planned."""
    steps_per_second: float | None = None
    """Steps in a second, over the last two minutes of reports."""
    remaining_seconds: int | None = None
    """Seconds until all steps are done at this pace. Absent while no program runs."""
    metrics: dict[str, float] | None = None
    """Newest values by name, at most 64, with six significant digits."""
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


class BestCheckpointStatus(Model):
    """Best checkpoint so far, as the evaluator measured it."""

    step: int
    """Step of the checkpoint. It is published, and stays beyond checkpoint.keep."""
    metric: Annotated[str, Field(max_length=128)]
    """Name of the metric by which it is the best."""
    value: float
    """Value of this metric on the validation data."""


class CostStatus(Model):
    """Cost of the job's pods: for each one the hours from its start on a node to its end, times spec.costWeight of its machine type."""

    total: float
    """Cost until this status was written. Fovea updates it when it writes the status for another reason, and at the end."""
    ended: float = 0.0
    """Part of total from attempts that have ended."""


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

    member: str | None = None
    """Member (<role>-<index>) whose attempt it was. Absent for a job of one pod."""
    attempt: int
    """Number of the attempt, from 0."""
    exit_code: int | None = None
    """Exit code of the container that ended the attempt. Absent if the pod was lost."""
    reason: str
    """Reason in CamelCase, for programs."""
    message: str
    """Reason in a sentence, for people."""


class FailingStepStatus(Model):
    """Step at which the program failed last, and how often in a row."""

    step: int | None = None
    """Last step that the program had reported. Absent if it had reported none."""
    checkpoint_step: int | None = None
    """Newest checkpoint at that time. Absent if there was none."""
    failures: int
    """Number of failures in a row at this step with this checkpoint. Disruptions do not count."""


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
    members: dict[str, MemberStatus] | None = None
    """Members (<role>-<index>) of a distributed job. Fovea updates them when it writes the status for another reason, so a
    step may be some seconds old."""
    attempts: dict[str, int] | None = None
    """Number of the current attempt of each member (<role>-<index>). The first attempt is 0. Only the chief is listed at 0."""
    retries: int | None = None
    """Number of retries so far. runPolicy.backoffLimit limits it."""
    disruptions: int | None = None
    """Number of attempts that ended from outside: by a drain, a preemption, an eviction for lack of room on the node, a deleted pod,
    or a node that is lost, restarts or refuses the pod. They are not retries, and have no limit."""
    next_attempt_time: str | None = None
    """The next attempt does not start before this time."""
    next_attempt_times: dict[str, str] | None = None
    """Members (<role>-<index>) that begin another attempt while the rest of the job goes on, and the time before which it does not start."""
    suspending: bool | None = None
    """true from the time at which Fovea stops the pods because of spec.suspend, or since the queue took the quota back, until that
    attempt has ended; then absent."""
    store_unreachable: bool | None = None
    """true while the program cannot start because the object store does not answer; then absent."""
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
    failing_step: FailingStepStatus | None = None
    """Step at which the program failed last, and how often in a row. From the second time on, message and lastFailure say so."""
    progress: ProgressStatus | None = None
    """Progress of the program. Fovea updates it every few seconds, and less often while many jobs run."""
    live: LiveStatus | None = None
    """Where clients can read the newest progress until the job has ended. `fovea jobs list` and `fovea jobs wait` do this."""
    checkpoint: CheckpointStatus | None = None
    """Newest published checkpoint."""
    best_checkpoint: BestCheckpointStatus | None = None
    """Best checkpoint that the evaluator (spec.roles.evaluator) has measured."""
    evaluator_failures: int | None = None
    """Number of attempts of the evaluator that failed. After three, the job goes on without it."""
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
    queue_position: int | None = None
    """Place of the job in its queue (spec.scheduling.queue); 1 is next. Exact up to 20, then rounded up: to tens up to 200, then to
    hundreds. Absent once the job has quota."""
    queue_time: str | None = None
    """Time at which the job last began to wait for a node."""
    start_time: str | None = None
    """Time at which a program of the job first started."""
    running_seconds: int | None = None
    """Seconds for which the programs of ended attempts ran. runPolicy.maxRunningSeconds limits these and the current attempt together."""
    cost: CostStatus | None = None
    """Cost of all attempts of all pods."""
    end_time: str | None = None
    """Time at which the job ended."""
    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
