"""Prometheus metrics of the operator, in a registry of their own."""

from collections import Counter as Count
from collections.abc import Callable, Iterable
from typing import TypeVar

from fovea_api.v1alpha1 import BatchPrediction, JobState, TrainingJob
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import TRAINING_JOB

from .cache import BY_OWNER, Cache, Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
disable_created_metrics()  # type: ignore[no-untyped-call]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG_SECONDS = (0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800)
_WAITS = (1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 14_400, 86_400)
DEADLINES = ("maxRunningSeconds", "maxWaitSeconds")
"""Fields of runPolicy that end a job."""
MISSED_SECONDS = 2.0
"""A job that ends so much later than its deadline has missed it."""
S = TypeVar("S", TrainingJob, BatchPrediction)
_QUEUED = (None, JobState.QUEUED)
_HAS_NODES = (JobState.PREPARING, JobState.RUNNING, JobState.SUCCEEDED)


class Metrics:
    """The metrics of the operator. Their names are part of the product: dashboards and alerts use them."""

    def __init__(self, cache: Cache, queue_depth: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.leading = Gauge("fovea_leader", "1 while this instance leads.", registry=self.registry)
        self.waited = Histogram(
            "fovea_queue_seconds", "Seconds that a key waited for a worker.", buckets=_SECONDS, registry=self.registry
        )
        self.reconciled = Histogram(
            "fovea_reconcile_seconds",
            "Seconds of one reconcile, by kind and outcome.",
            ("kind", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._calls = Counter(
            "fovea_api_calls",
            "Calls of the API server, by verb, resource and code.",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "fovea_events_dropped", "Kubernetes Events that were not written: rate limit.", registry=self.registry
        )
        self.first_pod = Histogram(
            "fovea_job_first_pod_seconds",
            "Seconds from a job's creation (whole seconds) to its first pod.",
            buckets=_LONG_SECONDS,
            registry=self.registry,
        )
        depth = Gauge("fovea_queue_depth", "Keys that wait for a worker.", registry=self.registry)
        depth.set_function(queue_depth)
        self._deadlines = Counter(
            "fovea_job_deadlines", "Jobs that ended at a deadline, by its field.", ("deadline",), registry=self.registry
        )
        self._missed = Counter(
            "fovea_job_deadline_misses",
            "Of those, the ones that ended more than two seconds late.",
            ("deadline",),
            registry=self.registry,
        )
        for deadline in DEADLINES:  # a series that begins with its first count is no increase to Prometheus
            self._deadlines.labels(deadline)
            self._missed.labels(deadline)
        self.registry.register(_States(cache.jobs, "fovea_jobs", "TrainingJobs by state."))
        self.registry.register(_States(cache.predictions, "fovea_predictions", "BatchPredictions by state."))
        _Passages(cache, self.registry)
        _Predictions(cache.predictions, self.registry)

    def count_call(self, verb: str, resource: str, code: int) -> None:
        """One call of the API server; code 0: no answer came."""
        self._calls.labels(verb, resource, str(code)).inc()

    def count_deadline(self, field: str, late: float) -> None:
        """A job has ended for the deadline of that field, this number of seconds after it."""
        self._deadlines.labels(field).inc()
        if late > MISSED_SECONDS:
            self._missed.labels(field).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class _States(Collector):
    """Objects of a kind by state, counted with every change: there may be tens of thousands."""

    def __init__(self, store: Store[S], name: str, meaning: str) -> None:
        self._name, self._meaning = name, meaning
        self._states: Count[str] = Count()
        store.follow(self._changed)

    def _changed(self, before: S | None, after: S | None) -> None:
        if before is not None:
            self._states[before.status.state or JobState.QUEUED] -= 1
        if after is not None:
            self._states[after.status.state or JobState.QUEUED] += 1

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._meaning, labels=("state",))
        for state in JobState:
            family.add_metric([state.value], self._states[state])
        yield family


class _Passages:
    """What jobs go through, by the changes of their statuses. What happened while no operator ran is left out."""

    def __init__(self, cache: Cache, registry: CollectorRegistry) -> None:
        self._pods = cache.pods
        self._queued = Histogram(
            "fovea_job_queue_wait_seconds",
            "Seconds that an attempt of a job waited until its pods had nodes.",
            buckets=_WAITS,
            registry=registry,
        )
        self._began = Histogram(
            "fovea_job_time_to_running_seconds",
            "Seconds from a job's creation to the start of its first program.",
            buckets=_WAITS,
            registry=registry,
        )
        self._restarts = Counter(
            "fovea_job_restarts",
            "Attempts of jobs that failed and begin again, by cause.",
            ("cause",),
            registry=registry,
        )
        for cause in ("retry", "disruption"):
            self._restarts.labels(cause)
        cache.jobs.follow(self._changed)

    def _changed(self, before: TrainingJob | None, after: TrainingJob | None) -> None:
        if before is None or after is None or before.metadata.uid != after.metadata.uid:
            return
        then, now = before.status, after.status
        if now.start_time is not None and then.start_time is None:
            created, started = times.parse(after.metadata.creation_timestamp), times.parse(now.start_time)
            self._began.observe(times.seconds_between(created, started))
        if then.state in _QUEUED and now.state in _HAS_NODES:
            self._observe_wait(after)
        self._restarts.labels("retry").inc(max(0, (now.retries or 0) - (then.retries or 0)))
        self._restarts.labels("disruption").inc(max(0, (now.disruptions or 0) - (then.disruptions or 0)))

    def _observe_wait(self, job: TrainingJob) -> None:
        metadata = job.metadata
        owned = self._pods.group(BY_OWNER, (metadata.namespace, TRAINING_JOB.group_kind, metadata.name))
        since = times.parse(job.status.queue_time or metadata.creation_timestamp)
        bound = [
            pod.record.scheduled for pod in owned if pod.owner.uid == metadata.uid and pod.record.scheduled is not None
        ]
        if since is not None and bound:
            self._queued.observe(times.seconds_between(since, max(bound)))


class _Predictions:
    """What batch predictions answer, by the changes of their statuses. What happened while no operator ran is left out."""

    def __init__(self, predictions: Store[BatchPrediction], registry: CollectorRegistry) -> None:
        self._began = Histogram(
            "fovea_prediction_time_to_running_seconds",
            "Seconds from a batch prediction's creation to its first worker that answers.",
            buckets=_WAITS,
            registry=registry,
        )
        self._records = Counter(
            "fovea_prediction_records",
            "Records of batch predictions that are done, with or without an answer.",
            registry=registry,
        )
        self._errors = Counter("fovea_prediction_errors", "Of those, the ones without an answer.", registry=registry)
        self._retries = Counter(
            "fovea_prediction_retries",
            "Workers of batch predictions that failed and are replaced, without disruptions.",
            registry=registry,
        )
        predictions.follow(self._changed)

    def _changed(self, before: BatchPrediction | None, after: BatchPrediction | None) -> None:
        if before is None or after is None or before.metadata.uid != after.metadata.uid:
            return
        then, now = before.status, after.status
        if now.start_time is not None and then.start_time is None:
            created, started = times.parse(after.metadata.creation_timestamp), times.parse(now.start_time)
            self._began.observe(times.seconds_between(created, started))
        if (far := now.progress) is not None:
            known = then.progress
            self._records.inc(max(0, far.records - (known.records if known is not None else 0)))
            self._errors.inc(max(0, far.errors - (known.errors if known is not None else 0)))
        self._retries.inc(max(0, sum((now.failures or {}).values()) - sum((then.failures or {}).values())))
