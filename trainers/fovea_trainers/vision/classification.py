"""What classifiers of pictures share: the shape of a batch, what is reported of an evaluated set, and what is exported."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.runtime.evaluation import Evaluation
from fovea_trainers.runtime.export import Signature
from fovea_trainers.runtime.totals import Total
from fovea_trainers.vision.images import decode, fit_size

BATCH = (tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([None], tf.int32))
"""Images in 0..255 and class numbers."""
CONFUSION = "confusion"
OUTPUTS = (signatures.LABEL_OUTPUT, signatures.CLASSES_OUTPUT, signatures.SCORES_OUTPUT)
"""Each has a row for every picture, which depends on that picture alone."""


def hits(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 [n]: 1 where the most probable class is the right one."""
    return tf.cast(tf.equal(_predicted(logits), labels), tf.float32)


def confusion(labels: tf.Tensor, logits: tf.Tensor) -> Total:
    """Confusion matrix int64 [classes, classes] of a batch (rows: true class, columns: predicted), and its size."""
    matrix = tf.math.confusion_matrix(labels, _predicted(logits), logits.shape[1], dtype=tf.int64)
    return matrix, tf.size(labels)


def report(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """A set in evaluation.json: its size, loss and accuracy, the classes one by one, the confusion matrix."""
    matrix = evaluation.totals.sums[CONFUSION]
    right, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    per_class = {
        name: {
            "images": int(true[i]),
            "precision": float(right[i] / max(predicted[i], 1)),
            "recall": float(right[i] / max(true[i], 1)),
            "f1": float(2 * right[i] / max(true[i] + predicted[i], 1)),
        }
        for i, name in enumerate(classes)
    }
    return {
        "images": evaluation.examples,
        **evaluation.metrics,
        "perClass": per_class,
        "confusionMatrix": {"rows": "true class", "columns": "predicted class", "counts": matrix.tolist()},
    }


def exported(
    model: keras.Model, classes: Sequence[str], size: int, *, exif_orientation: bool
) -> Mapping[str, Signature]:
    """Signatures of `fovea_api.contract.signatures`; `model` gives logits [n, classes] for images [n, size, size, 3]."""

    def scores(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(model(images, training=False))
        names = tf.constant(list(classes))
        return {
            signatures.LABEL_OUTPUT: tf.gather(names, tf.argmax(probabilities, axis=1)),
            signatures.CLASSES_OUTPUT: tf.repeat(names[tf.newaxis], tf.shape(probabilities)[0], axis=0),
            signatures.SCORES_OUTPUT: probabilities,
        }

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        def picture(file: tf.Tensor) -> tf.Tensor:
            return fit_size(decode(file, exif_orientation=exif_orientation), size)

        return scores(tf.map_fn(picture, image, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32)))

    def classify(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return scores(fit_size(pixels, size))

    grey = tf.fill([size, size, 3], tf.constant(128, tf.uint8))
    return {
        signatures.SERVING_DEFAULT: Signature(
            inputs=[tf.TensorSpec([None], tf.string, name=signatures.IMAGE_INPUT)],
            function=serve,
            example=[tf.io.encode_png(grey)[tf.newaxis]],
            row_wise=OUTPUTS,
        ),
        signatures.PIXELS: Signature(
            inputs=[tf.TensorSpec([None, None, None, 3], tf.float32, name=signatures.PIXELS_INPUT)],
            function=classify,
            example=[tf.cast(grey, tf.float32)[tf.newaxis]],
            row_wise=OUTPUTS,
        ),
    }


def _predicted(logits: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=1, output_type=tf.int32)
