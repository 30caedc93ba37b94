"""TensorBoard: one event folder for training, one for validation, so that both lines of a metric share a chart."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import tensorflow as tf

from fovea_trainers.runtime.position import metrics_of

VALIDATION_PREFIX = "val_"


class Summaries:
    """Scalars per epoch in `<directory>/train` and `<directory>/validation`, which belong to one run.

    What they held is written again from the run's history: an attempt in a pod begins with an empty directory, one on a
    laptop with points that lie after its checkpoint.
    """

    def __init__(self, directory: Path, history: Sequence[Mapping[str, float]]) -> None:
        for folder in (directory / "train", directory / "validation"):
            shutil.rmtree(folder, ignore_errors=True)
        self._train = tf.summary.create_file_writer(str(directory / "train"))
        self._validation = tf.summary.create_file_writer(str(directory / "validation"))
        for entry in history:
            self.write(entry)

    def write(self, entry: Mapping[str, float]) -> None:
        """Write and flush an epoch as the history has it: epoch, the step at which it ended, metrics."""
        step = int(entry["step"])
        for name, value in metrics_of(entry).items():
            writer = self._validation if name.startswith(VALIDATION_PREFIX) else self._train
            scalar = tf.constant(value, tf.float32)
            with writer.as_default(step=step):
                tf.summary.write(name.removeprefix(VALIDATION_PREFIX), scalar, metadata=_scalar())
        self._train.flush()
        self._validation.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._train.close()
        self._validation.close()


def _scalar() -> tf.compat.v1.SummaryMetadata:
    # What tf.summary.scalar writes; that function wants the tensorboard package, with its web server, in the image.
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    metadata.data_class = 1  # DATA_CLASS_SCALAR
    return metadata
