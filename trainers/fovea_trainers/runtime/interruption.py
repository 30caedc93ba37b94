"""SIGTERM (and Ctrl-C): a request that the loop honours at its next step, not an exception in the middle of one.

Before the first step there is nothing to save: a signal ends the process at once, whatever it imports, lists or traces.
"""

import os
import signal
from types import FrameType
from typing import Any, Self

from fovea_trainers.errors import Interrupted

_BEGINS_AGAIN = "asked to stop; the same command begins again where the newest checkpoint ends"


class Interruption:
    """Context manager that turns the first SIGTERM or SIGINT into `requested`; a second SIGINT interrupts at once."""

    def __init__(self, *, saves: bool = True) -> None:
        self.requested = False
        self.saves = saves
        """Whether there is something to save, so that the code that reads `requested` decides when to end."""
        self._previous: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise Interrupted if a stop was requested: for work that leaves nothing to save when it is given up."""
        if self.requested:
            raise Interrupted(_BEGINS_AGAIN)

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.saves:
            os.write(2, f"fovea-train: {_BEGINS_AGAIN}\n".encode())  # a print may be what it interrupts
            os._exit(Interrupted.exit_code)  # an exception might be caught by whatever it lands in
        self.requested = True
