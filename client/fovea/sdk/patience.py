"""How long what does not answer is asked again."""

import time
from collections.abc import Callable

SECONDS = 60.0


class Patience:
    """A clock that starts at the first failure and is stopped by the next success."""

    def __init__(self, seconds: float = SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = seconds, now
        self._failing_since: float | None = None

    def success(self) -> None:
        """There was an answer."""
        self._failing_since = None

    def failure(self) -> bool:
        """There was none; answers whether to try again."""
        now = self._now()
        if self._failing_since is None:
            self._failing_since = now
        return now - self._failing_since <= self._seconds
