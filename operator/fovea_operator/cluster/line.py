"""Keys that wait for room in a namespace, since a quota refused their pods. The key that has waited longest tries first.

The object says since when it has waited, so the order is the same after a restart of the operator.

Back-off alone is unfair: a job that has waited long tries rarely, so that a later job takes the room. When a pod of the
namespace ends, the first key of the line tries again at once. Then the keys behind it try, until a few of them were refused:
a small job may fit where a large one does not, but not every key tries each time.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable

from .keys import Key

MISSES = 3
"""Number of refusals that end a pass through the line."""


class Line:
    """The lines of all namespaces."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        """`wake`: work on a key at once, and forget how often it was refused."""
        self._wake = wake
        self._since: dict[Key, str] = {}
        self._lines: dict[str, list[tuple[str, Key]]] = {}  # in order
        self._passes: dict[str, _Pass] = {}

    def refused(self, key: Key, since: str) -> None:
        """A quota refused the key. `since`: since when it has waited (RFC 3339 in UTC)."""
        if self._since.get(key) != since:
            self._take_out(key)
            self._since[key] = since
            insort(self._lines.setdefault(key.namespace, []), (since, key))
        going = self._passes.get(key.namespace)
        if going is not None and going.asked == key:
            going.misses += 1
            self._go_on(key.namespace)

    def leave(self, key: Key) -> None:
        """The key was not refused, or needs no pod any more: take it out of the line."""
        if key not in self._since:
            return
        self._take_out(key)
        going = self._passes.get(key.namespace)
        if going is not None and going.asked == key:
            self._go_on(key.namespace)

    def room(self, namespace: str) -> None:
        """A pod of the namespace has ended or is gone: the keys of its line try again, the first one first."""
        waiting = self._lines.get(namespace)
        if waiting:
            self._passes[namespace] = _Pass(deque(key for _, key in waiting))
            self._go_on(namespace)

    def __len__(self) -> int:
        return len(self._since)

    def _take_out(self, key: Key) -> None:
        since = self._since.pop(key, None)
        if since is None:
            return
        waiting = self._lines[key.namespace]
        del waiting[bisect_left(waiting, (since, key))]
        if not waiting:
            del self._lines[key.namespace]

    def _go_on(self, namespace: str) -> None:
        going = self._passes[namespace]
        while going.left and going.misses < MISSES:
            going.asked = going.left.popleft()
            if going.asked in self._since:
                self._wake(going.asked)
                return
        del self._passes[namespace]


class _Pass:
    """One pass through a line."""

    def __init__(self, left: deque[Key]) -> None:
        self.left = left
        self.asked: Key | None = None
        self.misses = 0
