"""Readings of the versions between which a candidate's requests are divided: what was counted before its first step, in its step, and lately."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.traffic import NOT_COMPARED, Compared, Traffic

from .comparators import Comparisons
from .envoy import Counts, Service

RECENT = timedelta(seconds=30)
"""A version that gets worse late is judged by its requests in this time."""


class _Reading(NamedTuple):
    """All that the proxies had counted at that time."""

    time: datetime
    counts: Mapping[Service, Counts]


@dataclass
class Watched:
    """The versions of a ModelDeployment whose requests are counted."""

    services: tuple[Service, ...]
    since: str | None = None
    """When the present step began."""
    asked: float = 0.0
    """When a decision last asked for it: seconds of the event loop's clock."""
    has_step: bool = False
    """Whether every reading is worth a decision: the candidate has a step."""
    comparators: tuple[str, ...] = ()
    """Addresses of the pods that compare their answers."""
    comparisons: Comparisons = field(default_factory=Comparisons)
    _first: _Reading | None = None
    _begin: _Reading | None = None
    _compared: Compared = NOT_COMPARED
    """What had been compared when the present step began."""
    _readings: "deque[_Reading]" = field(default_factory=deque)

    @property
    def is_read(self) -> bool:
        """Whether there is any reading."""
        return bool(self._readings)

    def add(self, now: datetime, sums: Mapping[Service, Counts]) -> None:
        """A reading; those that nobody needs any more go."""
        reading = _Reading(now, sums)
        self._readings.append(reading)
        self._first = self._first or reading
        if self.since is not None and self._begin is None:
            self._begin = reading
        while len(self._readings) > 1 and self._readings[1].time <= now - RECENT:
            self._readings.popleft()

    def from_(self, since: str | None) -> None:
        """Count from that time."""
        self.since, self._compared = since, self.comparisons.total
        moment = times.parse(since)
        before = [reading for reading in self._readings if moment is None or reading.time <= moment]
        # A leader that is new has no reading from before: its first one is the beginning.
        self._begin = before[-1] if before else self._readings[0] if self._readings else None

    def traffic(self, trouble: str) -> Traffic:
        """As a decision sees it."""
        if not self._readings or self._first is None:
            return Traffic(trouble=trouble)
        earliest, now, begin = self._readings[0].counts, self._readings[-1], self._begin
        if self.since is None or begin is None:
            first = self._first.counts
            before = {of.name: counts.since(first[of]).requests for of, counts in now.counts.items()}
            return Traffic(before=before, trouble=trouble)
        recent = earliest if all(earliest[of].total >= begin.counts[of].total for of in now.counts) else begin.counts
        return Traffic(
            whole={of.name: counts.since(begin.counts[of]).requests for of, counts in now.counts.items()},
            recent={of.name: counts.since(recent[of]).requests for of, counts in now.counts.items()},
            # Comparators answer also while no proxy does.
            compared=self.comparisons.total.since(self._compared),
            trouble=trouble,
        )
