"""What becomes known of the checkpoint that an attempt began with, while its program runs (ADR 112)."""

import time
from collections.abc import Callable, Collection

from fovea_agent.proof import BEGAN_AGAIN, DAMAGED
from fovea_agent.restore import Resumed

RAN_LONG = 300.0
"""Seconds after which a program has read what it began with: it would have failed on it."""


class Begun:
    """One checkpoint that was restored. The first thing that speaks for or against it counts.

    A program that cannot read it and begins again comes past its step one day, which shows nothing any more.
    """

    def __init__(self, resumed: Resumed, *, own: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """`own`: it is this job's; a program that goes on from another job's may count from 0."""
        self.resumed, self.own = resumed, own
        self.went_on = False
        self.against = ""
        self._clock = clock
        self._since = clock()

    def look(self, steps: Collection[int], said: int | None, damaged: Collection[int]) -> bool:
        """Take in the steps on the volume and the one the program said last; whether that is evidence against it."""
        restored, before = self.resumed.step, self.against
        if restored is None:
            return False
        seen = {*steps, said or restored} - {restored}  # a program may say 0 before it has read anything
        if restored in damaged:
            self.against = DAMAGED
        elif not (self.went_on or self.against):
            if self.own and self.resumed.unproven and any(step < restored for step in seen):
                self.against = BEGAN_AGAIN
            else:
                self.went_on = any(step > restored for step in seen) or (bool(seen) and not self.own)
        return self.against != before

    def doubt(self, attempt: int) -> str:
        """The evidence against it when the program has ended without finishing; empty: none."""
        if self.against:
            return self.against
        if self.resumed.step is None or not self.resumed.unproven or self.went_on:
            return ""
        return "" if self._clock() - self._since >= RAN_LONG else str(attempt)
