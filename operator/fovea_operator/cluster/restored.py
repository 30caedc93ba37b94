"""How soon an object that loses its labels again and again gets them again: ever later, so that two controllers do not race."""

from .queue import Backoff

_MANY = 1_000


class Restored:
    """When objects got their labels again. It outlives the cache's knowledge of them: an object without its label is no longer seen."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._times: dict[
            str, tuple[int, float]
        ] = {}  # by uid, the oldest first: how often in a row, and when the last time

    def wait(self, uid: str, now: float) -> float:
        """Seconds until the object may get its labels again; 0: now. `now`: seconds of a monotonic clock."""
        times, last = self._times.get(uid, (0, 0.0))
        return max(0.0, last + self._backoff.delay(times) - now) if times else 0.0

    def note(self, uid: str, now: float) -> None:
        """The object gets its labels now."""
        times, last = self._times.pop(uid, (0, 0.0))
        # Whoever takes them once in a while is waited for no more than once.
        times = times if now - last <= 2 * self._backoff.cap else 0
        self._times[uid] = (times + 1, now)
        if len(self._times) > _MANY:
            del self._times[next(iter(self._times))]
