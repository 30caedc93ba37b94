"""Steps of a classifier whose model gives logits: one update, one evaluation."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.metrics import Evaluation, Running

IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32)
LABELS = tf.TensorSpec([None], tf.int32)
STEP = tf.TensorSpec([], tf.int64)


def train_step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, running: Running
) -> Callable[[tf.Tensor, tf.Tensor, int], None]:
    """Update number `step` by cross-entropy on a batch of images [n, h, w, 3] in 0..255 and class numbers [n]."""

    @traced(IMAGES, LABELS, STEP)
    def update(images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        running.add(losses, tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels), step)

    return update


def evaluator(model: keras.Model, classes: int) -> Callable[[Iterable[tuple[tf.Tensor, tf.Tensor]]], Evaluation]:
    """A function that evaluates the model, as it is then, on batches of images and class numbers."""

    @traced(IMAGES, LABELS)
    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(images, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
        return tf.reduce_sum(losses), tf.math.confusion_matrix(labels, predicted, classes, dtype=tf.int64)

    def evaluate(batches: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> Evaluation:
        loss, confusion = 0.0, np.zeros((classes, classes), np.int64)
        for images, labels in batches:
            batch_loss, batch_confusion = step(images, labels)
            loss += float(batch_loss)
            confusion += batch_confusion.numpy()
        return Evaluation(loss / max(int(confusion.sum()), 1), confusion)

    return evaluate
