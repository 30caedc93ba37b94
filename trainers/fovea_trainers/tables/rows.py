"""Rows of a table in memory, and a network's view of them.

CSV gives dense rows, libsvm sparse ones. Both are a few flat arrays: no object for each row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from fovea_trainers.tables import layers

Array = np.ndarray[Any, Any]
Linear = Callable[[int], Any]
"""units -> a linear layer [n, units] on the features: the first one of a network."""
FEATURES = "features"
IDS, VALUES = "ids", "values"


class Rows(Protocol):
    """The features of every row."""

    @property
    def width(self) -> int:
        """Number of features."""

    @property
    def dense(self) -> bool:
        """Whether there is a number in every column."""

    @property
    def signature(self) -> Sequence[tf.TensorSpec]:
        """Of the tensors of a batch, [n, …]; their names are the inputs of the exported model."""

    @property
    def example(self) -> Sequence[tf.Tensor]:
        """A batch of one row without anything."""

    def take(self, chosen: Array) -> tuple[Any, ...]:
        """The batch of the rows with these numbers."""

    def inputs(self, training: Array) -> tuple[Sequence[Any], Linear]:
        """A network's inputs and its first layer; `training` are the rows that it may look at beforehand."""


@dataclass(frozen=True)
class Dense:
    """A number in every column."""

    features: Array
    """float32 [rows, width]."""
    dense = True
    standardize: bool
    """Whether a network sees every column with mean 0 and deviation 1."""

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.features.shape[1])

    @property
    def signature(self) -> Sequence[tf.TensorSpec]:
        """The input `features`, float32 [n, width]."""
        return [tf.TensorSpec([None, self.width], tf.float32, name=FEATURES)]

    @property
    def example(self) -> Sequence[tf.Tensor]:
        """Zeros."""
        return [tf.zeros([1, self.width])]

    def take(self, chosen: Array) -> tuple[Any, ...]:
        """As `signature`."""
        return (tf.constant(self.features[chosen]),)

    def inputs(self, training: Array) -> tuple[Sequence[Any], Linear]:
        """A dense layer on all columns."""
        given = keras.layers.Input((self.width,), name=FEATURES)
        seen = given
        if self.standardize:
            known = self.features[training]
            seen = layers.Standardize(known.mean(axis=0, dtype=np.float64), known.std(axis=0, dtype=np.float64))(given)
        return [given], lambda units: keras.layers.Dense(units, dtype="float32")(seen)


@dataclass(frozen=True)
class Sparse:
    """Some (index, value) in every row; all else is 0."""

    ends: Array
    """int64 [rows + 1]: row i has the entries from ends[i] to ends[i + 1]."""
    ids: Array
    """int32 [entries]."""
    values: Array
    """float32 [entries]."""
    dense = False
    width: int
    """Entries with an index of this or more count nothing."""

    @property
    def signature(self) -> Sequence[tf.TensorSpec]:
        """The inputs `ids`, int64, and `values`, float32, [n, k]: k entries in each row, filled up with the value 0."""
        shape = [None, None]
        return [tf.TensorSpec(shape, tf.int64, name=IDS), tf.TensorSpec(shape, tf.float32, name=VALUES)]

    @property
    def example(self) -> Sequence[tf.Tensor]:
        """One entry, 0."""
        return [tf.zeros([1, 1], tf.int64), tf.zeros([1, 1])]

    def take(self, chosen: Array) -> tuple[Any, ...]:
        """As `signature`, k as large as the longest of these rows."""
        starts, lengths = self.ends[chosen], self.ends[chosen + 1] - self.ends[chosen]
        places = np.arange(max(1, int(lengths.max(initial=0))))
        filled = places < lengths[:, np.newaxis]
        entries = (starts[:, np.newaxis] + places)[filled]
        ids, values = np.zeros(filled.shape, np.int64), np.zeros(filled.shape, np.float32)
        ids[filled], values[filled] = self.ids[entries], self.values[entries]
        return tf.constant(ids), tf.constant(values)

    def inputs(self, training: Array) -> tuple[Sequence[Any], Linear]:  # noqa: ARG002 - nothing to look at
        """A layer that reads the weights of a row's entries alone."""
        ids = keras.layers.Input((None,), dtype="int64", name=IDS)
        values = keras.layers.Input((None,), name=VALUES)
        return [ids, values], lambda units: layers.SparseDense(self.width, units)(ids, values)
