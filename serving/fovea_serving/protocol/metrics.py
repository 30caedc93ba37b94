"""Prometheus metrics under the names of TensorFlow Serving (which begin with a colon), and the text format of the page.

They are written out by hand: the usual client library appends `_total` to the names of counters, and dashboards and
alerts made for TensorFlow Serving would find nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PATH: Final = "/monitoring/prometheus/metrics"

REQUEST_COUNT: Final = ":tensorflow:serving:request_count"
REQUEST_LATENCY: Final = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY: Final = ":tensorflow:serving:runtime_latency"
REQUEST_EXAMPLE_COUNTS: Final = ":tensorflow:serving:request_example_counts"
REQUEST_EXAMPLE_COUNT_TOTAL: Final = ":tensorflow:serving:request_example_count_total"
WARMUP_LATENCY: Final = ":tensorflow:serving:model_warmup_latency"
WARMUP_RECORDS: Final = ":tensorflow:serving:model_warmup_records_read"
QUEUING_LATENCY: Final = ":tensorflow:serving:batching_session:queuing_latency"
BATCH_RUNS: Final = ":tensorflow:serving:batching_session:wrapped_run_count"
LOAD_ATTEMPTS: Final = ":tensorflow:cc:saved_model:load_attempt_count"
LOAD_LATENCY: Final = ":tensorflow:cc:saved_model:load_latency"
GRAPH_RUNS: Final = ":tensorflow:core:graph_runs"
GRAPH_TIME: Final = ":tensorflow:core:graph_run_time_usecs"
# What TensorFlow Serving does not tell.
REQUESTS_IN_FLIGHT: Final = ":fovea:serving:requests_in_flight"
WAITING_BYTES: Final = ":fovea:serving:waiting_bytes"

LATENCY_LIMITS: Final = tuple(10 * 1.8**power for power in range(33))
"""Upper limits of the buckets of a latency, in microseconds."""
EXAMPLE_LIMITS: Final = tuple(float(2**power) for power in range(15))
"""Upper limits of the buckets of a number of examples."""


class Metric(Protocol):
    """A metric of the page."""

    def lines(self) -> Iterator[str]:
        """Its lines: help, type, and one for each value."""


@dataclass(slots=True)
class Counter:
    """Sums by the values of its labels. Callers that add from several threads take a lock."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        """Add to the sum of these values of the labels."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def lines(self) -> Iterator[str]:
        """Its part of the page."""
        yield from _head(self.name, self.help, "counter")
        for labels, value in self.values.items():
            yield f"{self.name}{{{_labels(self.labels, labels)}}} {_exact(value)}"


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, and a sum, by the values of its labels. Callers that add from several threads take a lock."""

    name: str
    help: str
    labels: tuple[str, ...]
    limits: tuple[float, ...] = LATENCY_LIMITS
    values: dict[tuple[str, ...], tuple[list[int], list[float]]] = field(default_factory=dict)

    def add(self, labels: tuple[str, ...], value: float) -> None:
        """Count a value for these values of the labels."""
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = ([0] * (len(self.limits) + 1), [0.0])
        found[0][bisect.bisect_left(self.limits, value)] += 1
        found[1][0] += value

    def lines(self) -> Iterator[str]:
        """Its part of the page."""
        yield from _head(self.name, self.help, "histogram")
        for labels, (counts, total) in self.values.items():
            own = _labels(self.labels, labels)
            prefix = f"{own}," if own else ""
            seen = 0
            for limit, count in zip([*map(_limit, self.limits), "+Inf"], counts, strict=True):
                seen += count
                yield f'{self.name}_bucket{{{prefix}le="{limit}"}} {seen}'
            yield f"{self.name}_sum{{{own}}} {_exact(total[0])}"
            yield f"{self.name}_count{{{own}}} {seen}"


@dataclass(frozen=True, slots=True)
class Gauge:
    """One number as it is right now."""

    name: str
    help: str
    value: int

    def lines(self) -> Iterator[str]:
        """Its part of the page."""
        yield from _head(self.name, self.help, "gauge")
        yield f"{self.name}{{}} {self.value}"


def page(metrics: Iterable[Metric]) -> str:
    """These metrics in Prometheus' text format."""
    return "\n".join(line for metric in metrics for line in metric.lines()) + "\n"


def _head(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    escaped = (value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for value in values)
    return ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True))


def _exact(value: float) -> str:
    """With all digits: a rate is the difference of two sums, and rounded ones stand still and jump."""
    return str(int(value)) if value == int(value) else repr(value)


def _limit(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6g}"
