"""Times of the tests, counted from one moment."""

from datetime import UTC, datetime, timedelta

T0 = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
"""When every job was created."""


def at(seconds: float) -> datetime:
    """The time `seconds` after T0."""
    return T0 + timedelta(seconds=seconds)
