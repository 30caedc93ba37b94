"""Counts in reports. A report is what a pod says: anything may stand in it."""

from fovea_api.contract.progress import MAX_COUNT


def counted(value: object) -> int | None:
    """A count of steps, epochs or records; None for what is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return int(value) if 0 <= value <= MAX_COUNT else None  # neither NaN nor an infinity lies between
