"""tf.function with a fixed signature, typed."""

from collections.abc import Callable
from typing import TypeVar, cast

import tensorflow as tf

F = TypeVar("F", bound=Callable[..., object])


def traced(*signature: tf.TensorSpec, jit: bool = False) -> Callable[[F], F]:
    """Compile a function to one graph for tensors of these specs: no retracing when the size of a batch changes.

    `jit`: XLA makes one program of the graph, for each size of a batch.
    """

    def decorate(function: F) -> F:
        return cast("F", tf.function(function, input_signature=list(signature), jit_compile=jit or None))

    return decorate
