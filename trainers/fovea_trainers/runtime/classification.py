"""A classifier in training: its model gives logits; one update, one evaluation, and what a checkpoint holds of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf
from fovea_trainers.runtime.best import Best
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.metrics import Evaluation, Running, over_devices
from fovea_trainers.runtime.strategy import Step, Strategy

IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32)
LABELS = tf.TensorSpec([None], tf.int32)
WEIGHTS = tf.TensorSpec([None], tf.float32)
STEP = tf.TensorSpec([], tf.int64)


@dataclass(frozen=True)
class Learner:
    """Model (images [n, h, w, 3] in 0..255 -> logits [n, classes]), optimizer, the sums of the current epoch.

    `best` holds the weights of the best epoch while early stopping is on.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    running: Running
    classes: Sequence[str]
    best: Best | None = None

    def variables(self) -> Mapping[str, Sequence[tf.Variable]]:
        """Everything that a step changes, by the names that `Checkpoints` knows."""
        held = {
            "model": [variable.value for variable in self.model.variables],
            "optimizer": [variable.value for variable in self.optimizer.variables],
            "running": self.running.variables,
        }
        return held if self.best is None else {**held, "best": self.best.variables}

    def train_step(self, strategy: Strategy) -> Step:
        """(images, class numbers [n], number of the step): an update by cross-entropy; n may be 0."""
        model, optimizer = self.model, self.optimizer

        def update(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, step: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                losses = weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                (count,) = over_devices(tf.reduce_sum(weights))
                loss = tf.reduce_sum(losses) / tf.maximum(count, 1.0)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
            self.running.add(losses, weights * tf.cast(hits, tf.float32), weights, step)

        return strategy.build(update, IMAGES, LABELS, WEIGHTS, STEP)

    def evaluate(
        self, batches: Iterable[tuple[tf.Tensor, tf.Tensor]], check: Callable[[], None] = lambda: None
    ) -> Evaluation:
        """The model, as it is now, on batches of images and class numbers; `check` may raise to give up."""
        loss, confusion = 0.0, np.zeros((len(self.classes), len(self.classes)), np.int64)
        for images, labels in batches:
            check()
            batch_loss, batch_confusion = self._evaluation_step(images, labels)
            loss += float(batch_loss)
            confusion += batch_confusion.numpy()
        return Evaluation(loss / max(int(confusion.sum()), 1), confusion)

    @cached_property  # traced once, not at every evaluation
    def _evaluation_step(self) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        @traced(IMAGES, LABELS)
        def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = self.model(images, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
            confusion = tf.math.confusion_matrix(labels, predicted, len(self.classes), dtype=tf.int64)
            return tf.reduce_sum(losses), confusion

        return step
