"""The final SavedModel: signatures that a recipe gives, warm-up records and the mark of row-wise outputs inside."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from fovea_api.contract import row_wise, signatures

from fovea_trainers.runtime import warmup
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.placement import io_device

STAGING = ".staging"
WARMED_UP = (1, 8)
"""Sizes of the batches that a server tries when it loads the model."""
SERVING_DEFAULT = signatures.SERVING_DEFAULT


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One way to ask the model. The graph is what `function` does when it is traced."""

    inputs: Sequence[tf.TensorSpec]
    """Each [n, …], with the name by which a request has it."""
    function: Callable[..., Mapping[str, tf.Tensor]]
    """(*inputs) -> outputs by name."""
    example: Sequence[tf.Tensor]
    """One row of each input, [1, …]: what a server warms up with."""
    row_wise: Sequence[str]
    """Outputs with a row for every row of the inputs, which depends on that row alone (`fovea_api.contract.row_wise`)."""


def write(
    directory: Path,
    given: Mapping[str, Signature],
    tracked: Sequence[Any],
    *,
    beside: Callable[[Path], None] = lambda _model: None,
) -> None:
    """Write the SavedModel into `directory`, `saved_model.pb` last.

    `tracked` are the variables, tables and assets that the functions use (`variables_of(model)`). A Keras model beside its
    variables would store every weight twice. `beside` may write more files into the folder that it is given. What the
    directory held before is removed once the new model is written.
    """
    module = tf.Module()
    module.weights = list(tracked)
    shutil.rmtree(directory / STAGING, ignore_errors=True)
    staging = directory / STAGING
    graphs = {name: traced(*signature.inputs)(signature.function) for name, signature in given.items()}
    options = tf.saved_model.SaveOptions(experimental_io_device=io_device(module.weights))
    tf.saved_model.save(module, str(staging), signatures=graphs, options=options)
    warmup.write(staging, [request for size in WARMED_UP for request in _requests(given, size)])
    row_wise.write(staging, {name: signature.row_wise for name, signature in given.items()})
    beside(staging)
    for path in directory.iterdir():
        if path.name != STAGING:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in sorted(staging.iterdir(), key=lambda path: path.name == "saved_model.pb"):
        path.rename(directory / path.name)
    staging.rmdir()


def _requests(given: Mapping[str, Signature], size: int) -> list[warmup.Request]:
    return [
        warmup.Request(
            name,
            {
                spec.name: tf.repeat(row, size, axis=0)
                for spec, row in zip(signature.inputs, signature.example, strict=True)
            },
        )
        for name, signature in given.items()
    ]
