"""Prometheus metrics of the operator, in a registry of their own."""

from collections import Counter as Count
from collections.abc import Callable, Iterable

from fovea_api.v1alpha1 import JobState, TrainingJob
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .cache import Cache

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
disable_created_metrics()  # type: ignore[no-untyped-call]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG_SECONDS = (0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800)


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
        self.registry.register(_Jobs(cache))

    def count_call(self, verb: str, resource: str, code: int) -> None:
        """One call of the API server; code 0: no answer came."""
        self._calls.labels(verb, resource, str(code)).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class _Jobs(Collector):
    """Jobs by state, counted with every change: there may be tens of thousands."""

    def __init__(self, cache: Cache) -> None:
        self._states: Count[str] = Count()
        cache.jobs.follow(self._changed)

    def _changed(self, before: TrainingJob | None, after: TrainingJob | None) -> None:
        if before is not None:
            self._states[before.status.state or JobState.QUEUED] -= 1
        if after is not None:
            self._states[after.status.state or JobState.QUEUED] += 1

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("fovea_jobs", "TrainingJobs by state.", labels=("state",))
        for state in JobState:
            family.add_metric([state.value], self._states[state])
        yield family
