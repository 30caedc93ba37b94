"""Requests under way to the versions of a ModelDeployment: the readings that decisions on the number of pods go by."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fovea_operator.reconcile.serving.scaling import WINDOW
from fovea_operator.reconcile.shared.traffic import Load, Sample

from .envoy import Counts, Service

_QUIET_READINGS = 5


@dataclass
class LoadWindow:
    """The readings of one ModelDeployment."""

    services: tuple[Service, ...]
    stabilization: float
    """Seconds of readings that are kept, beside the window of the first of them, and one more: each holds until the next."""
    asked: float = 0.0
    """When a decision last asked for it: seconds of the event loop's clock."""
    samples: "deque[Sample]" = field(default_factory=deque)
    begun: datetime | None = None
    """Of the readings without a gap."""
    last_request: datetime | None = None
    trouble: str = "no reading yet"
    missing: str = ""
    _readings: int = 0
    _counted: dict[Service, int] = field(default_factory=dict)

    def name(self, services: Iterable[Service]) -> None:
        """Read these versions from now on. One that is new has no reading to compare with."""
        self.services = tuple(services)
        self._counted = {of: count for of, count in self._counted.items() if of in self.services}

    def add(self, now: datetime, sums: Mapping[Service, Counts], trouble: str = "", *, is_gap: bool = False) -> None:
        """A reading of all versions. `trouble`: what is missing in it. `is_gap`: it is missing for long, so that what is seen is the least."""
        self.trouble, self.missing = trouble, trouble if is_gap else ""
        self._readings += 1
        active = sum(sums[of].active for of in self.services)
        counted = {of: sums[of].begun for of in self.services}
        if active or any(count > self._counted.get(of, count) for of, count in counted.items()):
            self.last_request = now
        self.begun, self._counted = None if is_gap else self.begun or now, counted
        self.samples.append(Sample(now, active))
        oldest = now - WINDOW - timedelta(seconds=self.stabilization)
        while len(self.samples) > 1 and self.samples[1].time <= oldest:
            self.samples.popleft()

    @property
    def is_news(self) -> bool:
        """Whether the newest reading is worth a decision: it differs, or some have passed without one."""
        differs = len(self.samples) < 2 or self.samples[-1].active != self.samples[-2].active
        return differs or self._readings % _QUIET_READINGS == 0

    def load(self, trouble: str) -> Load:
        """As a decision sees it. `trouble`: why there is no reading at all."""
        missing = (trouble if self.samples else "") or self.missing
        return Load(tuple(self.samples), self.last_request, self.begun, trouble or self.trouble, missing)
