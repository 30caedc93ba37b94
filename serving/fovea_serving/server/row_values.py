"""What is known of a tensor when several callers' rows stand in one batch: the domain of the proof in `row_wise`.

FIXED    the same for all callers of the run: a constant, a variable, what is computed from these
ROWS     [n, ...]: row i depends on row i of the inputs and on nothing else of them
COUNT    the scalar n, the number of rows
SIZES    a vector that begins with n and goes on with fixed numbers, such as the shape of ROWS
OTHER    may depend on a neighbour's rows, or on how many there are

In a loop over the rows (tf.map_fn):
INDEX, NEXT      the number of the row that is worked on, and the one after it
BELOW            the condition INDEX < COUNT
LIST             a TensorList whose element i depends on row i only
EMPTY, FILLED    a TensorList of n elements before and after element i was set from row i; `source` says which list
ITEM             depends on the row of this turn of the loop only
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Any

Shape = tuple[int, ...] | None
"""Sizes of a tensor's dimensions; -1: any size; None: any rank."""


class Unproven(Exception):
    """It cannot be shown that sharing a run changes no answer; the text says what stands in the way."""


class Kind(enum.Enum):
    """See the module."""

    FIXED = enum.auto()
    ROWS = enum.auto()
    COUNT = enum.auto()
    SIZES = enum.auto()
    OTHER = enum.auto()
    INDEX = enum.auto()
    NEXT = enum.auto()
    BELOW = enum.auto()
    LIST = enum.auto()
    EMPTY = enum.auto()
    FILLED = enum.auto()
    ITEM = enum.auto()


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor: what it depends on, its shape, its value where that is a small constant, and why it is OTHER."""

    kind: Kind
    shape: Shape = None
    constant: Any = None
    why: str = ""
    source: int = -1

    @property
    def rank(self) -> int | None:
        """Number of dimensions, where it is known."""
        return None if self.shape is None else len(self.shape)

    def as_kind(self, kind: Kind) -> Value:
        """The same tensor seen in another light."""
        return replace(self, kind=kind)


def other(why: str) -> Value:
    """A value that may depend on neighbours."""
    return Value(Kind.OTHER, why=why)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation with what is known of its inputs; `shapes` are those of its outputs, as the file states them."""

    op: str
    attributes: Any
    inputs: list[Value]
    shapes: list[Shape]

    def shape(self, number: int = 0) -> Shape:
        """Shape of an output, None where the file does not say."""
        return self.shapes[number] if number < len(self.shapes) else None

    def kinds(self) -> list[Kind]:
        """Kinds of the inputs."""
        return [value.kind for value in self.inputs]

    def integers(self, number: int) -> list[int] | None:
        """The constant integers of an input, or None when it is no constant."""
        constant = self.inputs[number].constant if number < len(self.inputs) else None
        return None if constant is None else [int(one) for one in constant.ravel()]

    def axis(self, number: int, rank: int | None) -> int | None:
        """The one axis that an input names, counted from the front; None when it is not known."""
        axes = self.axes(self.integers(number), rank)
        return axes[0] if axes is not None and len(axes) == 1 else None

    @staticmethod
    def axes(given: list[int] | None, rank: int | None) -> list[int] | None:
        """Axes counted from the front; None when they are not known."""
        if given is None or (rank is None and any(axis < 0 for axis in given)):
            return None
        return [axis + (rank or 0) if axis < 0 else axis for axis in given]
