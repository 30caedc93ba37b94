"""What is observed of a BatchPrediction, sorted for the decision."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import BatchPrediction, JobState, MachineType, ModelVersion
from fovea_api.v1alpha1.batch_prediction import BatchPredictionSpec
from fovea_api.v1alpha1.batch_prediction_status import BatchPredictionStatus

from fovea_operator.reconcile.batch import outcome
from fovea_operator.reconcile.batch.outcome import Failure, Outcome, Success
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.observed import BatchJobRecord, EarlierPods, PodRecord, PredictionObserved
from fovea_operator.reconcile.shared.pods import ended
from fovea_operator.settings import Settings

_DIGITS = 9
"""A number of a version, a rerun or a worker has no more."""


@dataclass(frozen=True)
class Failed:
    """A worker that failed, and why."""

    pod: PodRecord
    failure: Failure


@dataclass(frozen=True)
class View:
    """A prediction with its Job and its workers."""

    observed: PredictionObserved
    now: datetime
    settings: Settings

    @property
    def prediction(self) -> BatchPrediction:
        """The prediction."""
        return self.observed.prediction

    @property
    def spec(self) -> BatchPredictionSpec:
        """What is wanted."""
        return self.prediction.spec

    @property
    def status(self) -> BatchPredictionStatus:
        """The status as it was written last."""
        return self.prediction.status

    @property
    def machine_type(self) -> MachineType | None:
        """The machine type of the workers; None when there is none of that name."""
        return platform.machine_type(self.spec.machine_type, self.observed.machine_types)

    # -- the version -----------------------------------------------------------------------------------------------------

    @cached_property
    def pinned(self) -> int | None:
        """The number of the version that answers, once it is chosen: by the status or, where that was lost, by the Job."""
        if self.status.version is not None:
            return self.status.version
        found = (number_of(job.labels.get(labels.VERSION, "")) for job in self.observed.jobs)
        return next((number for number in found if number is not None), None)

    @property
    def wanted(self) -> ModelVersion | None:
        """The version that the spec asks for now."""
        number = self.spec.version if isinstance(self.spec.version, int) else None
        return self.observed.versions.find(number, to_serve=True)

    @property
    def version(self) -> ModelVersion | None:
        """The pinned version; None where it is gone, or has other files than when it was pinned."""
        found = self.observed.versions.find(self.pinned, to_serve=True) if self.pinned is not None else None
        return found if found is not None and self.status.digest in (None, found.spec.digest) else None

    # -- Job and workers -------------------------------------------------------------------------------------------------

    @cached_property
    def rerun(self) -> int:
        """The number of the current Job, from 0."""
        return max(self.status.reruns or 0, *(self._numbers.values() or (0,)), 0)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Number of each Job by its uid."""
        prefix = names.prediction_job(self.prediction.metadata.name, 0).removesuffix("0")
        numbers = {job.uid: number_of(job.name.removeprefix(prefix)) for job in self.observed.jobs}
        return {uid: number for uid, number in numbers.items() if number is not None}

    @cached_property
    def job(self) -> BatchJobRecord | None:
        """The current Job; None where it is not there."""
        return next((job for job in self.observed.jobs if self._numbers.get(job.uid) == self.rerun), None)

    @property
    def earlier(self) -> tuple[BatchJobRecord, ...]:
        """Jobs before the current one."""
        return tuple(job for job in self.observed.jobs if self._numbers.get(job.uid) != self.rerun)

    @cached_property
    def all_pods(self) -> tuple[PodRecord, ...]:
        """Workers of all Jobs."""
        return tuple(pod for pods in self.observed.pods.values() for pod in pods)

    @cached_property
    def pods(self) -> tuple[PodRecord, ...]:
        """Workers of the current Job."""
        return self.observed.pods.get(self.job.uid, ()) if self.job is not None else ()

    @cached_property
    def live(self) -> tuple[PodRecord, ...]:
        """Those that have not ended."""
        return tuple(pod for pod in self.pods if not ended(pod))

    @cached_property
    def working(self) -> tuple[PodRecord, ...]:
        """Of each worker the pod that does its work: not one that is being deleted, whose successor may run already."""
        found: dict[int, PodRecord] = {}
        for pod in sorted(self.live, key=lambda pod: (_answers(pod), pod.created, pod.name)):
            if not pod.deleting:
                found[worker_of(pod)] = pod
        return tuple(found.values())

    @cached_property
    def outcomes(self) -> dict[str, Outcome | None]:
        """How each worker ended, by the uid of its pod."""
        return {pod.uid: outcome.of(pod) for pod in self.all_pods}

    @cached_property
    def success(self) -> Success | None:
        """The publication of the output, by the word of any worker."""
        return next((each for each in self.outcomes.values() if isinstance(each, Success)), None)

    @cached_property
    def failed(self) -> tuple[Failed, ...]:
        """Workers that failed, the oldest first."""
        found = ((pod, self.outcomes[pod.uid]) for pod in sorted(self.pods, key=lambda pod: (pod.created, pod.name)))
        return tuple(Failed(pod, each) for pod, each in found if isinstance(each, Failure))

    @cached_property
    def earlier_pods(self) -> dict[int, EarlierPods]:
        """Failed pods of the current Job of which no more is known, by number of the worker."""
        uid = self.job.uid if self.job is not None else ""
        return {worker: earlier for (job, worker), earlier in self.observed.earlier.items() if job == uid}

    @cached_property
    def failures(self) -> dict[str, int]:
        """Failed attempts by number of the worker, without disruptions. A count never goes down when a pod is cleaned up."""
        seen = Counter(str(worker_of(each.pod)) for each in self.failed if not each.failure.disruption)
        seen.update({str(worker): earlier.failures for worker, earlier in self.earlier_pods.items()})
        known = self.status.failures or {}
        counts = {worker: max(seen[worker], known.get(worker, 0)) for worker in {*seen, *known}}
        return dict(sorted(counts.items(), key=lambda item: (len(item[0]), item[0])))

    @property
    def retry(self) -> str:
        """What the last failed worker said, and that it is tried again; empty where none has failed."""
        return self.retry_of(self.failed[-1]) if self.failed else ""

    def retry_of(self, last: Failed) -> str:
        """The same of one worker."""
        worker, limit = worker_of(last.pod), self.spec.run_policy.backoff_limit
        count = self.failures.get(str(worker), 0)
        which = "" if last.failure.disruption else f" (retry {count} of {limit})"
        return f"Worker {worker} is started again{which}, and repeats one shard: {last.failure.message.rstrip('.')}."

    @cached_property
    def started(self) -> datetime | None:
        """When the first program of the workers that are there started."""
        return min(_starts(self.pods), default=None)

    @property
    def start_time(self) -> str | None:
        """When a worker first started to answer."""
        return self.status.start_time or (times.text(self.started) if self.started else None)

    @property
    def running(self) -> bool:
        """Whether a worker answers records."""
        return any(map(_answers, self.working))


def worker_of(pod: PodRecord) -> int:
    """Number of a worker; 0 where its label does not say."""
    return number_of(pod.labels.get(labels.COMPLETION_INDEX, "")) or 0


def number_of(text: str) -> int | None:
    """The number that a text is; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def is_over(status: BatchPredictionStatus) -> bool:
    """Whether the prediction has ended."""
    return isinstance(status.state, JobState) and status.state.ended


def expires_at(prediction: BatchPrediction, ttl_seconds: float | None) -> datetime | None:
    """When an ended prediction is to be deleted; None: never. `ttl_seconds` holds where its spec says nothing."""
    own = prediction.spec.run_policy.ttl_seconds_after_finished
    seconds = ttl_seconds if own is None else own
    end = times.parse(prediction.status.end_time)
    return None if seconds is None or end is None else end + timedelta(seconds=seconds)


def _answers(pod: PodRecord) -> bool:
    return pod.container(names.PREDICT_CONTAINER).running_since is not None


def _starts(pods: tuple[PodRecord, ...]) -> Iterator[datetime]:
    for pod in pods:
        record = pod.container(names.PREDICT_CONTAINER)
        if (started := record.running_since or record.started) is not None:
            yield started
