"""The keyed queue: every key at most once, one worker per key, back-off, and a time at which to look again.

Keys are served in the order in which they were added, but urgent keys overtake others: users wait for urgent keys, while a
later change often replaces the work on the others (ADR 92). The head start of urgent keys is limited, so no key waits without end.

`Schedule` is the pure core: the caller passes the time (seconds of any monotonic clock). `WorkQueue` runs it.
"""

import asyncio
import heapq
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
_SAME_SECONDS = 0.01
"""Largest difference between two computations of the same deadline from different readings of the clock."""
_SPARE = 64
HEAD_START = 5.0
"""An urgent key overtakes other keys that were added at most this many seconds before it."""


@dataclass(frozen=True)
class Backoff:
    """Delays after failures of one key: base, doubled each time up to the cap."""

    base: float = 0.5
    cap: float = 60.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after the n-th failure in a row (n from 1)."""
        return min(self.cap, self.base * 2.0 ** min(failures - 1, 60))


class Schedule(Generic[K]):
    """Which key is to be worked on next. Does no I/O; not thread-safe."""

    def __init__(self, backoff: Backoff | None = None, is_urgent: Callable[[K], bool] = lambda _key: False) -> None:
        """`is_urgent` is called whenever a key is added."""
        self._backoff = backoff or Backoff()
        self._is_urgent = is_urgent
        self._urgent: OrderedDict[K, float] = OrderedDict()  # in order, since when
        self._others: OrderedDict[K, float] = OrderedDict()
        self._since: dict[K, float] = {}  # keys in either, since when in any
        self._working: dict[K, bool] = {}  # keys being worked on; True: added again meanwhile
        self._timers: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._failures: dict[K, tuple[int, float]] = {}  # how many in a row, and when the last one was

    def add(self, key: K, now: float) -> None:
        """Work on a key as soon as possible. A key that already waits is not added twice. A key in work is worked on again afterwards."""
        if key in self._working:
            self._working[key] = True
        elif key not in self._urgent:
            if self._is_urgent(key):
                self._others.pop(key, None)
                self._urgent[key] = now
            elif key not in self._others:
                self._others[key] = now
            self._since.setdefault(key, now)

    def add_at(self, key: K, when: float | None) -> None:
        """Work on a key at this time. It replaces the time that was set before; None removes that time."""
        if when is None:
            self._timers.pop(key, None)
            return
        before = self._timers.get(key)
        if before is not None and abs(when - before) < _SAME_SECONDS:
            return
        self._timers[key] = when
        self._push(key, when)
        # Replaced and removed times stay in the heap until they are due. Rebuild the heap before most of it is such times.
        if len(self._heap) > 2 * len(self._timers) + _SPARE:
            self._heap.clear()
            for known, due in self._timers.items():
                self._push(known, due)

    def take(self, now: float) -> tuple[K, float] | None:
        """The next key to work on, and the seconds for which it waited. None: no key is waiting."""
        self._ripen(now)
        if not self._since:
            return None
        key, _ = self._next_in_line().popitem(last=False)
        waited = now - self._since.pop(key)
        self._working[key] = False
        return key, waited

    def done(self, key: K, now: float) -> None:
        """The work on a key succeeded: forget the key's failures."""
        self._failures.pop(key, None)
        if self._working.pop(key):
            self.add(key, now)

    def failed(
        self, key: K, now: float, *, at_least: float = 0.0, at_most: float | None = None, at_once: bool = False
    ) -> float:
        """The work on a key failed: the key comes back after its back-off, or sooner if it is added. Returns the delay.

        `at_once`: the key comes back without a delay, unless the work before this one failed as well.
        """
        failures = self._failures.get(key, (0, now))[0] + 1
        self._failures[key] = (failures, now)
        delay = 0.0 if at_once and failures == 1 else max(at_least, self._backoff.delay(failures))
        if at_most is not None:
            delay = min(delay, at_most)
        again = self._working.pop(key)
        self.add_at(key, now + delay)
        if again:
            self.add(key, now)
        return delay

    def failed_at(self, key: K) -> float | None:
        """When the last work on a key failed, which waits for its back-off; None: it did not fail."""
        return self._failures[key][1] if key in self._failures else None

    def forgive(self, key: K) -> None:
        """Forget a key's failures, since their cause may be gone. The next failure begins the back-off again."""
        self._failures.pop(key, None)

    def next_due(self) -> float | None:
        """Time of the earliest timer."""
        while self._heap and self._timers.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._since)

    @property
    def active(self) -> int:
        """Keys being worked on."""
        return len(self._working)

    def _next_in_line(self) -> "OrderedDict[K, float]":
        if not self._urgent or not self._others:
            return self._urgent or self._others
        first, urgent = next(iter(self._others.values())), next(iter(self._urgent.values()))
        return self._others if first + HEAD_START < urgent else self._urgent

    def _push(self, key: K, when: float) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, key))

    def _ripen(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._timers[key]
            self.add(key, due if key not in self._working else now)


@dataclass(frozen=True)
class Again:
    """The answer of a worker whose key must come back after its back-off."""

    at_least: float = 0.0
    """Seconds for which the API server asked to wait."""
    at_most: float | None = None
    """Seconds until a deadline of the object. The key comes back at this time, even if the back-off is longer."""
    out_of_quota: bool = False
    """A quota refused a pod: the key also waits in the line of its namespace."""
    at_once: bool = False
    """The cause is already gone: the key comes back without a delay, the first time."""


class WorkQueue(Generic[K]):
    """Runs a `Schedule`: at most `workers` keys at the same time, each key never twice at once."""

    def __init__(
        self,
        work: Callable[[K, float], Awaitable[Again | None]],
        *,
        workers: int,
        backoff: Backoff | None = None,
        is_urgent: Callable[[K], bool] = lambda _key: False,
    ) -> None:
        """`work` gets a key and the seconds for which it waited. An exception of `work` is logged and counts as a failure."""
        self.schedule: Schedule[K] = Schedule(backoff, is_urgent)
        self._work = work
        self._workers = workers
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self._open = False

    def start(self) -> None:
        """Begin to work. Keys that were added before wait until then."""
        self._open = True
        self._pump_soon()

    async def stop(self) -> None:
        """Take no more keys and wait for those being worked on."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Stop at once, in the middle of the work."""
        self._open = False
        for task in self._tasks:
            task.cancel()

    def add(self, key: K) -> None:
        """Work on a key as soon as possible."""
        self.schedule.add(key, _now())
        self._pump_soon()

    def add_fresh(self, key: K) -> None:
        """Work on a key as soon as possible, and forget its failures."""
        self.schedule.forgive(key)
        self.add(key)

    def add_after(self, key: K, seconds: float | None) -> None:
        """Work on a key after this many seconds; None removes the time that was set before."""
        self.schedule.add_at(key, None if seconds is None else _now() + max(0.0, seconds))
        self._pump_soon()

    def _pump_soon(self) -> None:
        if self._open and not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if not self._open:
            return
        now = _now()
        while len(self._tasks) < self._workers and (item := self.schedule.take(now)) is not None:
            task = asyncio.create_task(self._run(*item))
            self._tasks.add(task)
            task.add_done_callback(self._finished)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.schedule.next_due()
        if due is not None and len(self._tasks) < self._workers:
            self._timer = asyncio.get_running_loop().call_at(due, self._pump)

    async def _run(self, key: K, waited: float) -> None:
        try:
            again = await self._work(key, waited)
        except Exception:  # any: a key that is neither done nor failed would never be worked on again
            log.exception("work on a key raised: a defect of Fovea", extra={"key": str(key)})
            again = Again()
        if again is None:
            self.schedule.done(key, _now())
        else:
            self.schedule.failed(key, _now(), at_least=again.at_least, at_most=again.at_most, at_once=again.at_once)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # an exception here is a defect of the queue itself: the loop's handler reports it
        self._pump_soon()


def _now() -> float:
    return asyncio.get_running_loop().time()
