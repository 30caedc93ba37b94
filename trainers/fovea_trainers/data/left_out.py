"""Rows that cannot be read: left out, the first of them named, all counted."""

from dataclasses import dataclass
from pathlib import Path

from fovea_trainers.errors import DataError
from fovea_trainers.runtime.progress import say

NAMED = 5
"""Bad rows that are named in the log one by one."""


@dataclass
class LeftOut:
    """Of the files below `root`."""

    root: Path
    unit: str
    """What a row is in these files: lines, records."""
    bad: int = 0
    first: str = ""
    """The first bad row, with what is wrong with it."""

    def note(self, row: str) -> None:
        """Take note of one: where it is, and what is wrong with it."""
        self.bad += 1
        self.first = self.first or row
        if self.bad <= NAMED:
            say(f"{row} cannot be read; it is left out")
        elif self.bad == NAMED + 1:
            say(f"further {self.unit} that cannot be read are counted, not named")

    def require_few(self, ratio: float, good: int, remedy: str) -> None:
        """Raises DataError when more than this share is bad, or none is good; `remedy` is what else a user may do."""
        total = self.bad + good
        if self.bad > ratio * total or (self.bad and not good):
            raise DataError(
                f"{self.bad} of {total} {self.unit} in {self.root} cannot be read, the first is {self.first}; repair or "
                f"remove them, {remedy}, or allow more by --max-bad-ratio (now {ratio})"
            )
