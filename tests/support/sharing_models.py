"""Signatures that keep their rows apart, and signatures that mix them in every way seen so far. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

Function = Callable[[Any], dict[str, Any]]


def _rows_of(lengths: Any) -> Any:
    return tf.RaggedTensor.from_row_lengths(tf.range(tf.reduce_sum(lengths)), lengths)


def _scaled(x: Any) -> Any:
    mean, variance = tf.nn.moments(tf.cast(x, tf.float32), [0])
    return (tf.cast(x, tf.float32) - mean) / tf.sqrt(variance + 1.0)


ROW_WISE: dict[str, Function] = {
    "plus": lambda n: {"y": n + 1},
    "table": lambda n: {"y": tf.gather(tf.constant([[5, 6], [7, 8], [9, 1], [3, 2]]), n % 4)},
    "mapped": lambda n: {"y": tf.map_fn(lambda one: one * one, n)},
    "mapped_strings": lambda n: {
        "y": tf.map_fn(
            lambda one: tf.strings.reduce_join(tf.strings.as_string(tf.range(one % 3)), separator="|"),
            n, fn_output_signature=tf.string),
    },
    "wide": lambda n: {"y": tf.reshape(tf.nn.softmax(tf.cast(n[:, None] * [[1, 2, 3, 4]], tf.float32)), [-1, 2, 2])},
    "named_size": lambda n: {"y": tf.reshape(tf.tile(n[:, None], [1, 4]), tf.stack([tf.shape(n)[0], 2, -1]))},
    "same_labels": lambda n: {"y": tf.tile([["a", "b"]], [tf.shape(n)[0], 1]), "z": n},
    "sorted_row": lambda n: {"y": tf.sort(tf.stack([n, 3 - n, n * 2], axis=1), axis=-1)},
    "normalised_row": lambda n: {"y": tf.linalg.l2_normalize(tf.cast(tf.stack([n, n + 1], 1), tf.float32), axis=1)},
    "chosen": lambda n: {"y": tf.where(n > 1, n * 10, -n)},
}  # fmt: skip
"""Every output has a row for each row of `n`, of which it depends alone."""

MIXED: dict[str, Function] = {
    "repeat": lambda n: {"y": tf.repeat(n, n)},
    "filter": lambda n: {"y": tf.boolean_mask(n, n > 1)},
    "unique": lambda n: {"y": tf.unique(n).y},
    "sort": lambda n: {"y": tf.sort(n)},
    "reverse": lambda n: {"y": tf.reverse(n, [0])},
    "roll": lambda n: {"y": tf.roll(n, 1, 0)},
    "running": lambda n: {"y": tf.cumsum(n)},
    "normalised": lambda n: {"y": _scaled(n)},
    "softmax": lambda n: {"y": tf.nn.softmax(tf.cast(n, tf.float32))},
    "share": lambda n: {"y": n / tf.shape(n)[0]},
    "position": lambda n: {"y": n + tf.range(tf.shape(n)[0])},
    "fixed": lambda n: {"y": tf.constant([1, 2]), "z": n},
    "scalar": lambda n: {"y": tf.reduce_sum(n)},
    "ragged_rows": lambda n: {"y": _rows_of(n).to_tensor()},
    "ragged_values": lambda n: {"y": _rows_of(n).values, "lengths": n},
    "boxes": lambda n: {"y": tf.gather(n, tf.image.non_max_suppression(
        tf.cast(tf.stack([n, n, n + 1, n + 1], 1), tf.float32), tf.cast(n, tf.float32), 2))},
    "against_each_other": lambda n: {"y": n[:, None] - n[None, :]},
    "beside_a_table": lambda n: {"y": n + tf.constant([1, 2])[: tf.minimum(2, tf.shape(n)[0])]},
    "pairs": lambda n: {"y": tf.reshape(tf.stack([n, n], 1), [-1])},
    "halves": lambda n: {"y": tf.reshape(tf.concat([n, n], 0), [-1, 2])},
    "squeezed": lambda n: {"y": tf.squeeze(n[:, None])},
    "summed_in_a_loop": lambda n: {"y": tf.scan(lambda total, one: total + one, n)},
    "mapped_with_a_neighbour": lambda n: {"y": tf.map_fn(lambda one: one + tf.reduce_max(n), n)},
    "random": lambda n: {"y": n + tf.random.uniform(tf.shape(n), maxval=2, dtype=tf.int32) * 0},
    "parity_of_the_crowd": lambda n: {"y": tf.cond(tf.shape(n)[0] % 2 == 0, lambda: n, lambda: -n)},
}  # fmt: skip
"""Some answer depends on the neighbours, or on how many they are, or has no rows of its own."""


def save(folder: Path, functions: dict[str, Function]) -> None:
    """A SavedModel with a signature for each function of `n`, int32 of any number of rows."""
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.int32, name="n")
    signatures = {name: tf.function(function, input_signature=[spec]) for name, function in functions.items()}
    module.kept = list(signatures.values())
    tf.saved_model.save(module, str(folder), signatures=signatures)
