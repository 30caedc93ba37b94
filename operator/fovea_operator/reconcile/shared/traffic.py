"""Requests of clients to versions, as a gateway counts them: how many, how many failed, and how long they took."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True)
class Requests:
    """Requests to one version in one window of time."""

    total: int = 0
    """Those that have ended."""
    failed: int = 0
    latencies: Mapping[float, int] = field(default_factory=dict)
    """How many took at most so many milliseconds, and longer than the bound below it; the last bound is inf."""
    active: int = 0
    """Those that have not ended yet."""

    @property
    def error_ratio(self) -> float:
        """The part that failed, from 0 to 1; 0 without requests."""
        return self.failed / self.total if self.total else 0.0

    def quantile(self, part: float) -> float | None:
        """Milliseconds that this part of the requests took at most, interpolated within its bound; None without requests."""
        measured = sum(self.latencies.values())
        if not measured:
            return None
        below, lower = 0, 0.0
        for bound, count in sorted(self.latencies.items()):
            if count and below + count >= part * measured:
                # No number lies between the last bound and infinity: the last bound is what is known.
                return lower if bound == float("inf") else lower + (bound - lower) * (part * measured - below) / count
            below, lower = below + count, bound
        return lower

    def slower_than(self, milliseconds: float) -> float:
        """The part that took longer, from 0 to 1, interpolated within the bound where it lies; 0 without requests."""
        measured = sum(self.latencies.values())
        if not measured:
            return 0.0
        slower, lower = 0.0, 0.0
        for bound, count in sorted(self.latencies.items()):
            if lower >= milliseconds:
                slower += count
            elif bound > milliseconds:
                slower += count if bound == float("inf") else count * (bound - milliseconds) / (bound - lower)
            lower = bound
        return slower / measured


@dataclass(frozen=True)
class Compared:
    """Mirrored requests that both versions were asked."""

    total: int = 0
    drift: float = 0.0
    """Sum over them of how far the answers were apart, from 0 to 1 each."""
    failed: int = 0
    """Those that the candidate failed alone: they are wholly apart."""

    def __add__(self, other: "Compared") -> "Compared":
        return Compared(self.total + other.total, self.drift + other.drift, self.failed + other.failed)

    def since(self, before: "Compared") -> "Compared":
        """What was compared after that. A count that has gone back began again at 0 with its comparator."""
        if self.total < before.total or self.drift < before.drift or self.failed < before.failed:
            return self
        return Compared(self.total - before.total, self.drift - before.drift, self.failed - before.failed)

    @property
    def mean(self) -> float:
        """On average; 0 without requests."""
        return self.drift / self.total if self.total else 0.0


NO_REQUESTS = Requests()
NOT_COMPARED = Compared()


@dataclass(frozen=True)
class Traffic:
    """Requests to the versions of a ModelDeployment, by the names of their Deployments."""

    whole: Mapping[str, Requests] = field(default_factory=dict)
    """Since the candidate has its present weight."""
    recent: Mapping[str, Requests] = field(default_factory=dict)
    """In the last seconds of that."""
    trouble: str = ""
    """Why nothing is known, or nothing new; else empty."""
    compared: Compared = NOT_COMPARED
    """Since the candidate has its present weight."""
    before: Mapping[str, Requests] = field(default_factory=dict)
    """While the candidate has no weight that is taken: since the first reading of these two versions."""


class Sample(NamedTuple):
    """One reading of all proxies."""

    time: datetime
    active: int
    """Requests under way to all versions of a ModelDeployment."""


@dataclass(frozen=True)
class Load:
    """Requests under way to a ModelDeployment, read again and again."""

    samples: tuple[Sample, ...] = ()
    """The oldest first."""
    last_request: datetime | None = None
    """When the last request was seen; None: none since the first reading."""
    begun: datetime | None = None
    """Time of the first of the readings in which nothing was missing; None: there is none yet."""
    trouble: str = ""
    """Why nothing new is known, or not all; else empty."""
    missing: str = ""
    """The same, once it has lasted for a while."""


@dataclass(frozen=True)
class Held:
    """Requests that wait at the activator, or that it passes on."""

    requests: int
    since: datetime
    """When the activator reported the first of them."""
