"""Numbers of a run: the running sums of an epoch, and the evaluation of a classifier on a whole set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_trainers.errors import NonFiniteLoss


class Running:
    """Sums of loss and hits over the current epoch, kept in TensorFlow variables: no step waits for a number.

    The variables belong to the checkpoint, so a resumed epoch reports what an undisturbed one would. No Keras metric:
    under a parameter server those lose updates.
    """

    def __init__(self) -> None:
        alike = tf.VariableAggregation.ONLY_FIRST_REPLICA  # every device assigns the sum over all of them
        self._loss = tf.Variable(0.0, name="loss_sum", aggregation=alike)
        self._hits = tf.Variable(0, dtype=tf.int64, name="hits", aggregation=alike)
        self._count = tf.Variable(0, dtype=tf.int64, name="count", aggregation=alike)
        self._bad = tf.Variable(-1, dtype=tf.int64, name="first_bad_step", aggregation=alike)
        self.variables = [self._loss, self._hits, self._count, self._bad]

    def add(self, losses: tf.Tensor, hits: tf.Tensor, weights: tf.Tensor, step: tf.Tensor) -> None:
        """Take in one batch: loss, 0/1 hit and 0/1 weight of every example. Called inside the graph of update number `step`.

        On several devices each one calls it with its share of the batch.
        """
        batch_loss, hit, count = over_devices(tf.reduce_sum(losses), tf.reduce_sum(hits), tf.reduce_sum(weights))
        first_bad = tf.logical_and(self._bad < 0, tf.logical_not(tf.math.is_finite(batch_loss)))
        self._bad.assign(tf.where(first_bad, step, self._bad))
        self._loss.assign_add(batch_loss)
        self._hits.assign_add(tf.cast(hit, tf.int64))
        self._count.assign_add(tf.cast(count, tf.int64))

    def read(self) -> dict[str, float]:
        """Means over the epoch so far; raises NonFiniteLoss with the first step at which the loss was not a number."""
        bad, count, hits, loss = (
            variable.read_value() for variable in (self._bad, self._count, self._hits, self._loss)
        )
        if (bad := int(bad)) >= 0:
            raise NonFiniteLoss("the loss", bad)
        count = max(int(count), 1)
        return {"loss": float(loss) / count, "accuracy": int(hits) / count}

    def reset(self) -> None:
        """A new epoch begins."""
        self._loss.assign(0.0)
        self._hits.assign(0)
        self._count.assign(0)


def over_devices(*shares: tf.Tensor) -> list[tf.Tensor]:
    """Sums over the devices of a strategy, of float32 scalars that each has of its own; without one, the scalars."""
    if not tf.distribute.has_strategy():
        return list(shares)
    context = tf.distribute.get_replica_context()
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(shares)))


def require_finite(weights: Iterable[tf.Variable], step: int) -> None:
    """Raise NonFiniteLoss unless every weight is a number.

    The loss does not tell: that of step N is computed before update N, which may be the one that breaks the weights.
    """
    for weight in weights:
        if weight.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(weight))):
            raise NonFiniteLoss("a weight", step)


@dataclass(frozen=True)
class Evaluation:
    """A classifier on one set: mean loss and the confusion matrix (rows: true class, columns: predicted)."""

    loss: float
    confusion: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def images(self) -> int:
        """Size of the set."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of hits, 0 for an empty set."""
        return float(np.trace(self.confusion)) / max(self.images, 1)

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """Loss and accuracy by name."""
        return {f"{prefix}loss": self.loss, f"{prefix}accuracy": self.accuracy}

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """For evaluation.json."""
        hits = np.diag(self.confusion)
        true, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        per_class = {
            name: {
                "images": int(true[i]),
                "precision": float(hits[i] / max(predicted[i], 1)),
                "recall": float(hits[i] / max(true[i], 1)),
                "f1": float(2 * hits[i] / max(true[i] + predicted[i], 1)),
            }
            for i, name in enumerate(classes)
        }
        return {
            "images": self.images,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "perClass": per_class,
            "confusionMatrix": {"rows": "true class", "columns": "predicted class", "counts": self.confusion.tolist()},
        }
