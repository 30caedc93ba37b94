"""First layers of networks on tables, and the last one for numbers: float32 always, or mixed precision would round the table itself."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]


class Standardize(keras.layers.Layer):  # type: ignore[misc]
    """float32 [n, columns] -> the same with mean 0 and deviation 1 in each column.

    Mean and deviation are weights that no step changes, so a checkpoint brings those of its own data along.
    """

    def __init__(self, mean: Array, deviation: Array) -> None:
        """Both [columns]; a deviation of 0 counts as 1."""
        super().__init__(dtype="float32")
        self._mean = self._fixed("mean", mean)
        self._deviation = self._fixed("deviation", np.where(deviation > 0, deviation, 1))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        return (features - self._mean) / self._deviation

    def _fixed(self, name: str, value: Array) -> Any:
        return self.add_weight(
            shape=value.shape, initializer=keras.initializers.Constant(value), trainable=False, name=name
        )


class Restore(keras.layers.Layer):  # type: ignore[misc]
    """float32 [n, 1] with mean 0 and deviation 1 -> numbers of any scale: the way back from `Standardize`."""

    def __init__(self, mean: float, deviation: float, **more: Any) -> None:
        """A deviation of 0 counts as 1."""
        super().__init__(dtype="float32", **more)
        self._mean = self._fixed("mean", mean)
        self.deviation = self._fixed("deviation", deviation if deviation > 0 else 1)

    def call(self, outputs: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        return outputs * self.deviation + self._mean

    def _fixed(self, name: str, value: float) -> Any:
        return self.add_weight(shape=(), initializer=keras.initializers.Constant(value), trainable=False, name=name)


class SparseDense(keras.layers.Layer):  # type: ignore[misc]
    """ids int64 and values float32 [n, k] -> float32 [n, units]: a dense layer, which reads the entries' weights alone.

    An id outside of 0 … width - 1 counts nothing, as in the tools of libsvm.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__(dtype="float32")
        self._width = width
        self._kernel = self.add_weight(shape=(width, units), initializer="glorot_uniform", name="kernel")
        self._bias = self.add_weight(shape=(units,), initializer="zeros", name="bias")

    def call(self, ids: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        known = tf.logical_and(ids >= 0, ids < self._width)
        weights = tf.gather(self._kernel, tf.where(known, ids, 0))
        return tf.einsum("nk,nku->nu", tf.where(known, values, 0.0), weights) + self._bias
