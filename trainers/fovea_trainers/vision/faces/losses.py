"""Losses of embeddings: triplets with semi-hard negatives, and the center loss."""

import tensorflow as tf

from fovea_trainers.runtime.totals import over_devices

BEYOND = 5.0
"""Farther than any two points of the unit sphere, of which the squared distance is at most 4."""


def semi_hard(
    embeddings: tf.Tensor, people: tf.Tensor, weights: tf.Tensor, margin: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Losses of all pairs of a batch as (anchor, positive), and their weights, [n, n] each; `weights` are the pictures'.

    The negative of a pair is semi-hard: of other people's pictures the nearest to the anchor that is farther away than the
    positive. Where there is none, all are nearer, and it is the farthest. The hardest ones would let embeddings collapse.
    """
    squared = 2.0 - 2.0 * tf.matmul(embeddings, embeddings, transpose_b=True)
    counts = weights[:, tf.newaxis] * weights > 0
    alike = people[:, tf.newaxis] == people
    other = tf.logical_and(counts, tf.logical_not(alike))
    farther = tf.logical_and(other[:, tf.newaxis, :], squared[:, tf.newaxis, :] > squared[:, :, tf.newaxis])
    nearest = tf.reduce_min(tf.where(farther, squared[:, tf.newaxis, :], BEYOND), axis=2)
    farthest = tf.reduce_max(tf.where(other, squared, -BEYOND), axis=1, keepdims=True)
    negative = tf.where(nearest < BEYOND, nearest, farthest)
    positive = tf.linalg.set_diag(tf.logical_and(counts, alike), tf.zeros_like(people, tf.bool))
    has_negative = tf.reduce_any(other, axis=1, keepdims=True)
    return tf.nn.relu(squared - negative + margin), tf.cast(tf.logical_and(positive, has_negative), tf.float32)


def to_centers(embeddings: tf.Tensor, people: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """Half the squared distance [n] of each embedding to the center of its person."""
    return tf.reduce_sum(tf.square(embeddings - tf.gather(centers, people)), axis=1) / 2


def away_from(embeddings: tf.Tensor, people: tf.Tensor, weights: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """For each center the sum of its offsets from its pictures in the batch, by one more than their number.

    Less than the mean, so that a center of which a batch has one odd picture does not jump. On several devices it is this
    device's part of the whole.
    """
    offsets = weights[:, tf.newaxis] * (tf.gather(centers, people) - embeddings)
    count = tf.shape(centers)[0]
    (pictures,) = over_devices(tf.math.unsorted_segment_sum(weights, people, count))
    return tf.math.unsorted_segment_sum(offsets, people, count) / (1.0 + pictures[:, tf.newaxis])
