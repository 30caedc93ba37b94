"""What classifiers of anything share: hits, who was taken for whom, how well two classes are ranked, what is served."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.runtime.evaluation import Evaluation
from fovea_trainers.runtime.totals import Total

Array = np.ndarray[Any, Any]
CONFUSION = "confusion"
RANKING = "ranking"
OUTPUTS = (signatures.LABEL_OUTPUT, signatures.CLASSES_OUTPUT, signatures.SCORES_OUTPUT)
"""Each has a row for every example, which depends on that example alone."""
_LEVELS, _RANGE = 2**14, 16.0
"""Scores of two classes are counted by the difference of their logits, in steps of 1/512 between -16 and 16."""


def hits(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 [n]: 1 where the most probable class is the right one."""
    return tf.cast(tf.equal(_predicted(logits), labels), tf.float32)


def confusion(labels: tf.Tensor, logits: tf.Tensor) -> Total:
    """Confusion matrix int64 [classes, classes] of a batch (rows: true class, columns: predicted), and its size."""
    matrix = tf.math.confusion_matrix(labels, _predicted(logits), logits.shape[1], dtype=tf.int64)
    return matrix, tf.size(labels)


def ranking(labels: tf.Tensor, logits: tf.Tensor) -> Total:
    """How many examples of each of two classes have which score: int64 [2, levels], for `auc`; and their number.

    Counts add up over batches, which an exact AUC does not.
    """
    level = tf.cast(tf.round((logits[:, 1] - logits[:, 0] + _RANGE) * (_LEVELS - 1) / (2 * _RANGE)), tf.int32)
    place = labels * _LEVELS + tf.clip_by_value(level, 0, _LEVELS - 1)
    counts = tf.math.bincount(place, minlength=2 * _LEVELS, maxlength=2 * _LEVELS, dtype=tf.int32)
    return tf.cast(tf.reshape(counts, [2, _LEVELS]), tf.int64), tf.size(labels)


def auc(counts: Array) -> float:
    """The share of pairs of both classes in which the second class has the higher score; one of equal scores is half.

    `counts` [2, levels] is the sum of `ranking`. 0 where a class has no example: there is no pair.
    """
    negative, positive = counts.astype(np.float64)
    pairs = negative.sum() * positive.sum()
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else 0.0


def report(evaluation: Evaluation, classes: Sequence[str], unit: str) -> dict[str, Any]:
    """A set in evaluation.json: its size in `unit`, its metrics, the classes one by one, the confusion matrix."""
    matrix = evaluation.totals.sums[CONFUSION]
    right, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    per_class = {
        name: {
            unit: int(true[i]),
            "precision": float(right[i] / max(predicted[i], 1)),
            "recall": float(right[i] / max(true[i], 1)),
            "f1": float(2 * right[i] / max(true[i] + predicted[i], 1)),
        }
        for i, name in enumerate(classes)
    }
    return {
        unit: evaluation.examples,
        **evaluation.metrics,
        "perClass": per_class,
        "confusionMatrix": {"rows": "true class", "columns": "predicted class", "counts": matrix.tolist()},
    }


def answer(logits: tf.Tensor, classes: Sequence[str]) -> Mapping[str, tf.Tensor]:
    """The outputs of `fovea_api.contract.signatures` for logits [n, classes]."""
    probabilities = tf.nn.softmax(logits)
    names = tf.constant(list(classes))
    return {
        signatures.LABEL_OUTPUT: tf.gather(names, tf.argmax(probabilities, axis=1)),
        signatures.CLASSES_OUTPUT: tf.repeat(names[tf.newaxis], tf.shape(probabilities)[0], axis=0),
        signatures.SCORES_OUTPUT: probabilities,
    }


def _predicted(logits: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=1, output_type=tf.int32)
