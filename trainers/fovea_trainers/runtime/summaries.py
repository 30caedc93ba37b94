"""TensorBoard: one event folder for training, one for validation, so that both lines of a metric share a chart."""

from pathlib import Path
from typing import Self

import tensorflow as tf

VALIDATION_PREFIX = "val_"


class Summaries:
    """Scalars per epoch in `<directory>/train` and `<directory>/validation`."""

    def __init__(self, directory: Path) -> None:
        self._train = tf.summary.create_file_writer(str(directory / "train"))
        self._validation = tf.summary.create_file_writer(str(directory / "validation"))

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Write and flush the metrics of an epoch that ended at a step."""
        for name, value in metrics.items():
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
