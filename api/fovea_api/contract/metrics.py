"""Which metrics are kept where not all of them have a place: a status, a termination message, a ModelVersion."""

from collections.abc import Mapping

MOST = 64
"""Metrics that a status or a ModelVersion holds."""
LONGEST_NAME = 128
"""Characters of a metric's name."""
_HEADLINES = ("accuracy", "loss")
_VALIDATION = ("val/", "val_")


def chosen(metrics: Mapping[str, float], most: int = MOST) -> dict[str, float]:
    """At most `most` of the metrics, in their own order: accuracy and loss, names with val/ or val_, and then the first ones.

    A name that is empty or longer than `LONGEST_NAME` is left out.
    """
    named = [name for name in metrics if 0 < len(name) <= LONGEST_NAME]
    kept = set(sorted(named, key=_rank)[:most])  # sorting is stable: within a rank the first ones stay
    return {name: metrics[name] for name in named if name in kept}


def by_rank(metrics: Mapping[str, float]) -> dict[str, float]:
    """All of them, the one that is to stay longest first."""
    return {name: metrics[name] for name in sorted(metrics, key=_rank)}


def _rank(name: str) -> int:
    if name in _HEADLINES:
        return 0
    return 1 if name.startswith(_VALIDATION) else 2
