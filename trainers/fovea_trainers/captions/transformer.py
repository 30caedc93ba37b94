"""The Transformer of "Attention is all you need" for pictures: layers with norms behind them, and decoding by steps.

In training the decoder sees all words of a caption at once, each with those before it. When a caption is made, it sees
one word at a time: keys and values of the words before are kept, those of the picture are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]
EPSILON = 1e-6
"""Of layer normalization."""


@dataclass(frozen=True)
class Sizes:
    """Of every layer."""

    width: int
    """Channels between layers, d_model."""
    heads: int
    inner: int
    """Units of the feed-forward networks, dff."""
    dropout: float


def angles(positions: Array, width: int) -> Array:
    """float32 [positions, width]: sin(p / 10000^(2i/width)) in channel 2i, the cosine of the same in channel 2i + 1."""
    channels = np.arange(width)
    angle = positions[:, np.newaxis] / 10000.0 ** (2 * (channels // 2) / width)
    return np.where(channels % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


def grid_angles(rows: int, columns: int, width: int) -> Array:
    """float32 [rows · columns, width], row by row: the row in the first half of the channels, the column in the second."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.concatenate([angles(row, width // 2), angles(column, width // 2)], axis=1)


class Kept(NamedTuple):
    """Keys and values, [n, heads, k, depth] each."""

    keys: tf.Tensor
    values: tf.Tensor


