"""How much of a pod's grace period is left when `sync` gets SIGTERM.

The period begins when the pod begins to end. A native sidecar gets SIGTERM only after the program has ended, but its
preStop hook runs at once and leaves `/proc/uptime` in a file (a clock that is never set).
"""

from datetime import datetime, timedelta
from pathlib import Path

GRACE = 600.0
GRACE_MARGIN = 10.0
"""Seconds of the grace period kept for the termination message."""
SHORTEST = 2.0
"""Seconds that `sync` always has: a kubelet gives each container as many, whatever is left."""

UPTIME = Path("/proc/uptime")


def seconds_since(began: Path, uptime: Path = UPTIME) -> float:
    """Seconds since the hook wrote `began`; 0 when it did not (a hook that cannot run ends nothing)."""
    try:
        return max(0.0, _seconds(uptime) - _seconds(began))
    except (OSError, ValueError, IndexError):
        return 0.0


def began_at(began: Path, now: datetime, uptime: Path = UPTIME) -> datetime | None:
    """When the hook wrote `began`, by the clock that says `now`; None when it did not."""
    try:
        return now - timedelta(seconds=max(0.0, _seconds(uptime) - _seconds(began)))
    except (OSError, ValueError, IndexError):
        return None


def grace_left(period: float, spent: float) -> float:
    """Seconds for publishing, of a grace period of which `spent` seconds are over."""
    left = period - spent
    return max(SHORTEST, left - GRACE_MARGIN, left / 2)


def _seconds(file: Path) -> float:
    return float(file.read_text().split()[0])
