"""How fast a program is, by its reports one after another. Pure: the caller has the clock."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from fovea_api.contract.progress import MAX_COUNT
from fovea_api.v1alpha1.training_job_status import ProgressStatus

from fovea_operator.reconcile.shared.observed import Pace

WINDOW = 120.0
"""Least time, in seconds, between the reports that a pace is of, where reports go back that far."""
_EVERY = 15.0
"""Seconds between two marks: the window moves on by so much."""
_LEAST = 10.0
"""Seconds that a pace needs: reports come every five seconds, and not to the second."""
_SIGNIFICANT = 4
"""Digits of a pace."""

BEHIND = 25
"""Percent by which a straggler is slower than the median, at least."""
LONG_ENOUGH = 60.0
"""Seconds of reports by which a straggler is known. Programs that have just started warm up, and read their first data."""
_DEVIATIONS = 2.0


@dataclass(frozen=True)
class Track:
    """Steps of a program, and when they were reported, over the newest reports."""

    marks: tuple[tuple[float, int], ...] = ()
    """Time in seconds and step, the oldest first; the last one is the newest report."""

    def then(self, step: int | None, at: float) -> "Track":
        """The track with one more report.

        Step 0 begins it again: a program that resumes goes from there to its checkpoint in no time.
        """
        if step is None:
            return self
        if step < 1 or (self.marks and step < self.marks[-1][1]):
            return Track(((at, step),) if step > 0 else ())
        # The newest report takes the place of the one before it, unless that is a mark.
        is_mark = len(self.marks) < 2 or self.marks[-1][0] - self.marks[-2][0] >= _EVERY
        kept = list(self.marks if is_mark else self.marks[:-1])
        while len(kept) > 1 and at - kept[1][0] >= WINDOW:
            del kept[0]
        return Track((*kept, (at, step)))

    @property
    def pace(self) -> Pace | None:
        """The pace between the oldest and the newest report; None while they are too close to each other."""
        if not self.marks:
            return None
        (since, first), (until, last) = self.marks[0], self.marks[-1]
        seconds = until - since
        return Pace((last - first) / seconds, seconds) if seconds >= _LEAST else None


def progress_with(said: ProgressStatus, pace: Pace | None) -> ProgressStatus:
    """A program's progress with its pace, and with the time that is left at it; no time for a program that does not get on."""
    if pace is None or pace.steps_per_second <= 0:
        rate = None if pace is None else 0.0
        return said.model_copy(update={"steps_per_second": rate, "remaining_seconds": None})
    left = None
    if said.steps is not None and said.step is not None:
        left = math.ceil(min(max(0, said.steps - said.step) / pace.steps_per_second, MAX_COUNT))
    rate = float(f"{pace.steps_per_second:.{_SIGNIFICANT}g}")
    return said.model_copy(update={"steps_per_second": rate, "remaining_seconds": left})


def stragglers(paces: Mapping[str, Pace]) -> dict[str, int]:
    """Of workers that count their own steps, those that lag: percent behind the median worker, by name.

    The steps that are missing must be more than chance makes of so few steps: a worker whose steps take a minute is not
    called slow after two of them.
    """
    known = {name: pace for name, pace in paces.items() if pace.seconds >= LONG_ENOUGH}
    if len(known) < 2:
        return {}
    middle = median(pace.steps_per_second for pace in known.values())
    found = {}
    for name, pace in known.items():
        expected = middle * pace.seconds
        missing = expected - pace.steps_per_second * pace.seconds
        if missing >= max(expected * BEHIND / 100, _DEVIATIONS * math.sqrt(expected)) and expected > 0:
            found[name] = round(100 * missing / expected)
    return found
