"""How far two answers to the same request are apart. Pure."""

import math
from collections.abc import Sequence
from typing import Any

from fovea_wire import types_pb2

from .answers import Outputs

_REAL = frozenset({types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16})
_COMPLEX = frozenset({types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128})


def drift(stable: Outputs, candidate: Outputs) -> float:
    """From 0, the same, to 1.

    Where answers have classes (outputs of strings, integers or booleans), it is the part of them that changed, whatever
    their scores are. Otherwise it is the relative difference of the numbers. Of several outputs the one that differs most
    counts. Outputs that one version alone has, or of another type or shape, differ wholly.
    """
    if stable.keys() != candidate.keys():
        return 1.0
    classes: list[float] = []
    numbers: list[float] = []
    for name, before in stable.items():
        after = candidate[name]
        if (before.dtype, before.shape) != (after.dtype, after.shape):
            return 1.0
        if before.dtype in _REAL | _COMPLEX:
            numbers.append(_relative(before.values, after.values))
        else:
            classes.append(_changed(before.values, after.values))
    return max(classes or numbers, default=0.0)


def _changed(before: Sequence[Any], after: Sequence[Any]) -> float:
    if not before:
        return 0.0
    return sum(bool(one != other) for one, other in zip(before, after, strict=True)) / len(before)


def _relative(before: Sequence[Any], after: Sequence[Any]) -> float:
    """The length of the difference by the length of the longer one, at most 1. A number that is none on one side differs wholly."""
    pairs = [pair for pair in zip(before, after, strict=True) if not _same(*pair)]
    if any(not _is_finite(each) for pair in pairs for each in pair):
        return 1.0
    if not pairs:
        return 0.0
    # In parts of the largest number, so that no square is too large.
    largest = max(abs(value) for values in (before, after) for value in values if _is_finite(value))
    difference = math.hypot(*(abs(one / largest - other / largest) for one, other in pairs))
    longest = max(
        math.hypot(*(abs(value / largest) for value in values if _is_finite(value))) for values in (before, after)
    )
    return min(1.0, float(difference / longest))


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - NaN is not itself


def _is_finite(value: Any) -> bool:
    return (
        math.isfinite(value.real) and math.isfinite(value.imag) if isinstance(value, complex) else math.isfinite(value)
    )
