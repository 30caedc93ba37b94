"""Prometheus metrics under the names of TensorFlow Serving (which begin with a colon).

They are written out by hand: the usual client library appends `_total` to the names of counters, and dashboards and
alerts made for TensorFlow Serving would find nothing.
"""

from __future__ import annotations

import bisect
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from fovea_serving.server.errors import ServingError

LATE_SHARE: Final = 0.02
LATE_SECONDS: Final = 0.05
"""How much before its deadline a call that is cut counts as late, as a share of its time and at least: a client's clock
starts before ours, and times travel rounded."""

UNKNOWN_MODEL: Final = "(unknown)"
"""Stands for every model name that is not configured: names come from requests, and anyone may send any number."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PATH: Final = "/monitoring/prometheus/metrics"

_LATENCY_LIMITS: Final = tuple(10 * 1.8**power for power in range(33))
_EXAMPLE_LIMITS: Final = tuple(float(2**power) for power in range(15))


@dataclass(slots=True)
class _Counter:
    name: str
    help: str
    labels: tuple[str, ...]
    values: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + amount

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} counter"
        for labels, value in self.values.items():
            yield f"{self.name}{{{_labels(self.labels, labels)}}} {_exact(value)}"


@dataclass(slots=True)
class _Histogram:
    name: str
    help: str
    labels: tuple[str, ...]
    limits: tuple[float, ...] = _LATENCY_LIMITS
    values: dict[tuple[str, ...], tuple[list[int], list[float]]] = field(default_factory=dict)

    def add(self, labels: tuple[str, ...], value: float) -> None:
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = ([0] * (len(self.limits) + 1), [0.0])
        found[0][bisect.bisect_left(self.limits, value)] += 1
        found[1][0] += value

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} histogram"
        for labels, (counts, total) in self.values.items():
            own = _labels(self.labels, labels)
            prefix = f"{own}," if own else ""
            seen = 0
            for limit, count in zip([*map(_limit, self.limits), "+Inf"], counts, strict=True):
                seen += count
                yield f'{self.name}_bucket{{{prefix}le="{limit}"}} {seen}'
            yield f"{self.name}_sum{{{own}}} {_exact(total[0])}"
            yield f"{self.name}_count{{{own}}} {seen}"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    escaped = (value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for value in values)
    return ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True))


def _exact(value: float) -> str:
    """With all digits: a rate is the difference of two sums, and rounded ones stand still and jump."""
    return str(int(value)) if value == int(value) else repr(value)


def _limit(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6g}"


class Metrics:
    """Counts what happens; `known` says whether a model's name may become a label. Safe to use from any thread."""

    def __init__(self, known: Callable[[str], bool]) -> None:
        self._known = known
        self._lock = threading.Lock()
        serving = ":tensorflow:serving:"
        self._requests = _Counter(f"{serving}request_count", "Requests by status.", ("model_name", "status"))
        self._latency = _Histogram(
            f"{serving}request_latency", "Microseconds of a successful request.", ("model_name", "API", "entrypoint")
        )
        self._runtime = _Histogram(
            f"{serving}runtime_latency", "Microseconds of the runtime.", ("model_name", "API", "runtime")
        )
        self._example_counts = _Histogram(
            f"{serving}request_example_counts", "tf.Examples of a request.", ("model",), _EXAMPLE_LIMITS
        )
        self._example_total = _Counter(f"{serving}request_example_count_total", "tf.Examples received.", ("model",))
        self._warmup = _Histogram(
            f"{serving}model_warmup_latency", "Microseconds of a warm-up.", ("model_path", "status")
        )
        self._warmup_records = _Counter(f"{serving}model_warmup_records_read", "Warm-up records.", ("model_path",))
        self._queuing = _Histogram(
            f"{serving}batching_session:queuing_latency", "Microseconds until a run.", ("thread_pool_name",)
        )
        self._runs = _Counter(f"{serving}batching_session:wrapped_run_count", "Runs of a batch.", ())
        self._loads = _Counter(
            ":tensorflow:cc:saved_model:load_attempt_count", "Loads by outcome.", ("model_path", "status")
        )
        self._load_latency = _Counter(
            ":tensorflow:cc:saved_model:load_latency", "Microseconds spent on loading.", ("model_path",)
        )
        self._in_flight = 0
        self.waiting_bytes: Callable[[], int] = lambda: 0
        self._graph_runs = _Counter(":tensorflow:core:graph_runs", "Graph executions.", ())
        self._graph_time = _Counter(":tensorflow:core:graph_run_time_usecs", "Microseconds of graph executions.", ())

    @contextlib.contextmanager
    def request(self, model: str, api: str, entrypoint: str, deadline: float | None = None) -> Iterator[None]:
        """Count the request that is answered within the block; `deadline` is on the clock of time.monotonic.

        A block that is cancelled at its deadline counts as DEADLINE_EXCEEDED, whoever noticed first: gRPC cuts a call
        whose time is up as it cuts one whose caller left.
        """
        started = time.monotonic()
        name = model if self._known(model) else UNKNOWN_MODEL
        status = "CANCELLED"
        self._in_flight += 1
        try:
            yield
            status = "OK"
        except ServingError as error:
            status = error.code.name
            raise
        except Exception:
            status = "INTERNAL"
            raise
        except BaseException:
            if deadline is not None:
                early = max(LATE_SECONDS, LATE_SHARE * (deadline - started))
                status = "DEADLINE_EXCEEDED" if time.monotonic() >= deadline - early else status
            raise
        finally:
            self._in_flight -= 1
            with self._lock:
                self._requests.add((name, status))
                if status == "OK":
                    self._latency.add((name, api, entrypoint), (time.monotonic() - started) * 1e6)

    def ran(self, model: str, api: str, seconds: float) -> None:
        """One request's run of the model."""
        with self._lock:
            self._runtime.add((model, api, "TF1"), seconds * 1e6)

    def examples(self, model: str, count: int) -> None:
        """So many tf.Examples came with a request."""
        with self._lock:
            self._example_counts.add((model,), count)
            self._example_total.add((model,), count)

    def batch_ran(self, pool: str, waited: Sequence[float], seconds: float) -> None:
        """A run of `len(waited)` calls that had waited so many seconds each."""
        with self._lock:
            self._runs.add(())
            self._graph_runs.add(())
            self._graph_time.add((), seconds * 1e6)
            for one in waited:
                self._queuing.add((pool,), one * 1e6)

    def loaded(self, path: str, seconds: float, *, ok: bool) -> None:
        """A version was loaded, or could not be."""
        with self._lock:
            self._loads.add((path, "success" if ok else "fail"))
            self._load_latency.add((path,), seconds * 1e6)

    def warmed_up(self, path: str, records: int, seconds: float, *, status: str) -> None:
        """The warm-up of a version ended with this status."""
        with self._lock:
            self._warmup.add((path, status), seconds * 1e6)
            self._warmup_records.add((path,), records)

    def page(self) -> str:
        """Everything in Prometheus' text format."""
        with self._lock:
            metrics: list[_Counter | _Histogram] = [
                self._requests, self._latency, self._runtime, self._example_counts, self._example_total,
                self._warmup, self._warmup_records, self._queuing, self._runs, self._loads, self._load_latency,
                self._graph_runs, self._graph_time,
            ]  # fmt: skip
            lines = [line for metric in metrics for line in metric.lines()]
        return "\n".join([*lines, *self._own()]) + "\n"

    def _own(self) -> Iterator[str]:
        """What TensorFlow Serving does not tell: how many requests are being answered right now."""
        name = ":fovea:serving:requests_in_flight"
        yield f"# HELP {name} Requests being answered."
        yield f"# TYPE {name} gauge"
        yield f"{name}{{}} {self._in_flight}"
        name = ":fovea:serving:waiting_bytes"
        yield f"# HELP {name} Bytes of requests that wait or run, over both ports."
        yield f"# TYPE {name} gauge"
        yield f"{name}{{}} {self.waiting_bytes()}"
