"""How long to try again: exponential back-off with jitter, until a limit per outage or an absolute deadline."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from fovea_agent import log
from fovea_agent.errors import GraceExceeded, StoreUnreachable
from fovea_agent.parallel import check_cancelled, sleep

T = TypeVar("T")

FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0


def wait_before(retry: int, jitter: float) -> float:
    """Seconds to wait before the given retry (1, 2, …); `jitter` in 0..1 takes up to half of it away."""
    return float(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(retry - 1, 16)) * (1 - jitter / 2))


class Patience:
    """Repeats an operation while the store is unreachable. Shared by the threads of one agent.

    `limit`: seconds that one outage may last, None for as long as it takes. `end_at` sets a deadline for everything,
    also for operations that wait already: the pod's grace period, once its trainer has ended.
    """

    def __init__(
        self,
        limit: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limit = limit
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._deadline: float | None = None
        self._lock = threading.Lock()
        self._outage_since: float | None = None
        self.unreachable_since: datetime | None = None
        """Since when the store does not answer; None while it does."""

    def end_at(self, deadline: float) -> None:
        """From now on the deadline (on the clock given, monotonic by default) counts, not the limit per outage."""
        self._limit, self._deadline = None, deadline

    def without_limit(self) -> None:
        """From now on an outage may last as long as it takes."""
        self._limit = None

    def check(self, what: str) -> None:
        """Raise GraceExceeded when the deadline has passed: what is started now would be cut off in the middle.

        Raises Cancelled in a task whose result is not wanted any more.
        """
        check_cancelled()
        if self._deadline is not None and self._clock() >= self._deadline:
            raise GraceExceeded(
                f"the pod's grace period ended before everything was published (next: {what}): the store is too slow "
                "for this much data; raise spec.runPolicy.publishSeconds or publish less"
            )

    def left(self) -> float | None:
        """Seconds until the deadline, None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def pause(self, retry: int) -> bool:
        """Wait before the given retry (1, 2, …); False, at once, when the deadline comes sooner."""
        seconds = wait_before(retry, self._jitter())
        left = self.left()
        if left is not None and left <= seconds:
            return False
        self._sleep(seconds)
        return True

    def run(
        self,
        operation: Callable[[], T],
        what: str,
        progress: Callable[[], object] = lambda: None,
        most: float | None = None,
    ) -> T:
        """Do it, again and again while it raises StoreUnreachable; re-raises when patience ends.

        An interruption after which `progress` has another value begins a new outage, with the whole limit again. `most`:
        seconds for which one is waited out, however long patience would last.
        """
        since: float | None = None
        retry = 0
        reached = progress()
        last: StoreUnreachable | None = None
        while True:
            try:
                self.check(what)
            except GraceExceeded:
                if last is None:
                    raise
                # The store was away, not slow: that is what somebody has to look at.
                raise StoreUnreachable(f"{last.message} (until the pod's grace period ended)") from last
            try:
                result = operation()
            except GraceExceeded:
                raise
            except StoreUnreachable as failure:
                last, now = failure, self._clock()
                if since is None or progress() != reached:
                    since, retry, reached = now, 0, progress()
                retry += 1
                pause = wait_before(retry, self._jitter())
                self._outage_began(now, failure, what)
                if self._over(since, now + pause, most):
                    raise StoreUnreachable(
                        f"{failure.message} (tried {retry} times in {now - since:.0f} s)"
                    ) from failure
                self._sleep(pause)
            else:
                self._outage_ended()
                return result

    def _over(self, since: float, then: float, most: float | None) -> bool:
        if most is not None and then - since > most:
            return True
        if self._deadline is not None:
            return then >= self._deadline
        return self._limit is not None and then - since > self._limit

    def _outage_began(self, now: float, failure: StoreUnreachable, what: str) -> None:
        with self._lock:
            if self._outage_since is not None:
                return
            self._outage_since, self.unreachable_since = now, datetime.now(UTC)
        log.warning("store unreachable, trying again", during=what, error=failure.message)

    def _outage_ended(self) -> None:
        if self._outage_since is None:
            return
        with self._lock:
            since, self._outage_since, self.unreachable_since = self._outage_since, None, None
        if since is not None:
            log.info("store reachable again", seconds=round(self._clock() - since, 1))
