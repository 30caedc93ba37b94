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

LARGEST = 64 << 20
"""Bytes of one request."""


@dataclass(frozen=True)
class Bounds:
    """How much may wait at once. One version has less than all: a model that never starts must leave room for the others."""

    requests_of_version: int = 1_000
    requests_in_all: int = 2_000
    bytes_of_version: int = LARGEST
    bytes_in_all: int = 96 << 20
    """gRPC has a copy of each that is passed on, and the pod has 512 MiB."""


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
    size: int = 0
    """Their bytes."""
    unavailable: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Why none is to wait any more."""
    reporting: "asyncio.Task[None] | None" = None


class Ticket:
    """The right of one request to wait."""

    def __init__(self, room: "Room", name: Name, model: _Model) -> None:
        self._room, self._name, self._model = room, name, model
        self._size, self._passed_on = 0, False

    def takes(self, size: int) -> None:
        """The request has so many bytes more. Raises Refused where there is no room for them."""
        self._room.take_in(self._name, self._model, size)
        self._size += size

    def leave(self) -> None:
        """The room is free again."""
        self._room.take_out(self._model, self._size)
        self._size = 0

    def pass_on(self) -> None:
        """The version takes the request now: whatever becomes of the version, this one may be answered, and does not wait any more."""
        self._passed_on = True

    async def unless_refused(self, work: Awaitable[T]) -> T:
        """The result of the work. Raises Refused as soon as the operator says that waiting is in vain; the work is cancelled.

        Work that has been passed on is not: the pods of a version that is replaced finish what they have.
        """
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._model.unavailable}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done() or self._passed_on:
                return await task
            raise Refused(self._model.unavailable.result())
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            elif not task.cancelled():
                # Nobody asks for it where the request itself was cancelled.
                task.exception()


class Room:
    """All that wait."""

    def __init__(
        self, report: Report, counts: Counts, bounds: Bounds | None = None, *, every: float = REPORT_EVERY
    ) -> None:
        self._report, self._counts, self._bounds, self._every = report, counts, bounds or Bounds(), every
        self._models: dict[Name, _Model] = {}
        self._bytes = 0

    @property
    def requests(self) -> int:
        """How many there are."""
        return sum(model.requests for model in self._models.values())

    @asynccontextmanager
    async def held(self, name: Name, size: int = 0) -> AsyncIterator[Ticket]:
        """While a request waits, or is passed on. `size`: its bytes, as far as they are known. Raises Refused when there are too many."""
        model = self._models.get(name) or _Model()
        ticket, begun = Ticket(self, name, model), asyncio.get_running_loop().time()
        try:
            self._admit(name, model)
            ticket.takes(size)
            self._models[name] = model
            model.requests += 1
            self._counts.held.inc()
            if model.reporting is None:
                model.reporting = asyncio.create_task(self._reporting(name, model), name=f"reports on {name.name}")
            try:
                yield ticket
            finally:
                ticket.leave()
                model.requests -= 1
                self._counts.held.dec()
                self._counts.seconds.observe(asyncio.get_running_loop().time() - begun)
        except Refused as refused:
            self._counts.refused.labels("full" if refused.is_full else "unavailable").inc()
            raise

    def _admit(self, name: Name, model: _Model) -> None:
        bounds = self._bounds
        if model.requests >= bounds.requests_of_version:
            raise Refused(
                f"too many requests wait for ModelDeployment {name.name} in {name.namespace}: {model.requests} of at most "
                f"{bounds.requests_of_version} at this activator. Send this one again once a pod is ready",
                is_full=True,
            )
        if self.requests >= bounds.requests_in_all:
            raise Refused(
                f"the activator is full: {self.requests} of at most {bounds.requests_in_all} requests wait for the pods of "
                f"all models, {model.requests} of them for ModelDeployment {name.name} in {name.namespace}. {_LATER}",
                is_full=True,
            )

    def take_in(self, name: Name, model: _Model, size: int) -> None:
        """So many bytes more wait for a version. Raises Refused where that is too much."""
        bounds = self._bounds
        if model.size + size > bounds.bytes_of_version:
            raise Refused(
                f"too many requests wait for ModelDeployment {name.name} in {name.namespace}: they have {_mib(model.size)} "
                f"without {_mib(size)} of this one, and at most {_mib(bounds.bytes_of_version)} may wait for one version at this activator. "
                "Send this one again once a pod is ready, or send smaller ones",
                is_full=True,
            )
        if self._bytes + size > bounds.bytes_in_all:
            raise Refused(
                f"the activator is full: the requests for all models that have no pod have {_mib(self._bytes)} without "
                f"{_mib(size)} of this one, and at most {_mib(bounds.bytes_in_all)} may wait. {_mib(model.size)} of them are "
                f"for ModelDeployment {name.name} in {name.namespace}. {_LATER}",
                is_full=True,
            )
        model.size += size
        self._bytes += size

    def take_out(self, model: _Model, size: int) -> None:
        """So many bytes wait no longer."""
        model.size -= size
        self._bytes -= size

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


_LATER = (
    "Send this one again in some seconds. The platform team can add pods to the activator (gateway.activator.replicas)"
)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
