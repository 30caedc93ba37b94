"""An object that is followed beside something else: a thread sees every change of it, so that its end is not missed."""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from .errors import FoveaError, NotFoundError

T = TypeVar("T")


class Watched(Generic[T]):
    """Follows a job, say, in a thread. With a look at it once a second, one with a TTL of 0 would be gone at the second."""

    def __init__(self, changes: Iterator[T], seen: Callable[[T], None]) -> None:
        """`seen` is called by `over`, in the caller's thread."""
        self._changes, self._seen = changes, seen
        self._last: T | None = None
        self._error: FoveaError | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def over(self) -> bool:
        """Whether it has ended, or was deleted; raises what following it raised."""
        ended = not self._thread.is_alive()
        if self._last is not None:
            self._seen(self._last)
        if ended and self._error is not None and not isinstance(self._error, NotFoundError):
            raise self._error
        return ended

    def _follow(self) -> None:
        try:
            for job in self._changes:
                self._last = job
        except FoveaError as error:
            self._error = error
