"""Features of rows while they are read: flat arrays that grow."""

from array import array
from typing import Any, Protocol

import numpy as np

from fovea_trainers.errors import DataError
from fovea_trainers.tables.labels import flat
from fovea_trainers.tables.rows import Dense, Rows, Sparse

Array = np.ndarray[Any, Any]
MOST_FEATURES = 10_000_000


class Store(Protocol):
    """Features of all rows so far."""

    def settle(self) -> None:
        """All training rows are in. Raises DataError."""

    def rows(self, *, standardize: bool) -> Rows:
        """All that was taken in."""


class DenseStore:
    """A number in every column: `values` has one row after the other."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.values = array("f")

    def settle(self) -> None:
        """Nothing depends on which rows are trained on."""

    def rows(self, *, standardize: bool) -> Rows:
        """As `Store`."""
        return Dense(flat(self.values, np.float32).reshape(-1, self.width), standardize)


class SparseStore:
    """Some (index, value) in every row; row i ends before entry ends[i + 1]."""

    def __init__(self, feature_size: int | None) -> None:
        self.ends, self.ids, self.values = array("q", [0]), array("i"), array("f")
        self._given = feature_size
        self._width = 0

    def settle(self) -> None:
        """Features are those that the training rows have, unless their number was given."""
        largest = int(flat(self.ids, np.int32).max(initial=0))
        if self._given is None and largest >= MOST_FEATURES:
            raise DataError(
                f"the largest index is {largest}: every index below it gets weights, and more than {MOST_FEATURES} are "
                "not made; correct the row that has it, or give --feature-size"
            )
        self._width = self._given or largest + 1

    def rows(self, *, standardize: bool) -> Rows:  # noqa: ARG002 - a mean would fill every row
        """As `Store`."""
        ids, values = flat(self.ids, np.int32), flat(self.values, np.float32)
        return Sparse(flat(self.ends, np.int64), ids, values, self._width)
