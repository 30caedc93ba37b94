"""Which metrics are kept where not all of them have a place (a status, a termination message, a ModelVersion), and which
one stands for a model.
"""

from collections.abc import Callable, Mapping

MOST = 64
"""Metrics that a status or a ModelVersion holds."""
LONGEST_NAME = 128
"""Characters of a metric's name."""
_HEADLINES = ("accuracy", "loss")
_VALIDATION = ("val/", "val_")


def main(metrics: Mapping[str, float], named: str = "") -> str:
    """The metric that stands for a model: the one that its program names, else accuracy, else loss, else the first.

    Empty where there is none.
    """
    return next((name for name in (named, *_HEADLINES, *metrics) if name in metrics), "")


def chosen(metrics: Mapping[str, float], most: int = MOST, *, first: str = "") -> dict[str, float]:
    """At most `most` of the metrics, in their own order.

    They are `first`, accuracy and loss, names with val/ or val_, and then the first ones. A name that is empty or longer
    than `LONGEST_NAME` is left out.
    """
    named = [name for name in metrics if 0 < len(name) <= LONGEST_NAME]
    kept = set(sorted(named, key=_rank(first))[:most])  # sorting is stable: within a rank the first ones stay
    return {name: metrics[name] for name in named if name in kept}


def by_rank(metrics: Mapping[str, float], *, first: str = "") -> dict[str, float]:
    """All of them, the one that is to stay longest first."""
    return {name: metrics[name] for name in sorted(metrics, key=_rank(first))}


def _rank(first: str) -> Callable[[str], int]:
    def rank(name: str) -> int:
        if name == first:
            return 0
        if name in _HEADLINES:
            return 1
        return 2 if name.startswith(_VALIDATION) else 3

    return rank
