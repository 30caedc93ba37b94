"""One training job, as it was read last."""

from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.training_job_status import TrainingJobStatus

from . import pods
from .logs import LogLine
from .pods import Pod

if TYPE_CHECKING:
    from .download import Downloaded
    from .jobs import Jobs
    from .live import JobProgress


class Job:
    """One job as it was read last; the verbs act on the cluster, on this very job, and read it again."""

    def __init__(self, jobs: "Jobs", document: Mapping[str, Any]) -> None:
        self._jobs = jobs
        self.raw = document
        self.resource: TrainingJob = jobs.kinds.read(document)

    @property
    def name(self) -> str:
        """Its name."""
        return self.resource.metadata.name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.resource.metadata.namespace

    @property
    def uid(self) -> str:
        """Its uid: a later job of the same name has another one."""
        return self.resource.metadata.uid

    @property
    def address(self) -> str:
        """NAME@UID: it and no other of its name."""
        return f"{self.name}@{self.uid}"

    @property
    def status(self) -> TrainingJobStatus:
        """Where the job stands."""
        return self.resource.status

    @property
    def state(self) -> JobState:
        """Its state; QUEUED while the operator has not looked at it."""
        return self.status.state or JobState.QUEUED

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state.ended

    @property
    def model_version(self) -> str | None:
        """Name of the ModelVersion that it registered."""
        return self.status.model_version

    def refresh(self) -> "Job":
        """Read it again."""
        return self._jobs.get(self.address)

    def progress(self) -> "JobProgress":
        """How far it is; see `Jobs.progress`."""
        return self._jobs.progress([self])[0]

    def at(self, seen: "JobProgress") -> "Job":
        """The same job with newer progress in its status; `raw` stays as the cluster has it."""
        other = copy(self)
        status = self.status.model_copy(update={"progress": seen.progress, "checkpoint": seen.checkpoint})
        other.resource = self.resource.model_copy(update={"status": status})
        return other

    def follow(self, timeout: float | None = None, *, every: float | None = None) -> Iterator["Job"]:
        """It now and after each change until it has ended; see `Jobs.follow`."""
        return self._jobs.follow(self.address, timeout=timeout, every=every)

    def wait(self, timeout: float | None = None) -> "Job":
        """Block until it has ended; see `Jobs.wait`."""
        return self._jobs.wait(self.address, timeout=timeout)

    def stream_logs(self, *, follow: bool = True, attempt: int | None = None) -> Iterator[LogLine]:
        """Its log; see `Jobs.stream_logs`."""
        return self._jobs.stream_logs(self.address, follow=follow, attempt=attempt)

    def pods(self) -> list[Pod]:
        """Its pods, oldest attempt first."""
        return pods.of_job(self._jobs.cluster, self.namespace, self.name, self.uid)

    def download(self, folder: str | Path | None = None, **how: Any) -> "Downloaded":
        """Bring what it has published into a folder; see `Jobs.download`."""
        return self._jobs.download(self.address, folder, **how)

    def cancel(self) -> "Job":
        """Cancel it."""
        return self._jobs.cancel(self.address)

    def suspend(self) -> "Job":
        """Suspend it."""
        return self._jobs.suspend(self.address)

    def resume(self) -> "Job":
        """Resume it."""
        return self._jobs.resume(self.address)

    def delete(self) -> None:
        """Delete it."""
        self._jobs.delete(self.address)
