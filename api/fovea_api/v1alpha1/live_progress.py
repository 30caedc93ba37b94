"""What the operator answers from its memory to a request with tickets of jobs (`contract.report.TICKETS_HEADER`)."""

from pydantic import Field

from .common import Model
from .training_job_status import CheckpointStatus, ProgressStatus


class LiveProgress(Model):
    """The newest report on a job, as far as a status would show it."""

    progress: ProgressStatus | None = None
    """How far the program is; absent before its first step."""
    checkpoint: CheckpointStatus | None = None
    """Newest published checkpoint."""
    age_seconds: float
    """How long ago the report arrived."""


class LiveAnswer(Model):
    """The jobs that were found. Not found are tickets that are wrong, and those from before the operator started."""

    found: dict[str, LiveProgress] = Field(default_factory=dict)
    """By ticket."""
