"""tf.function with a fixed signature, typed."""

from collections.abc import Callable
from typing import TypeVar, cast

import tensorflow as tf

F = TypeVar("F", bound=Callable[..., object])
_OURS = __name__.partition(".")[0]


def traced(*signature: tf.TensorSpec, jit: bool = False, of: Callable[..., object] | None = None) -> Callable[[F], F]:
    """Compile a function to one graph for tensors of these specs: no retracing when the size of a batch changes.

    `jit`: XLA makes one program of the graph, for each size of a batch. `of`: the function of the recipe that is called
    inside, if there is one. TensorFlow translates Python's `if` and `for` (AutoGraph) in functions of users' recipes alone:
    Fovea's have tf.cond and the like, and the translation would take seconds at the start of every run.
    """

    def decorate(function: F) -> F:
        translated = not _is_ours(of or function)
        compiled = tf.function(function, input_signature=list(signature), jit_compile=jit or None, autograph=translated)
        return cast("F", compiled)

    return decorate


def _is_ours(function: Callable[..., object]) -> bool:
    """Whether a function is one of this package; of a callable object nobody knows."""
    return str(getattr(function, "__module__", "")).partition(".")[0] == _OURS
