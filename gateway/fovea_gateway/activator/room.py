"""Requests that wait for a model without a pod: how many there may be, what the operator hears of them, and when they give up."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from fovea_api.contract.waiting import ALIVE_EVERY, REPORT_EVERY, WaitingAnswer, WaitingReport
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

log = logging.getLogger(__name__)

T = TypeVar("T")
Report = Callable[[WaitingReport], Awaitable[WaitingAnswer]]
"""Posts a report to the operator. Raises OSError where it does not answer, ValueError for an answer that cannot be read."""

MOST_REQUESTS = 1_000
"""Of one ModelDeployment at once."""
MOST_BYTES = 96 << 20
"""Of all that wait: gRPC has a copy of each, and the pod has 512 MiB."""
LARGEST = 64 << 20
"""Of one request."""


class Name(NamedTuple):
    """A version of a ModelDeployment, by the name of its Service."""

    namespace: str
    name: str
    version: str


class Refused(Exception):
    """A request is not to wait, or no longer: the message says why. `is_full`: others may be answered later."""

    def __init__(self, reason: str, *, is_full: bool = False) -> None:
        super().__init__(reason)
        self.is_full = is_full


class Counts:
    """What the activator has done, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.held = Gauge("fovea_activator_requests", "Requests that wait or are passed on.", registry=self.registry)
        self.refused = Counter(
            "fovea_activator_refused", "Requests that were refused.", ["reason"], registry=self.registry
        )
        self.seconds = Histogram(
            "fovea_activator_seconds",
            "Time from a request's arrival to its answer.",
            buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
            registry=self.registry,
        )


@dataclass
class _Model:
    """Requests of one ModelDeployment."""

    requests: int = 0
    unavailable: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Why none is to wait any more."""
    reporting: "asyncio.Task[None] | None" = None


class Ticket:
    """The right of one request to wait."""

    def __init__(self, model: _Model) -> None:
        self._model = model

    async def unless_refused(self, work: Awaitable[T]) -> T:
        """The result of the work. Raises Refused as soon as the operator says that waiting is in vain; the work is cancelled."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._model.unavailable}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Refused(self._model.unavailable.result())
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


class Room:
    """All that wait."""

    def __init__(
        self,
        report: Report,
        counts: Counts,
        *,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
        every: float = REPORT_EVERY,
    ) -> None:
        self._report, self._counts = report, counts
        self._most_requests, self._most_bytes, self._every = most_requests, most_bytes, every
        self._models: dict[Name, _Model] = {}
        self._bytes = 0

    @property
    def requests(self) -> int:
        """How many there are."""
        return sum(model.requests for model in self._models.values())

    @asynccontextmanager
    async def held(self, name: Name, size: int) -> AsyncIterator[Ticket]:
        """While a request of so many bytes waits, or is passed on. Raises Refused when there are too many."""
        model = self._models.get(name) or _Model()
        if model.requests >= self._most_requests or self._bytes + size > self._most_bytes:
            self._counts.refused.labels("full").inc()
            raise Refused(f"too many requests wait for ModelDeployment {name.name}", is_full=True)
        self._models[name] = model
        self._bytes += size
        model.requests += 1
        self._counts.held.inc()
        if model.reporting is None:
            model.reporting = asyncio.create_task(self._reporting(name, model), name=f"reports on {name.name}")
        begun = asyncio.get_running_loop().time()
        try:
            yield Ticket(model)
        except Refused:
            self._counts.refused.labels("unavailable").inc()
            raise
        finally:
            self._bytes -= size
            model.requests -= 1
            self._counts.held.dec()
            self._counts.seconds.observe(asyncio.get_running_loop().time() - begun)

    async def alive(self, every: float = ALIVE_EVERY) -> None:
        """Show the operator that this activator is there, until it is cancelled: without one no model goes without a pod."""
        while True:
            with suppress(OSError, ValueError, TimeoutError):
                await self._report(WaitingReport())
            await asyncio.sleep(every)

    async def _reporting(self, name: Name, model: _Model) -> None:
        """At once, every second while there are any, and once more when there are none."""
        reported = -1
        while model.requests or reported:
            reported = model.requests
            try:
                answer = await self._report(WaitingReport(name.namespace, name.name, name.version, reported))
            except (OSError, ValueError, TimeoutError) as error:
                # The operator may be away for a minute. The requests go on waiting, as long as their clients do.
                log.warning("the operator does not take a report on %s/%s: %s", name.namespace, name.name, error)
            else:
                self._hear(model, answer)
            if model.requests:
                await asyncio.sleep(self._every)
        if self._models.get(name) is model:
            del self._models[name]

    def _hear(self, model: _Model, answer: WaitingAnswer) -> None:
        if answer.unavailable and not model.unavailable.done():
            model.unavailable.set_result(answer.unavailable)
        elif not answer.unavailable and model.unavailable.done():
            model.unavailable = asyncio.get_running_loop().create_future()