class Attention(keras.layers.Layer):  # type: ignore[misc]
    """Multi-head attention; queries [n, q, width] look at keys and values of [n, k, width]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self._heads = sizes.heads
        self._depth = sizes.width // sizes.heads
        self._query, self._key, self._value, self._output = (keras.layers.Dense(sizes.width) for _ in range(4))

    def build(self, shape: Any) -> None:
        for dense in (self._query, self._key, self._value, self._output):
            dense.build(shape)

    def remember(self, seen: tf.Tensor) -> Kept:
        """Keys and values of [n, k, width]."""
        return Kept(self._split(self._key(seen)), self._split(self._value(seen)))

    def look(
        self, asking: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, visible: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What [n, q, width] find, [n, q, width], and the weights [n, heads, q, k]; `visible` is True where one may look."""
        scores = tf.matmul(self._split(self._query(asking)), keys, transpose_b=True) / self._depth**0.5
        if visible is not None:
            scores = tf.where(visible, scores, tf.constant(-1e9, scores.dtype))
        weights = tf.nn.softmax(scores)
        found = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
        shape = tf.shape(found)
        return self._output(tf.reshape(found, [shape[0], shape[1], self._heads * self._depth])), weights

    def call(self, asking: tf.Tensor, seen: tf.Tensor, visible: tf.Tensor | None = None) -> tf.Tensor:
        """What is found alone."""
        return self.look(asking, *self.remember(seen), visible)[0]

    def _split(self, tensor: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(tensor)
        return tf.transpose(tf.reshape(tensor, [shape[0], shape[1], self._heads, self._depth]), [0, 2, 1, 3])


class Residual(keras.layers.Layer):  # type: ignore[misc]
    """norm(x + dropout(y)): what follows each attention and each feed-forward network."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self._dropout = keras.layers.Dropout(sizes.dropout)
        self._norm = keras.layers.LayerNormalization(epsilon=EPSILON)

    def build(self, shape: Any) -> None:
        self._norm.build(shape)

    def call(self, x: tf.Tensor, y: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        return self._norm(x + self._dropout(y, training=training))


def _feed_forward(sizes: Sizes) -> keras.Sequential:
    layers = [keras.layers.Dense(sizes.inner, activation="relu"), keras.layers.Dense(sizes.width)]
    return keras.Sequential([keras.layers.Input((None, sizes.width)), *layers])


class EncoderLayer(keras.layers.Layer):  # type: ignore[misc]
    """The places of a picture look at each other."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self._attention, self._inner = Attention(sizes), _feed_forward(sizes)
        self._attended, self._fed = Residual(sizes), Residual(sizes)

    def build(self, shape: Any) -> None:
        for layer in (self._attention, self._attended, self._fed):
            layer.build(shape)

    def call(self, x: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        x = self._attended(x, self._attention(x, x), training=training)
        return self._fed(x, self._inner(x), training=training)


class DecoderLayer(keras.layers.Layer):  # type: ignore[misc]
    """Words look at the words before them, then at the picture."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.words, self.picture, self._inner = Attention(sizes), Attention(sizes), _feed_forward(sizes)
        self._read, self._looked, self._fed = Residual(sizes), Residual(sizes), Residual(sizes)

    def build(self, shape: Any) -> None:
        for layer in (self.words, self.picture, self._read, self._looked, self._fed):
            layer.build(shape)

    def call(self, x: tf.Tensor, memory: tf.Tensor, visible: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """All words [n, t, width] at once; `visible` [n, 1, t, t]."""
        x = self._read(x, self.words(x, x, visible), training=training)
        x = self._looked(x, self.picture(x, memory), training=training)
        return self._fed(x, self._inner(x), training=training)

    def step(self, x: tf.Tensor, kept: Kept, seen: Kept) -> tuple[tf.Tensor, Kept, tf.Tensor]:
        """The next word of each of b captions of n pictures, [n, b, width].

        `kept` are keys and values of the words before, [n · b, heads, t, depth]; `seen` those of the pictures.
        Gives what call would, `kept` with this word, and where in the picture was looked [n, heads, b, places].
        """
        shape = tf.shape(x)
        alone = tf.reshape(x, [shape[0] * shape[1], 1, shape[2]])
        key, value = self.words.remember(alone)
        kept = Kept(tf.concat([kept.keys, key], axis=2), tf.concat([kept.values, value], axis=2))
        found, _ = self.words.look(alone, *kept)
        x = self._read(x, tf.reshape(found, shape))
        found, weights = self.picture.look(x, *seen)
        x = self._looked(x, found)
        return self._fed(x, self._inner(x)), kept, weights


class Encoder(keras.Model):  # type: ignore[misc]
    """Features of a picture [n, rows, columns, channels] -> memory [n, rows · columns, width]."""

    def __init__(self, sizes: Sizes, layers: int, features: Sequence[int]) -> None:
        super().__init__()
        rows, columns, _ = features
        self.grid = (rows, columns)
        self._positions = grid_angles(rows, columns, sizes.width)
        self._project = keras.layers.Dense(sizes.width, activation="relu")
        self._dropout = keras.layers.Dropout(sizes.dropout)
        self._blocks = [EncoderLayer(sizes) for _ in range(layers)]
        self._project.build((None, *features))
        for layer in self._blocks:
            layer.build((None, rows * columns, sizes.width))
        self.built = True

    def call(self, features: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        places, width = self._positions.shape
        x = tf.reshape(self._project(features), [-1, places, width])
        x += tf.cast(self._positions, x.dtype)
        x = self._dropout(x, training=training)
        for layer in self._blocks:
            x = layer(x, training=training)
        return x


class Decoder(keras.Model):  # type: ignore[misc]
    """Words and memory -> logits of the next words. Words have numbers; 0 fills a batch up."""

    def __init__(self, sizes: Sizes, layers: int, words: int, longest: int) -> None:
        """For a vocabulary of `words`, and for captions of at most `longest` words with their start."""
        super().__init__()
        self._blocks = [DecoderLayer(sizes) for _ in range(layers)]
        self._scale = sizes.width**0.5
        self._positions = angles(np.arange(longest), sizes.width)
        self._embedding = keras.layers.Embedding(words, sizes.width)
        self._dropout = keras.layers.Dropout(sizes.dropout)
        self._logits = keras.layers.Dense(words, dtype="float32")
        self._empty = (sizes.heads, 0, sizes.width // sizes.heads)
        self._embedding.build((None, None))
        self._logits.build((None, None, sizes.width))
        for layer in self._blocks:
            layer.build((None, None, sizes.width))
        self.built = True

    def call(self, words: tf.Tensor, memory: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """float32 [n, t, vocabulary] for int32 [n, t]: what follows each word, by it and those before it."""
        count = tf.shape(words)[1]
        before = tf.linalg.band_part(tf.ones([count, count], tf.bool), -1, 0)
        visible = before & (words != 0)[:, tf.newaxis, tf.newaxis, :]
        x = self._embedded(words)
        x = self._dropout(x + tf.cast(self._positions_of(tf.range(count)), x.dtype), training=training)
        for layer in self._blocks:
            x = layer(x, memory, visible, training=training)
        return self._logits(x)

    def look(self, memory: tf.Tensor) -> list[Kept]:
        """Keys and values of pictures for each layer: computed once, however many words follow."""
        return [layer.picture.remember(memory) for layer in self._blocks]

    def begin(self, captions: tf.Tensor) -> list[Kept]:
        """What is kept before the first word of this many captions: nothing yet, for each layer."""
        heads, none, depth = self._empty
        return [Kept(*(tf.zeros([captions, heads, none, depth]) for _ in range(2))) for _ in self._blocks]

    def step(
        self, words: tf.Tensor, place: tf.Tensor, kept: Sequence[Kept], seen: Sequence[Kept]
    ) -> tuple[tf.Tensor, list[Kept], tf.Tensor]:
        """Logits [n, b, vocabulary] of what follows word number `place` of b captions of each picture, int32 [n, b].

        And what is kept for the next step, and where in the picture the last layer looked, float32 [n, b, places].
        """
        x = self._embedded(words) + self._positions_of(place)
        longer = []
        weights = tf.constant(0.0)
        for layer, own, pictures in zip(self._blocks, kept, seen, strict=True):
            x, more, weights = layer.step(x, own, pictures)
            longer.append(more)
        return self._logits(x), longer, tf.reduce_mean(weights, axis=1)

    def _embedded(self, words: tf.Tensor) -> tf.Tensor:
        return self._embedding(words) * self._scale

    def _positions_of(self, places: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.constant(self._positions), places)
