"""Asks two versions what a gateway mirrors, and counts how far their answers are apart.

Nobody waits for it: a request is answered at once, and dropped where too many wait. The gateway throws the answers of a
mirror away, and a client never notices one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from .answers import Outputs, Unreadable
from .drift import drift

log = logging.getLogger(__name__)

WAITING = 64
"""Requests that may wait."""
WAITING_BYTES = 64 << 20
"""And their size: the pod has 512 MiB."""
AT_ONCE = 4
Ask = Callable[[], Awaitable[Outputs]]
"""Sends a request to a version. Raises Failed, or Unreadable."""


class Failed(Exception):
    """A version answers a request with an error, or not in time."""


@dataclass(frozen=True)
class Question:
    """A mirrored request."""

    size: int
    stable: Ask
    candidate: Ask


class Counts:
    """What was compared, for the operator to read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.compared = self._counter("fovea_comparator_compared", "Requests that both versions were asked.")
        self.drift = self._counter("fovea_comparator_drift", "Sum of how far the answers were apart, from 0 to 1 each.")
        self.failed = self._counter(
            "fovea_comparator_candidate_failed", "Of these, those that the new version failed alone."
        )
        self.dropped = self._counter(
            "fovea_comparator_dropped", "Requests that nobody was asked, since too many waited."
        )
        self.left_out = self._counter("fovea_comparator_left_out", "Requests that the stable version failed, too.")

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, registry=self.registry)


class Comparing:
    """The queue of mirrored requests and those who work on it."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._queue: asyncio.Queue[Question] = asyncio.Queue(WAITING)
        self._bytes = 0

    def take(self, question: Question) -> None:
        """A mirrored request."""
        if self._queue.full() or self._bytes + question.size > WAITING_BYTES:
            self._counts.dropped.inc()
            return
        self._bytes += question.size
        self._queue.put_nowait(question)

    async def run(self) -> None:
        """Compare, a few at a time, until it is cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            question = await self._queue.get()
            self._bytes -= question.size
            try:
                await self.compare(question)
            except Unreadable as error:
                self._counts.left_out.inc()
                log.warning("a request or an answer cannot be read: %s", error)
            except Exception:
                # Whatever is in it: the counts of all others must not be lost.
                self._counts.left_out.inc()
                log.exception("a request could not be compared: a defect of Fovea")

    async def compare(self, question: Question) -> None:
        """Ask both versions, and count."""
        before, after = await asyncio.gather(question.stable(), question.candidate(), return_exceptions=True)
        for answer in (before, after):
            if isinstance(answer, BaseException) and not isinstance(answer, Failed):
                raise answer
        if isinstance(before, BaseException):
            # What clients do wrong says nothing about the new version.
            self._counts.left_out.inc()
            return
        self._counts.compared.inc()
        if isinstance(after, BaseException):
            self._counts.failed.inc()
            self._counts.drift.inc()
        else:
            self._counts.drift.inc(drift(before, after))
