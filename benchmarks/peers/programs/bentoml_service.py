"""BentoML's side: APIs that batch. It runs in BentoML's own environment, started by `bentoml serve`.

Arrays come as JSON, BentoML's form for `numpy.ndarray`, or as files, its form for `pathlib.Path`, as pictures do.
"""

import os
from pathlib import Path

import bentoml
import numpy as np
import tensorflow as tf

BATCH = 32


@bentoml.service(traffic={"timeout": 60, "max_concurrency": 128}, logging={"access": {"enabled": False}})
class Classifier:
    """The SavedModel in the folder MODEL_FOLDER."""

    def __init__(self) -> None:
        self.model = tf.saved_model.load(os.environ["MODEL_FOLDER"])

    @bentoml.api(batchable=True, max_batch_size=BATCH)
    def pixels(self, pixels: np.ndarray) -> list[dict]:
        """Scores and label of each row."""
        return _rows(self.model.signatures["pixels"](pixels=tf.constant(pixels, tf.float32)))

    @bentoml.api(batchable=True, max_batch_size=BATCH)
    def raw(self, files: list[Path]) -> list[dict]:
        """Scores and label of each file, which has the bytes of an array."""
        arrays = [np.frombuffer(file.read_bytes(), np.float32).reshape(224, 224, 3) for file in files]
        return _rows(self.model.signatures["pixels"](pixels=tf.constant(np.stack(arrays))))

    @bentoml.api(batchable=True, max_batch_size=BATCH)
    def jpeg(self, files: list[Path]) -> list[dict]:
        """Scores and label of each file."""
        found = self.model.signatures["serving_default"](image=tf.constant([file.read_bytes() for file in files]))
        return _rows(found)


def _rows(found: dict) -> list[dict]:
    pairs = zip(found["scores"].numpy().tolist(), found["label"].numpy(), strict=True)
    return [{"scores": scores, "label": label.decode()} for scores, label in pairs]
