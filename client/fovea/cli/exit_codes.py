"""Exit codes of the command line: 0 and 1 as everywhere, 2 wrong usage, 124 as timeout(1), 130 as a shell's Ctrl-C."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fovea_api.v1alpha1 import JobState

OK = 0
FAILED = 1
"""The command failed, or the job that was waited for did."""
USAGE = 2
CANCELLED = 3
"""The job that was waited for was cancelled."""
TIMEOUT = 124
"""The job that was waited for had not ended within --timeout; it goes on."""
INTERRUPTED = 130
"""Ctrl-C: the command ended, a job goes on."""


def of_state(state: "JobState") -> int:
    """Exit code of a command that waited for a job which ended in this state."""
    if state == "SUCCEEDED":
        return OK
    return CANCELLED if state == "CANCELLED" else FAILED
