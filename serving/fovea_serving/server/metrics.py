"""What this server counts, and the page that tells it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from fovea_serving.protocol import metrics
from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.metrics import Counter, Gauge, Histogram

LATE_SHARE: Final = 0.02
LATE_SECONDS: Final = 0.05
"""How much before its deadline a call that is cut counts as late, as a share of its time and at least: a client's clock
starts before ours, and times travel rounded."""

UNKNOWN_MODEL: Final = "(unknown)"
"""Stands for every model name that is not configured: names come from requests, and anyone may send any number."""


class Metrics:
    """Counts what happens; `known` says whether a model's name may become a label. Safe to use from any thread."""

    def __init__(self, known: Callable[[str], bool]) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._requests = Counter(metrics.REQUEST_COUNT, "Requests by status.", ("model_name", "status"))
        self._latency = Histogram(
            metrics.REQUEST_LATENCY, "Microseconds of a successful request.", ("model_name", "API", "entrypoint")
        )
        self._runtime = Histogram(
            metrics.RUNTIME_LATENCY, "Microseconds of the runtime.", ("model_name", "API", "runtime")
        )
        self._example_counts = Histogram(
            metrics.REQUEST_EXAMPLE_COUNTS, "tf.Examples of a request.", ("model",), metrics.EXAMPLE_LIMITS
        )
        self._example_total = Counter(metrics.REQUEST_EXAMPLE_COUNT_TOTAL, "tf.Examples received.", ("model",))
        self._warmup = Histogram(metrics.WARMUP_LATENCY, "Microseconds of a warm-up.", ("model_path", "status"))
        self._warmup_records = Counter(metrics.WARMUP_RECORDS, "Warm-up records.", ("model_path",))
        self._queuing = Histogram(metrics.QUEUING_LATENCY, "Microseconds until a run.", ("thread_pool_name",))
        self._runs = Counter(metrics.BATCH_RUNS, "Runs of a batch.", ())
        self._loads = Counter(metrics.LOAD_ATTEMPTS, "Loads by outcome.", ("model_path", "status"))
        self._load_latency = Counter(metrics.LOAD_LATENCY, "Microseconds spent on loading.", ("model_path",))
        self._in_flight = 0
        self.waiting_bytes: Callable[[], int] = lambda: 0
        self._graph_runs = Counter(metrics.GRAPH_RUNS, "Graph executions.", ())
        self._graph_time = Counter(metrics.GRAPH_TIME, "Microseconds of graph executions.", ())

    @contextlib.contextmanager
    def request(self, model: str, api: str, entrypoint: str, deadline: float | None = None) -> Iterator[None]:
        """Count the request that is answered within the block; `deadline` is on the clock of time.monotonic.

        A block that is cancelled at its deadline counts as DEADLINE_EXCEEDED, whichever side noticed first: gRPC cuts a call
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
        """A request had `count` tf.Examples."""
        with self._lock:
            self._example_counts.add((model,), count)
            self._example_total.add((model,), count)

    def batch_ran(self, pool: str, waited: Sequence[float], seconds: float) -> None:
        """A run of `len(waited)` calls ended after `seconds`; `waited`: the seconds that each call had waited."""
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
            shown: list[metrics.Metric] = [
                self._requests, self._latency, self._runtime, self._example_counts, self._example_total,
                self._warmup, self._warmup_records, self._queuing, self._runs, self._loads, self._load_latency,
                self._graph_runs, self._graph_time,
            ]  # fmt: skip
            page = metrics.page(shown)
        waiting = "Bytes of requests that wait or run, over both ports."
        return page + metrics.page(
            [
                Gauge(metrics.REQUESTS_IN_FLIGHT, "Requests being answered.", self._in_flight),
                Gauge(metrics.WAITING_BYTES, waiting, self.waiting_bytes()),
            ]
        )
