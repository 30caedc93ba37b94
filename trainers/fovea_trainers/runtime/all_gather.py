"""The whole batch on every device: for a loss that compares examples with each other, and not each with its label."""

from collections.abc import Sequence

import tensorflow as tf

from fovea_trainers.runtime.exchange import current
from fovea_trainers.runtime.totals import over_devices


def all_gather(size: int, own: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Of each tensor [n, …] of this device's share of a batch all rows [m, …], and float32 [m]: 1 for those of the share.

    `size` is the most examples of a batch. All devices get the same rows; rows without an example are zeros, their weight
    among them. Gradients reach the rows of the share alone: where each device takes those of the same loss, they add up to
    the gradient of that loss.
    """
    index, count = _place()
    here = tf.ones(tf.shape(own[0])[:1])
    if count == 1:
        return list(own), here
    rows = index + count * tf.range(tf.shape(own[0])[0])
    room = count * -(-size // count)
    spread = [_spread(each, rows, room) for each in (*own, here)]
    found = over_devices(*map(tf.stop_gradient, spread[:-1]))
    return [_through(whole, mine) for whole, mine in zip(found, spread[:-1], strict=True)], spread[-1]


def _place() -> tuple[tf.Tensor | int, int]:
    """Which of the batch's shares this device has, and of how many."""
    exchange = current()
    if exchange is not None:
        return tf.cast(exchange.index, tf.int32), exchange.count
    if not tf.distribute.has_strategy():
        return 0, 1
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group, context.num_replicas_in_sync


def _spread(own: tf.Tensor, rows: tf.Tensor, room: int) -> tf.Tensor:
    whole = tf.scatter_nd(rows[:, tf.newaxis], own, tf.concat([[room], tf.shape(own)[1:]], axis=0))
    return tf.ensure_shape(whole, [room, *own.shape[1:]])


def _through(whole: tf.Tensor, mine: tf.Tensor) -> tf.Tensor:
    """`whole`, with the gradient of `mine`."""
    return whole + (mine - tf.stop_gradient(mine)) if whole.dtype.is_floating else whole
