"""Standard output of a program whose reader may go before the end, as in `fovea-train tabular --help | head -1`.

Standard library only: `fovea_dev` has this file too, by a link.
"""

import os
import select
import sys
from collections.abc import Callable

FAILED = 1


def until_nobody_reads(program: Callable[[], int]) -> int:
    """Run a program; its exit code, or 1 without a word if it was cut short because nobody reads what it prints."""
    try:
        return program()
    except BrokenPipeError as error:
        if not nobody_reads(error):
            raise
        return FAILED
    finally:
        _drop_what_nobody_reads()


def nobody_reads(error: Exception) -> bool:
    """Whether an error is that of standard output without a reader, and not that of another pipe or connection."""
    if not isinstance(error, BrokenPipeError):
        return False
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # an error is reported unasked
    return any(events & select.POLLERR for _, events in output.poll(0))


def _drop_what_nobody_reads() -> None:
    # What is still held back would be written at the interpreter's exit, which complains and changes the exit code.
    if sys.stdout is None:  # it was closed before the start
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
