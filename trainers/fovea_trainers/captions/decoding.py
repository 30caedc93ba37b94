"""Captions word by word, inside the graph: greedy, or the best of several that are followed at once (beam search)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fovea_trainers.captions.transformer import Decoder, Kept
from fovea_trainers.captions.words import END, PAD, START, UNKNOWN

FORBIDDEN = (PAD, START, UNKNOWN)
"""Words that no caption has: what they stand for is no word."""


class Written(NamedTuple):
    """Captions of n pictures, all `longest` words wide, so that a row depends on its picture alone."""

    words: tf.Tensor
    """int32 [n, longest]: END closes a caption that is shorter, PAD follows it."""
    scores: tf.Tensor
    """float32 [n, longest]: the probability that each word had, END too; 0 for PAD."""
    attention: tf.Tensor
    """float32 [n, longest, rows, columns]: where the last layer looked, the mean of its heads; 0 for PAD."""


Writer = Callable[[tf.Tensor], Written]
"""What a network sees of pictures, [n, …] -> their captions."""


class _Beams(NamedTuple):
    """b captions of each of n pictures, under way."""

    place: tf.Tensor
    """How many words each has."""
    words: tf.Tensor
    """int32 [n, b, place]"""
    scores: tf.Tensor
    """float32 [n, b, place]: logarithms of the probabilities."""
    attention: tf.Tensor
    """float32 [n, b, place, places]"""
    total: tf.Tensor
    """float32 [n, b]: the sum of `scores`."""
    ended: tf.Tensor
    """bool [n, b]"""
    kept: list[tuple[tf.Tensor, tf.Tensor]]


def write(decoder: Decoder, memory: tf.Tensor, *, grid: tuple[int, int], longest: int, beams: int = 1) -> Written:
    """Captions for float32 [n, rows · columns of the grid, width], of at most `longest` words, END among them.

    With one beam each word is the most probable one (greedy). With more, the `beams` most probable captions so far go on;
    of those at the end the one with the highest mean of its scores' logarithms wins: a sum would favour short ones.
    """
    seen = decoder.look(memory)
    start = _start(decoder, memory, beams)

    def unfinished(*state: Any) -> tf.Tensor:
        now = _Beams(*state)
        return (now.place < longest) & ~tf.reduce_all(now.ended)

    def following(*state: Any) -> _Beams:
        return _step(decoder, seen, _Beams(*state))

    shapes = _Beams(
        place=tf.TensorShape([]),
        words=tf.TensorShape([None, beams, None]),
        scores=tf.TensorShape([None, beams, None]),
        attention=tf.TensorShape([None, beams, None, None]),
        total=tf.TensorShape([None, beams]),
        ended=tf.TensorShape([None, beams]),
        kept=[
            tuple(tf.TensorShape([None, keys.shape[1], None, keys.shape[3]]) for _ in range(2))
            for keys, _ in start.kept
        ],
    )
    last = _Beams(*tf.while_loop(unfinished, following, start, shape_invariants=shapes))
    lengths = tf.reduce_sum(tf.cast(last.words != PAD, tf.float32), axis=2)
    best = tf.argmax(last.total / lengths, axis=1, output_type=tf.int32)
    missing = longest - last.place
    chosen = [tf.gather(part, best, axis=1, batch_dims=1) for part in (last.words, last.scores, last.attention)]
    words, scores, attention = (
        tf.pad(part, [[0, 0], [0, missing], *([[0, 0]] * (len(part.shape) - 2))]) for part in chosen
    )
    written = words != PAD
    return Written(
        tf.ensure_shape(words, [None, longest]),
        tf.ensure_shape(tf.where(written, tf.exp(scores), 0.0), [None, longest]),
        tf.reshape(tf.where(written[..., tf.newaxis], attention, 0.0), [-1, longest, *grid]),
    )


def _start(decoder: Decoder, memory: tf.Tensor, beams: int) -> _Beams:
    count, places = tf.shape(memory)[0], tf.shape(memory)[1]
    alone = tf.tile([[0.0] + [float("-inf")] * (beams - 1)], [count, 1])  # equal beams would stay equal: one begins
    return _Beams(
        place=tf.constant(0),
        words=tf.zeros([count, beams, 0], tf.int32),
        scores=tf.zeros([count, beams, 0]),
        attention=tf.zeros([count, beams, 0, places]),
        total=alone,
        ended=tf.zeros([count, beams], tf.bool),
        kept=[tuple(kept) for kept in decoder.begin(count * beams)],
    )


def _step(decoder: Decoder, seen: Sequence[Kept], now: _Beams) -> _Beams:
    """One word more for every caption; one that has ended gets PAD, which costs nothing."""
    count, beams = tf.shape(now.words)[0], now.words.shape[1]
    first = tf.fill([count, beams, 1], START)
    latest = tf.concat([first, now.words], axis=2)[:, :, -1]
    logits, kept, attention = decoder.step(latest, now.place, [Kept(*pair) for pair in now.kept], seen)
    scores = _allowed(tf.nn.log_softmax(logits), now.ended)
    size = scores.shape[2]
    totals = tf.reshape(now.total[:, :, tf.newaxis] + scores, [count, beams * size])
    total, chosen = tf.math.top_k(totals, k=beams)
    parent, word = chosen // size, chosen % size

    def of_parent(part: tf.Tensor) -> tf.Tensor:
        return tf.gather(part, parent, axis=1, batch_dims=1)

    rows = tf.reshape(tf.range(count)[:, tf.newaxis] * beams + parent, [-1])
    score = tf.gather(of_parent(scores), word, axis=2, batch_dims=2)
    return _Beams(
        place=now.place + 1,
        words=tf.concat([of_parent(now.words), word[..., tf.newaxis]], axis=2),
        scores=tf.concat([of_parent(now.scores), score[..., tf.newaxis]], axis=2),
        attention=tf.concat([of_parent(now.attention), of_parent(attention)[:, :, tf.newaxis]], axis=2),
        total=total,
        ended=of_parent(now.ended) | (word == END),
        kept=[
            (tf.gather(keys, rows), tf.gather(values, rows)) if beams > 1 else (keys, values) for keys, values in kept
        ],
    )


def _allowed(scores: tf.Tensor, ended: tf.Tensor) -> tf.Tensor:
    """Logarithms of probabilities [n, b, vocabulary]: -inf for FORBIDDEN; of captions that ended, 0 for PAD and -inf else."""
    size = scores.shape[2]
    numbers = tf.range(size)
    forbidden = tf.reduce_any(numbers[:, tf.newaxis] == tf.constant(FORBIDDEN), axis=1)
    going_on = tf.where(forbidden, float("-inf"), scores)
    over = tf.where(numbers == PAD, 0.0, float("-inf"))
    return tf.where(ended[..., tf.newaxis], over, going_on)
