"""The order of an epoch over shards that do not all lie on the disk: a window that slides over them.

The shards are permuted by (seed, epoch). Each example gets a number: the place of its shard, and a part of the window drawn
at random. In the order of these numbers, an example is among those of the `window` shards that are open at that time, and a
shard closes as another one opens. The order is a function of (seed, epoch) and the shards' sizes alone: no buffer, no state.
It begins with one shard and ends with one, so the first batch needs few.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data import order

Array = np.ndarray[Any, Any]
_BITS = 32
"""Of an example's draw; its shard's place is above them."""
MOST = 1 << 16
"""Shards in a window."""


@dataclass(frozen=True)
class Pass:
    """A way through the examples of a set, and which shards it needs when."""

    order: Array
    """int64 [n]: places of the examples in the set."""
    shards: Array
    """int64 [shards of the set]: numbers of the shards, in the order in which they are needed first."""
    first: Array
    """int64 [shards of the set]: index into `order` of each shard's first example."""
    last: Array
    """int64 [shards of the set]: index into `order` of each shard's last example."""

    def needed(self, start: int, stop: int) -> Array:
        """Shards with examples among those from index `start` to before `stop`."""
        return self.shards[(self.first < stop) & (self.last >= start)]

    def since(self, start: int) -> Array:
        """Shards with examples from index `start` on, in the order in which they are needed first."""
        return self.shards[self.last >= start]


def windowed(shards: Array, window: int, *, seed: int, epoch: int) -> Pass:
    """The order of an epoch for examples in the `shards` int [n]; at any time `window` shards are open, at most."""
    present, own = np.unique(shards, return_inverse=True)
    ranks = np.empty(len(present), np.int64)
    ranks[_ranked(len(present), seed=seed, epoch=epoch)] = np.arange(len(present))
    drawn = order.stream(order.ORDER, seed=seed, epoch=epoch)
    draws = tf.random.stateless_uniform([len(shards)], drawn, minval=None, maxval=None, dtype=tf.int64).numpy()
    parts = (draws.view(np.uint64) >> np.uint64(64 - _BITS)).astype(np.int64)
    keys = (ranks[own.reshape(-1)] << _BITS) + parts * min(window, MOST)
    return _pass(np.argsort(keys, kind="stable"), shards)


def in_order(shards: Array) -> Pass:
    """From shard to shard, for examples in the `shards` int [n], whose numbers rise."""
    return _pass(np.arange(len(shards)), shards)


def opened(shards: Array, *, seed: int, epoch: int) -> Array:
    """The shards of a set in the order in which an epoch opens them, without drawing its examples."""
    present = np.unique(shards)
    return present[_ranked(len(present), seed=seed, epoch=epoch)]


def _ranked(count: int, *, seed: int, epoch: int) -> Array:
    drawn = order.stream(order.SHARDS, seed=seed, epoch=epoch)
    keys = tf.random.stateless_uniform([count], drawn, minval=None, maxval=None, dtype=tf.int64)
    return np.argsort(keys.numpy(), kind="stable")


def _pass(places: Array, shards: Array) -> Pass:
    found, first = np.unique(shards[places], return_index=True)
    last = len(places) - 1 - np.unique(shards[places][::-1], return_index=True)[1]
    by_need = np.argsort(first)
    return Pass(places, found[by_need], first[by_need], last[by_need])
