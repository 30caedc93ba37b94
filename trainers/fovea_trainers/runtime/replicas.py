"""An update on the devices of a process: each takes its share of the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def on_replicas(
    strategy: tf.distribute.Strategy,
    update: Callable[..., Any],
    count: int,
    tensors: Sequence[tf.Tensor],
    step: tf.Tensor,
) -> Any:
    """Run `update` on this process's `count` devices, within a graph; returns what each has returned.

    `tensors` are those of a batch and the weights of its examples, [n, …] each. Several devices get parts of it as equal
    as can be; one whose part is empty gets an example of zeros, with weight 0.
    """
    parts = list(zip(*(_parts(tensor, count) for tensor in tensors), strict=True))

    def share() -> Any:
        place = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
        return update(*parts[place % count], step)

    return strategy.run(share)


def _parts(tensor: tf.Tensor, count: int) -> list[tf.Tensor]:
    if count == 1:
        return [tensor]
    size = tf.shape(tensor)[0]
    sizes = size // count + tf.cast(tf.range(count) < size % count, tf.int32)
    return [_padded(part) for part in tf.split(tensor, sizes, num=count)]


def _padded(part: tf.Tensor) -> tf.Tensor:
    missing = tf.maximum(0, 1 - tf.shape(part)[0])
    return tf.concat([part, tf.zeros(tf.concat([[missing], tf.shape(part)[1:]], axis=0), part.dtype)], axis=0)
