"""Keys that wait for room in a namespace, since a quota refused their pods: first come, first served.

Back-off alone is unfair: the longer a job has waited the more rarely it asks, and one that came later takes the room.
When a pod of the namespace ends, the first key of the line asks at once, and then those behind it, until a few of them
were refused again: a small job may fit where a large one does not, but a pass has an end.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

from .keys import Key

MISSES = 3
"""This many refusals end a pass through the line."""


class Line:
    """The lines of all namespaces."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        """`wake`: look at a key at once, and forget how often it was refused."""
        self._wake = wake
        self._lines: dict[str, OrderedDict[Key, None]] = {}
        self._passes: dict[str, _Pass] = {}

    def refused(self, key: Key) -> None:
        """There was no room for the key: it goes to the end of the line, or keeps its place."""
        self._lines.setdefault(key.namespace, OrderedDict()).setdefault(key)
        going = self._passes.get(key.namespace)
        if going is not None and going.asked == key:
            going.misses += 1
            self._go_on(key.namespace)

    def leave(self, key: Key) -> None:
        """The key got what it wanted, or wants nothing any more."""
        waiting = self._lines.get(key.namespace)
        if waiting is None or key not in waiting:
            return
        del waiting[key]
        if not waiting:
            del self._lines[key.namespace]
        going = self._passes.get(key.namespace)
        if going is not None and going.asked == key:
            self._go_on(key.namespace)

    def room(self, namespace: str) -> None:
        """A pod of the namespace has ended: the line asks again, from its head."""
        waiting = self._lines.get(namespace)
        if waiting:
            self._passes[namespace] = _Pass(deque(waiting))
            self._go_on(namespace)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def _go_on(self, namespace: str) -> None:
        going = self._passes[namespace]
        waiting = self._lines.get(namespace) or OrderedDict()
        while going.left and going.misses < MISSES:
            going.asked = going.left.popleft()
            if going.asked in waiting:
                self._wake(going.asked)
                return
        del self._passes[namespace]


class _Pass:
    """One pass through a line."""

    def __init__(self, left: deque[Key]) -> None:
        self.left = left
        self.asked: Key | None = None
        self.misses = 0
