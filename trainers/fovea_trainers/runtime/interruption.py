"""SIGTERM (and Ctrl-C): a request that the loop honours at its next step, not an exception in the middle of one."""

import signal
from types import FrameType
from typing import Any, Self

from fovea_trainers.errors import Interrupted


class Interruption:
    """Context manager that turns the first SIGTERM or SIGINT into `requested`; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise Interrupted if a stop was requested: for work that leaves nothing to save when it is given up."""
        if self.requested:
            raise Interrupted("asked to stop; the same command begins again where the newest checkpoint ends")

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
        self.requested = True
