"""Micro-batching: a few runners share the calls that are waiting, and one bad input never fails its neighbours.

Only calls whose outputs are known to be row-wise share a run (`Signature.row_wise`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from fovea_serving.protocol.errors import (
    ServingError,
    deadline_exceeded,
    internal,
    resource_exhausted,
    unavailable,
)
from fovea_serving.server.runtime_errors import from_tensorflow
from fovea_serving.server.waiting import WaitingCalls

if TYPE_CHECKING:
    from fovea_serving.protocol.signatures import Signature
    from fovea_serving.protocol.tensors import Array

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ran:
    """Values of one call's outputs, and how long the run took that made them."""

    values: list[Array]
    seconds: float


Outcome = Ran | ServingError

QUEUE_FULL: Final = "The batch scheduling queue to which this task was submitted is full"
EXPIRED: Final = "Run() timeout exceeded while waiting in batching queue"
TOO_SLOW: Final = "Run() timeout exceeded while the model was run"

COMPANY_SHARE: Final = 4
COMPANY_SECONDS: Final = 0.01
"""While a run is under way it has all cores already: another one waits until a quarter of a batch has come, or so long.
A call that runs alone costs nearly twice what it does among others; a model that leaves cores idle loses little."""


@dataclass(frozen=True, slots=True)
class BatchingSettings:
    """Limits of batching; `wait_seconds` is how long a batch that is not full may wait for more calls.

    Rows that wait are bounded only where a batching file says so: `memory.RequestMemory` bounds bytes.
    """

    enabled: bool = True
    most_rows: int = 32
    runners: int = 2
    most_waiting_rows: int | None = None
    wait_seconds: float = 0.0
    company_seconds: float = COMPANY_SECONDS
    pool_name: str = "model_server_batch_threads"


class Runnable(Protocol):
    """What can run a signature (a `Servable`)."""

    def run(
        self, signature: Signature, feeds: Sequence[Array], outputs: Sequence[str], timeout: float | None = None
    ) -> list[Array]:
        """Values of the outputs; blocks."""


class Observer(Protocol):
    """Receives how batches went."""

    def batch_ran(self, pool: str, waited: Sequence[float], seconds: float) -> None:
        """A run of `len(waited)` calls ended after `seconds`; `waited`: the seconds that each call had waited."""


@dataclass(slots=True, eq=False)
class PendingCall:
    """One request's share of a run. `deadline` is on the clock of time.monotonic."""

    servable: Runnable
    signature: Signature
    feeds: list[Array]
    outputs: tuple[str, ...]
    key: Hashable
    shareable: bool
    rows: int
    deadline: float | None
    answer: asyncio.Future[Ran]
    arrived: float = field(default_factory=time.monotonic)
    taken: bool = False

    @property
    def owner(self) -> Hashable:
        """Servables take turns."""
        return id(self.servable)

    @property
    def abandoned(self) -> bool:
        """The caller has gone, or its time is up (it gets the error here, where the event loop had no time for it)."""
        if self.deadline is not None and self.deadline <= time.monotonic():
            self.expire()
        return self.answer.done()

    def expire(self) -> None:
        """Its time is up: a call that still waits gets the error; one that runs has its run's timeout."""
        if not self.taken and not self.answer.done():
            self.answer.set_exception(resource_exhausted(EXPIRED))


