"""tf.function with a fixed signature, typed."""

from collections.abc import Callable
from typing import TypeVar, cast

import tensorflow as tf

F = TypeVar("F", bound=Callable[..., object])


def traced(*signature: tf.TensorSpec) -> Callable[[F], F]:
    """Compile a function to one graph for tensors of these specs: no retracing when the size of a batch changes."""

    def decorate(function: F) -> F:
        return cast("F", tf.function(function, input_signature=list(signature)))

    return decorate
