"""Python functions of one process that another one calls over TensorFlow's own connection, without a port of their own.

The operation PyFunc looks its function up by a name, in the process where it runs. TensorFlow makes these names up, for
functions of the same process; here both sides know them beforehand.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context, executor
from tensorflow.python.ops import script_ops

from fovea_trainers.errors import TrainerError

_REFUSED = "fovea-refused "
_offered: list[Callable[..., Any]] = []
"""TensorFlow holds them by weak references only."""


def offer(name: str, function: Callable[..., Sequence[Any]]) -> None:
    """Let other processes call `function`: arrays in, arrays out, on a thread of TensorFlow's."""
    _offered.append(function)
    script_ops._py_funcs._funcs[name] = function  # noqa: SLF001 - held by the tests of two processes


def call(name: str, arguments: Sequence[tf.Tensor], results: Sequence[tf.DType]) -> list[tf.Tensor]:
    """What the function of that name answers, in the process on whose device this operation stands."""
    return list(tf.raw_ops.PyFunc(input=list(arguments), token=name, Tout=list(results)))


def ask(device: str, name: str, results: Sequence[tf.DType]) -> list[Any]:
    """Call a function of the process that has a device, now, beside whatever else that process computes.

    Raises tf.errors.OpError where it has gone; waits for one that is frozen.
    """
    own = executor.new_executor(enable_async=False)
    try:
        with context.executor_scope(own), tf.device(device):
            return [result.numpy() for result in call(name, [], results)]
    finally:
        own.clear_error()  # else its destructor raises it once more


@contextmanager
def refusing(who: str) -> Iterator[None]:
    """Within a function that is offered: let a TrainerError reach the caller, who only gets the text of an error of TensorFlow."""
    try:
        yield
    except TrainerError as error:
        raise RuntimeError(f"{_REFUSED}{json.dumps([error.exit_code, f'{who}: {error}'])}") from error


def refusal(error: BaseException) -> TrainerError | None:
    """The TrainerError for which another process has refused a call, with its exit code; None for any other error."""
    _, found, rest = str(error).partition(_REFUSED)
    if not found:
        return None
    (code, words), _ = json.JSONDecoder().raw_decode(rest)
    refused = TrainerError(words)
    refused.exit_code = code
    return refused