class Batcher:
    """Runs calls on a fixed number of threads, as many rows at once as are waiting."""

    def __init__(self, settings: BatchingSettings, observer: Observer | None = None) -> None:
        self.settings = settings
        self._observer = observer
        self._waiting: WaitingCalls[PendingCall] = WaitingCalls()
        self._executor = ThreadPoolExecutor(settings.runners, thread_name_prefix=settings.pool_name)
        self._idle = settings.runners
        self._looking = False
        self._later: asyncio.TimerHandle | None = None
        self._unbatchable: set[tuple[int, str]] = set()

    async def run(
        self,
        servable: Runnable,
        signature: Signature,
        feeds: list[Array],
        outputs: tuple[str, ...],
        deadline: float | None = None,
    ) -> Ran:
        """Values of the outputs for one request; raises ServingError."""
        loop = asyncio.get_running_loop()
        alone = not self.settings.enabled or (id(servable), signature.name) in self._unbatchable
        rows = 0 if alone else signature.shareable_rows(feeds, outputs)
        batchable = rows > 0
        rows = max(1, rows)
        most = self.settings.most_waiting_rows
        if most is not None and self._waiting and self._waiting.rows + rows > most:
            raise unavailable(QUEUE_FULL)
        key: Hashable = (
            (id(servable), signature.name, outputs, tuple((f.dtype, f.shape[1:]) for f in feeds))
            if batchable
            else object()
        )
        answer: asyncio.Future[Ran] = loop.create_future()
        call = PendingCall(servable, signature, feeds, outputs, key, batchable, rows, deadline, answer)
        self._waiting.add(call)
        self._look_soon(loop)
        expiry = None if deadline is None else loop.call_later(deadline - time.monotonic(), call.expire)
        try:
            return await answer
        finally:
            if expiry is not None:
                expiry.cancel()

    def _look_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give a free runner work: once all that arrived at this moment is in the queue, or later if that is better."""
        if not self._idle or self._looking:
            return
        enough, seconds = self._worth_waiting_for()
        if not seconds or self._waiting.rows >= enough:
            self._looking = True
            loop.call_soon(self._look, loop)
        elif self._later is None:
            self._later = loop.call_later(seconds, self._look, loop)

    def _worth_waiting_for(self) -> tuple[int, float]:
        """Rows to wait for, and for how long."""
        if self._waiting.unshareable:
            return 0, 0.0
        if self._idle == self.settings.runners:
            return self.settings.most_rows, self.settings.wait_seconds
        return self.settings.most_rows // COMPANY_SHARE, max(self.settings.wait_seconds, self.settings.company_seconds)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._idle and (batch := self._waiting.take(self.settings.most_rows)):
            self._idle -= 1
            for call in batch:
                call.taken = True
            self._executor.submit(self._run_batch, batch, loop)
            if self._waiting:
                self._look_soon(loop)

    def _run_batch(self, batch: list[PendingCall], loop: asyncio.AbstractEventLoop) -> None:
        """Runs on a runner's thread and hands each caller its own rows or its own error."""
        started = time.monotonic()
        waited = [started - call.arrived for call in batch]
        outcomes: list[Outcome] | None = None
        try:
            outcomes = [self._alone(batch[0])] if len(batch) == 1 else self._together(batch)
            if outcomes is None:
                for call in batch[:-1]:
                    loop.call_soon_threadsafe(_deliver, [call], [self._alone(call, again=True)])
                batch, outcomes = batch[-1:], [self._alone(batch[-1], again=True)]
        except Exception as error:
            log.exception("A batch could not be run")
            outcomes = [internal(f"The batch could not be run: {type(error).__name__}: {error}")] * len(batch)
        finally:  # whatever happened: the runner is free, and no caller waits for ever
            lost = [internal("The batch was not run to its end")] * len(batch)
            loop.call_soon_threadsafe(self._finished, batch, outcomes or lost, loop)
        if self._observer is not None:
            self._observer.batch_ran(self.settings.pool_name, waited, time.monotonic() - started)

    def _finished(
        self, batch: Sequence[PendingCall], outcomes: Sequence[Outcome], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._idle += 1
        _deliver(batch, outcomes)
        if self._idle == self.settings.runners:
            self._look(loop)
        elif self._waiting:
            self._look_soon(loop)

    def _alone(self, call: PendingCall, *, again: bool = False) -> Outcome:
        remaining = None if call.deadline is None else call.deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            # A call that is run again did not wait in the queue all that time: the model was not ready in time.
            return deadline_exceeded(TOO_SLOW) if again else resource_exhausted(EXPIRED)
        started = time.monotonic()
        try:
            values = call.servable.run(call.signature, call.feeds, call.outputs, remaining)
            seconds = time.monotonic() - started
            if call.shareable:
                self._keeps_rows(call, values, call.rows)
            return Ran(values, seconds)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is this caller's answer
            return error if isinstance(error, ServingError) else from_tensorflow(error)

    def _together(self, batch: list[PendingCall]) -> list[Outcome] | None:
        """Each call's share of one run, or None when the calls have to run alone."""
        first = batch[0]
        deadlines = [call.deadline for call in batch]
        timeout = None
        if all(deadline is not None for deadline in deadlines):
            timeout = max(0.001, max(d for d in deadlines if d is not None) - time.monotonic())
        started = time.monotonic()
        try:
            feeds = [np.concatenate(parts) for parts in zip(*(call.feeds for call in batch), strict=True)]
            values = first.servable.run(first.signature, feeds, first.outputs, timeout)
        except Exception as error:  # noqa: BLE001 - the calls are run again one by one, where each error has its caller
            log.debug("A batch of %d calls failed, running them one by one: %s", len(batch), error)
            return None
        seconds = time.monotonic() - started
        if not self._keeps_rows(first, values, sum(call.rows for call in batch)):
            return None
        outcomes: list[Outcome] = []
        offset = 0
        for call in batch:
            outcomes.append(Ran([value[offset : offset + call.rows] for value in values], seconds))
            offset += call.rows
        return outcomes

    def _keeps_rows(self, call: PendingCall, values: Sequence[Array], rows: int) -> bool:
        """Whether all outputs have as many rows as went in; a signature that once had not shares no run again.

        That they have is no reason to share one: which signatures may, is known before they are run.
        """
        if all(value.ndim and value.shape[0] == rows for value in values):
            return True
        self._unbatchable.add((id(call.servable), call.signature.name))
        log.warning(
            "Signature %r was said to be row-wise and gave outputs of shapes %s for %d rows: its requests are run one "
            "by one from now on. Correct the mark of its export, or --row_wise_signatures",
            call.signature.name,
            [value.shape for value in values],
            rows,
        )
        return False

    def forget(self, servable: Runnable) -> None:
        """A servable was closed: what was learned of it does not hold for the next object at its address."""
        self._unbatchable = {known for known in self._unbatchable if known[0] != id(servable)}

    def close(self) -> None:
        """Take no further work; runs under way are not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _deliver(batch: Sequence[PendingCall], outcomes: Sequence[Outcome]) -> None:
    for call, outcome in zip(batch, outcomes, strict=True):
        if call.answer.done():
            continue
        if isinstance(outcome, ServingError):
            call.answer.set_exception(outcome)
        else:
            call.answer.set_result(outcome)
