"""Optimizers by the names of the flags, with a learning rate that is a function of the step.

Only what makes one imports Keras, so a recipe's flags may name them without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fovea_trainers.errors import FlagError
from fovea_trainers.runtime.exchange import current

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from fovea_trainers.common_flags import OptimizerFlags

NAMES = ("sgd", "adadelta", "adagrad", "adam", "adamw", "ftrl", "rmsprop")
WITH_MOMENTUM = ("sgd", "rmsprop")

Rate = Callable[["tf.Tensor"], "tf.Tensor"]
"""Updates that were made before (int64 scalar) -> learning rate (float32 scalar)."""


class Optimizer:
    """A Keras optimizer of some weights.

    Keras would read the step from `optimizer.iterations`: that loses counts under an asynchronous parameter server, and
    begins with 0 where the optimizer changes. Here the step is what the loop says.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, rate: Rate, state: str) -> None:
        """`optimizer` is built and asks `self.learning_rate`."""
        self._optimizer = optimizer
        self._rate = rate
        self._now = threading.local()  # devices are traced in threads of their own
        self._last: tf.Tensor | None = None
        optimizer.learning_rate = self._learning_rate
        self.state = state
        """What variables it has: equal texts mean that one can go on with the variables of the other."""

    @property
    def variables(self) -> list[tf.Variable]:
        """What it keeps beside the weights, for the checkpoint."""
        return [variable.value for variable in self._optimizer.variables]

    def apply(self, gradients: Sequence[tf.Tensor], step: tf.Tensor) -> None:
        """Update number `step` (int64 scalar, from 1 on): gradients in the order of the weights.

        On several devices each has the gradients of its share; they are added up.
        """
        exchange = current()
        if exchange is not None:
            exchange.apply(self, gradients)
            return
        self._now.rate = self._last = self._rate(step - 1)
        self._optimizer.apply(gradients)

    def _learning_rate(self) -> tf.Tensor:
        # Weight decay asks in the thread that waits for the devices: each has applied the same step by then.
        return getattr(self._now, "rate", self._last)


def build(
    flags: OptimizerFlags, epochs: int, weights: Sequence[Any], factor: Rate | None = None, part: str = ""
) -> Optimizer:
    """The optimizer that the flags say, with the learning rate rate / (1 + decay · step), times the factor of the step.

    `part` names the weights where they are not all of the network's: an optimizer of another part has other variables.
    """
    decay = flags.learning_rate / epochs if flags.decay is None else flags.decay
    options = {"momentum": flags.momentum} if flags.optimizer in WITH_MOMENTUM else {}
    rate = inverse_time(flags.learning_rate, decay)
    both = rate if factor is None else lambda step: rate(step) * factor(step)
    made = make(flags.optimizer, weights, both, **options)
    made.state += f" of {part}" if part else ""
    return made


def make(name: str, weights: Sequence[Any], rate: Rate, **options: Any) -> Optimizer:
    """An optimizer of `weights` (a Keras model's trainable variables); `options` are those of the Keras class.

    Call it in the strategy's scope. Raises FlagError for an unknown name.
    """
    import keras

    if name not in NAMES:
        raise FlagError(f"unknown optimizer {name}: one of {', '.join(NAMES)}")
    # With a number Keras would make a variable, which a checkpoint would put back to its old value.
    unset = keras.optimizers.schedules.InverseTimeDecay(0.0, decay_steps=1, decay_rate=0.0)
    made = keras.optimizers.get({"class_name": name, "config": {"learning_rate": unset, **options}})
    made.build(weights)
    return Optimizer(made, rate, f"{name} with momentum" if options.get("momentum") else name)


def inverse_time(rate: float, decay: float) -> Rate:
    """`rate` at first, then rate / (1 + decay · step)."""
    import tensorflow as tf

    def at(step: tf.Tensor) -> tf.Tensor:
        return tf.constant(rate, tf.float32) / (1.0 + tf.constant(decay, tf.float32) * tf.cast(step, tf.float32))

    return at


def by_epoch(base: float, steps: int) -> Rate:
    """1 for the steps of the first epoch, then `base` to the power of the finished epochs; an epoch has `steps`."""
    import tensorflow as tf

    def at(step: tf.Tensor) -> tf.Tensor:
        return tf.pow(tf.constant(base, tf.float32), tf.cast(step // steps, tf.float32))

    return at


def warm_up(width: int, steps: int, factor: float = 1.0) -> Rate:
    """The Transformer's: rises for `steps` updates, then falls with the root of their number n, which begins with 1.

    factor · width^-0.5 · min(n^-0.5, n · steps^-1.5).
    """
    import tensorflow as tf

    def at(step: tf.Tensor) -> tf.Tensor:
        number = tf.cast(step + 1, tf.float32)
        return factor * width**-0.5 * tf.minimum(tf.math.rsqrt(number), number * steps**-1.5)

    return at
