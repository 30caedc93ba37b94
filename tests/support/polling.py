"""Wait for something with a deadline, and say at the end what was seen last."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(probe: Callable[[], T | None], *, what: str, seconds: float = 60, every: float = 0.25) -> T:
    """Call `probe` until it answers something true; raises AssertionError naming what was waited for after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not seen within {seconds:.0f} s, last answer {answer!r}")
        time.sleep(every)
