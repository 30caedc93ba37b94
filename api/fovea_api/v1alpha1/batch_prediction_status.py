"""The status of a BatchPrediction: its state, and what each field means."""

from typing import Annotated

from pydantic import Field

from .common import Conditions, Model, Status
from .training_job_status import JobState, PublicationStatus


class ShardCount(Model):
    """Shards of the input."""

    done: int = 0
    """Number of shards that are answered and published."""
    total: int | None = None
    """Number of all shards. Absent until a worker has listed the input."""


class PredictionProgress(Model):
    """How far the prediction is."""

    summary: str
    """Percentage of the shards that are answered, for people."""
    records: int = 0
    """Number of records in the answered shards, with and without an answer."""
    errors: int = 0
    """Number of records that could not be answered."""
    error_ratio: float = 0.0
    """errors divided by records; 0 without records. maxErrorRatio limits it."""
    shards: ShardCount = Field(default_factory=ShardCount)
    """Shards of the input, which the workers answer one at a time."""
    percent: int | None = None
    """Percentage of the shards that are answered. Absent until a worker has listed the input."""
    records_per_second: float | None = None
    """Records that all workers answer in a second, by their newest reports. Absent while that is not known, and after the end."""
    eta_seconds: int | None = None
    """Seconds until the last record is answered, at this pace. Absent while that is not known, and after the end."""


class WorkersStatus(Model):
    """Numbers of workers (pods)."""

    active: int = 0
    """Workers that have not ended."""
    succeeded: int = 0
    """Workers that have answered all that was theirs."""
    failed: int = 0
    """Pods that ended without success, disruptions included. Each was replaced by another one."""


class WorkerFailure(Model):
    """How the last failed worker ended."""

    worker: int
    """Number of the worker, from 0."""
    pod: str
    """Name of its pod."""
    exit_code: int | None = None
    """Exit code of the container that ended it. Absent if that is not known."""
    reason: str
    """Reason in CamelCase, for programs."""
    message: str
    """Reason in a sentence, for people."""


class BatchPredictionStatus(Status):
    """State of the prediction."""

    state: JobState | None = None
    """QUEUED, PREPARING, RUNNING, SUCCEEDED, FAILED, CANCELLING or CANCELLED."""
    message: Annotated[str | None, Field(max_length=32_768)] = None
    """State of the prediction in a sentence, and what to do."""
    conditions: Conditions | None = None
    """Conditions: Admitted, Running, Complete, Failed."""
    version: int | None = None
    """Version of the model that answers. Fovea chooses it once, before the first worker: a later version changes nothing."""
    digest: str | None = None
    """Digest of that version's files."""
    progress: PredictionProgress | None = None
    """How far the prediction is. Fovea updates it every few seconds while workers run."""
    workers: WorkersStatus | None = None
    """Numbers of workers."""
    failures: dict[str, int] | None = None
    """Failed attempts by number of the worker; disruptions do not count. runPolicy.backoffLimit limits each of them."""
    last_failure: WorkerFailure | None = None
    """Last failed worker."""
    reruns: int | None = None
    """How often Fovea made the workers again, because all had ended and none had said where the output is. Answers that are
    published are not computed again. At most three times."""
    output: PublicationStatus | None = None
    """Published output: the predictions, errors.jsonl, and a manifest."""
    start_time: str | None = None
    """Time at which a worker first started to answer."""
    end_time: str | None = None
    """Time at which the prediction ended."""
    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
