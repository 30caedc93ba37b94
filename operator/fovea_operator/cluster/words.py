"""When an object is looked at for the scheduler's words alone.

When a node joins or leaves, the scheduler writes a new message on every waiting pod: how many nodes do not take it. Each such
message stands in a status, and the statuses of ten thousand waiting jobs must not be written for each node of an autoscaler.
"""

from collections.abc import Callable

from .keys import Key


class Words:
    """A key is looked at at most once per period, and all keys together at most `rate` times a second. A look sees the newest words."""

    def __init__(self, period: float, wake: Callable[[Key, float], None], rate: float) -> None:
        """`period`: in seconds. `wake` gets a key and the seconds after which it must be decided on."""
        self._period = period
        self._pause = 1 / rate
        self._wake = wake
        self._next = 0.0
        """When there is room for one more look."""
        self._looked: dict[Key, float] = {}  # when it is (or was) looked at, about in this order

    def changed(self, key: Key, now: float) -> None:
        """Nothing but words changed for a key, at `now` (seconds of a monotonic clock)."""
        looked = self._looked.get(key)
        if looked is not None and looked > now:
            return  # it will be looked at then anyway
        self._forget(now)
        free = max(now, self._next)
        self._next = free + self._pause
        due = free if looked is None else max(free, looked + self._period)
        self._looked.pop(key, None)
        self._looked[key] = due
        self._wake(key, due - now)

    def _forget(self, now: float) -> None:
        """Forget looks that are so long past that they put off no other one."""
        while self._looked and self._looked[oldest := next(iter(self._looked))] + self._period <= now:
            del self._looked[oldest]

    def __len__(self) -> int:
        return len(self._looked)
