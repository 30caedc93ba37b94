"""Which waiting calls run together: the pure part of micro-batching.

Calls with the same key (servable, signature, outputs, types and shapes of a row) may share one run. A free runner takes
what is waiting, up to a number of rows, and never waits for more: with one caller there is no delay, with many the
batches grow by themselves. Groups take turns, so a busy model does not starve a quiet one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the queue must know of a call."""

    @property
    def key(self) -> Hashable:
        """Calls of equal keys may share one run."""

    @property
    def rows(self) -> int:
        """Size of the first dimension of its inputs."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""


Call = TypeVar("Call", bound=Waiting)


class WaitingCalls(Generic[Call]):
    """Calls in the order of their arrival, grouped by key."""

    def __init__(self) -> None:
        self._groups: OrderedDict[Hashable, deque[Call]] = OrderedDict()
        self.rows = 0

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, call: Call) -> None:
        """Put a call at the end of its group."""
        group = self._groups.get(call.key)
        if group is None:
            self._groups[call.key] = deque((call,))
        else:
            group.append(call)
        self.rows += call.rows

    def take(self, most_rows: int) -> list[Call]:
        """The calls to run next: of one group, in order of arrival, at most so many rows (or one call that has more).

        Abandoned calls are dropped on the way; the list is empty when nothing is left to run.
        """
        while self._groups:
            key, group = self._groups.popitem(last=False)
            batch: list[Call] = []
            rows = 0
            while group:
                call = group[0]
                if call.abandoned:
                    self.rows -= group.popleft().rows
                    continue
                if batch and rows + call.rows > most_rows:
                    break
                batch.append(group.popleft())
                rows += call.rows
            self.rows -= rows
            if group:
                self._groups[key] = group
            if batch:
                return batch
        return []
