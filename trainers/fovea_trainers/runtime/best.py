"""A second copy of the weights: those of the epoch with the lowest validation loss, while early stopping is on."""

from collections.abc import Sequence

import tensorflow as tf


class Best:
    """Copies of weights. Made in the strategy's scope; they belong to the checkpoint, so that a resumed run has them."""

    def __init__(self, weights: Sequence[tf.Variable]) -> None:
        self._weights = list(weights)
        self.variables = [tf.Variable(weight.read_value(), trainable=False) for weight in weights]

    def keep(self) -> None:
        """The weights as they are now are the best so far."""
        for copy, weight in zip(self.variables, self._weights, strict=True):
            copy.assign(weight.read_value())

    def restore(self) -> None:
        """Put the best weights back; what trained last is lost, but for the checkpoint."""
        for copy, weight in zip(self.variables, self._weights, strict=True):
            weight.assign(copy.read_value())
