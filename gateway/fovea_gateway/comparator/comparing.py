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
"""Of those that wait and those that versions are asked now: the pod has 512 MiB."""
LARGEST_REQUEST = 16 << 20
LARGEST_ANSWER = 2 << 20
"""Of the stable version. As lists, its values take up to forty times as much: two answers are compared at a time."""
LARGEST_OTHER = 2 * LARGEST_ANSWER
"""Of the new version: the same values may take more bytes, and what is larger than that is not the same."""
AT_ONCE = 4
Ask = Callable[[], Awaitable[bytes]]
"""Sends a request to a version. Raises Failed, or TooLarge for an answer."""
Read = Callable[[bytes], Outputs]
"""Reads an answer. Raises Unreadable."""


class Failed(Exception):
    """A version answers a request with an error, or not in time."""


class TooLarge(Exception):
    """An answer has more bytes than are looked at."""


@dataclass(frozen=True)
class Question:
    """A mirrored request."""

    size: int
    stable: Ask
    candidate: Ask
    read: Read


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
            "fovea_comparator_dropped",
            "Requests that nobody was asked, since too many waited, or since they were too large.",
        )
        self.left_out = self._counter(
            "fovea_comparator_left_out",
            "Requests that the stable version failed, or answered with what cannot be read.",
        )
        self.too_large = self._counter(
            "fovea_comparator_too_large", "Requests of which the stable version's answer was too large to be compared."
        )

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, registry=self.registry)


class Comparing:
    """The queue of mirrored requests and those who work on it."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._queue: asyncio.Queue[Question] = asyncio.Queue(WAITING)
        self._bytes = 0
        self._one = asyncio.Lock()

    def has_room(self, size: int) -> bool:
        """Whether a request of so many bytes would be taken: one that would not need not be read."""
        return size <= LARGEST_REQUEST and not self._queue.full() and self._bytes + size <= WAITING_BYTES

    def drop(self) -> None:
        """A mirrored request is not looked at."""
        self._counts.dropped.inc()

    def leave_out(self) -> None:
        """A mirrored request says nothing of the versions."""
        self._counts.left_out.inc()

    def take(self, question: Question) -> None:
        """A mirrored request."""
        if not self.has_room(question.size):
            self.drop()
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
            try:
                await self.compare(question)
            except Exception:
                # Whatever is in it: the counts of all others must not be lost.
                self._counts.left_out.inc()
                log.exception("a request could not be compared: a defect of Fovea")
            finally:
                self._bytes -= question.size

    async def compare(self, question: Question) -> None:
        """Ask both versions, and count."""
        before, after = await asyncio.gather(_said(question.stable), _said(question.candidate))
        if isinstance(before, Failed):
            # What clients do wrong says nothing about the new version.
            self._counts.left_out.inc()
        elif isinstance(before, TooLarge):
            self._counts.too_large.inc()
        else:
            # On a thread, one pair at a time: a large one takes a second, and clients' copies are taken meanwhile.
            async with self._one:
                self._count(*await asyncio.to_thread(_compared, before, after, question.read))

    def _count(self, drift: float | None, failed: bool) -> None:
        if drift is None:
            self._counts.left_out.inc()
            return
        self._counts.compared.inc()
        self._counts.drift.inc(drift)
        if failed:
            self._counts.failed.inc()


async def _said(ask: Ask) -> bytes | Failed | TooLarge:
    try:
        return await ask()
    except (Failed, TooLarge) as error:
        return error


def _compared(before: bytes, after: bytes | Failed | TooLarge, read: Read) -> tuple[float | None, bool]:
    """How far the answers are apart, None if the stable version's says nothing; and whether the candidate failed alone."""
    try:
        stable = read(before)
    except Unreadable as error:
        log.warning("an answer of the stable version cannot be read: %s", error)
        return None, False
    if isinstance(after, Failed | TooLarge):
        return 1.0, True
    try:
        candidate = read(after)
    except Unreadable as error:
        # What the stable version says to the same request can be read: the new version is broken here.
        log.warning("an answer of the new version cannot be read, and the stable version's can: %s", error)
        return 1.0, True
    return drift(stable, candidate), False
