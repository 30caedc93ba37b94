"""Which waiting calls run together: the pure part of micro-batching.

Calls with the same key (servable, signature, outputs, types and shapes of a row) may share one run. A free runner takes
what is waiting, up to a number of rows, and never waits for more: with one caller there is no delay, with many the
batches grow by themselves. Owners (servables) take turns, then the groups of each: a busy model does not starve a quiet
one, however many groups its calls make.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the queue must know of a call."""

    @property
    def owner(self) -> Hashable:
        """Whose turn it takes."""

    @property
    def key(self) -> Hashable:
        """Calls of equal keys may share one run."""

    @property
    def shareable(self) -> bool:
        """Whether another call could have the same key."""

    @property
    def rows(self) -> int:
        """Size of the first dimension of its inputs."""

    @property
    def abandoned(self) -> bool:
        """Whether no caller waits for the answer any more."""


Call = TypeVar("Call", bound=Waiting)


class WaitingCalls(Generic[Call]):
    """Calls in the order of their arrival, grouped by owner and key."""

    def __init__(self) -> None:
        self._owners: OrderedDict[Hashable, OrderedDict[Hashable, deque[Call]]] = OrderedDict()
        self.rows = 0
        self.unshareable = 0

    def __bool__(self) -> bool:
        return bool(self._owners)

    def add(self, call: Call) -> None:
        """Put a call at the end of its group."""
        groups = self._owners.setdefault(call.owner, OrderedDict())
        groups.setdefault(call.key, deque()).append(call)
        self._count(call, 1)

    def _count(self, call: Call, by: int) -> None:
        self.rows += by * call.rows
        self.unshareable += 0 if call.shareable else by

    def take(self, most_rows: int) -> list[Call]:
        """The calls to run next: of one group, in order of arrival, at most `most_rows` rows (or one call that has more).

        Abandoned calls are dropped on the way; the list is empty when nothing is left to run.
        """
        while self._owners:
            owner, groups = self._owners.popitem(last=False)
            batch: list[Call] = []
            while groups and not batch:
                key, group = groups.popitem(last=False)
                batch = self._first_of(group, most_rows)
                if group:
                    groups[key] = group
            if groups:
                self._owners[owner] = groups
            if batch:
                return batch
        return []

    def _first_of(self, group: deque[Call], most_rows: int) -> list[Call]:
        batch: list[Call] = []
        rows = 0
        while group:
            if not group[0].abandoned:
                if batch and rows + group[0].rows > most_rows:
                    break
                batch.append(group[0])
                rows += group[0].rows
            self._count(group.popleft(), -1)
        return batch
