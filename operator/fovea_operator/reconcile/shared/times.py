"""Times as Kubernetes writes them: RFC 3339, UTC, whole seconds."""

from datetime import UTC, datetime

_YEARS = range(2, 9000)
"""To a time outside of these nothing can be added."""


def parse(text: str | None) -> datetime | None:
    """Read a time; None when there is none or it is not one that can be reckoned with (a status may hold anything)."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.year not in _YEARS:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def text(time: datetime) -> str:
    """Write a time."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def seconds_between(start: datetime | None, end: datetime | None) -> int:
    """Whole seconds from start to end; 0 when either is unknown or the clocks disagree."""
    return max(0, round((end - start).total_seconds())) if start and end else 0


def earliest(*times: datetime | None) -> datetime | None:
    """The first of the times that are known."""
    return min((time for time in times if time is not None), default=None)
