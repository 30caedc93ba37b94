"""The order in which an epoch sees its examples: a function of (seed, epoch) alone, so that a resume needs no state."""

from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.runtime.strategy import Shard

Array = np.ndarray[Any, Any]
ORDER, DISTORTION, SHARDS = 1, 2, 3
"""Streams of random numbers, so that the order of an epoch, its distortions and the order of its shards are independent."""


def stream(number: int, *, seed: int, epoch: int) -> tf.Tensor:
    """The seed of an epoch's stream, for TensorFlow's stateless random numbers."""
    return tf.random.experimental.stateless_fold_in(tf.constant([seed, epoch], tf.int64), number)


@lru_cache(maxsize=2)
def permutation(count: int, *, seed: int, epoch: int) -> Array:
    """The numbers 0 to count - 1 in the order of an epoch."""
    drawn = stream(ORDER, seed=seed, epoch=epoch)
    keys = tf.random.stateless_uniform([count], drawn, minval=None, maxval=None, dtype=tf.int64)
    order = np.argsort(keys.numpy(), kind="stable")
    order.flags.writeable = False  # kept: a worker of an asynchronous job asks for the same order often
    return order


def batches(count: int, size: int, *, seed: int, epoch: int, first: int, shard: Shard) -> list[Array]:
    """Numbers of the examples that a shard reads of each of its batches, from batch `first` of an epoch on."""
    return divided(cut(permutation(count, seed=seed, epoch=epoch), size), first, shard)


def divided(batches: list[Array], first: int, shard: Shard) -> list[Array]:
    """What a shard reads of an epoch's batches, from batch `first` on."""
    return [batch[shard.index :: shard.count] for batch in batches[first :: shard.every]]


def cut(examples: Array, size: int) -> list[Array]:
    """Batches of `size`; the last one may be smaller."""
    return [examples[start : start + size] for start in range(0, len(examples), size)]
