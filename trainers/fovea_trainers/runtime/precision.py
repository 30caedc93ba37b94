"""Mixed precision: an update computes in bfloat16. Weights, losses, and all that is not an update stay float32.

So evaluation, export and what is computed once (features) are those of any other run, and a checkpoint fits both. bfloat16
has the range of float32: gradients do not vanish, and there is no loss scale to keep (ADR 210).
"""

import threading
from functools import wraps
from typing import Any

import keras

from fovea_trainers.runtime.strategy import Update

_traced = threading.local()  # devices are traced in threads of their own


class Halved(keras.DTypePolicy):  # type: ignore[misc]
    """What layers ask for the dtype of their computations: bfloat16 within an update, else float32."""

    def __init__(self) -> None:
        super().__init__("mixed_bfloat16")

    @property
    def compute_dtype(self) -> str:
        """As the class says."""
        return "bfloat16" if getattr(_traced, "update", False) else "float32"


def begin(mixed: bool) -> None:
    """Of layers that are made from now on, unless they have a dtype of their own."""
    if mixed:
        keras.config.set_dtype_policy(Halved())
    elif isinstance(keras.config.dtype_policy(), Halved):  # of an earlier run in this process
        keras.config.set_dtype_policy("float32")


def halved(update: Update) -> Update:
    """The update with its layers in bfloat16."""

    @wraps(update)
    def in_bfloat16(*batch: Any) -> Any:
        _traced.update = True
        try:
            return update(*batch)
        finally:
            _traced.update = False

    return in_bfloat16
