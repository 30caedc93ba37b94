"""A picture of any size in a square frame: scaled until its longer side fills it, centred, with margins; and back.

The place in the frame is computed in whole numbers, so that training, evaluation and an exported graph have the same one.
"""

import tensorflow as tf

GREY = 128
"""What the margins of a picture are filled with."""


def extent(shape: tf.Tensor, size: int) -> tf.Tensor:
    """int32 [2]: height and width in the frame of a picture of this height and width, integers [2]."""
    sides = tf.cast(shape, tf.int64)
    return tf.cast(tf.maximum(sides * size // tf.reduce_max(sides), 1), tf.int32)


def box(shape: tf.Tensor, size: int) -> tf.Tensor:
    """int32 [4]: top, left, height and width of that place."""
    inner = extent(shape, size)
    return tf.concat([(size - inner) // 2, inner], axis=0)


def fit(image: tf.Tensor, size: int) -> tf.Tensor:
    """float32 [size, size, 3] of a picture [h, w, 3] in 0..255, rounded: a picture is served as it was held in memory."""
    inner = extent(tf.shape(image)[:2], size)
    scaled = tf.round(tf.image.resize(tf.cast(image, tf.float32), inner))
    return _framed(scaled, inner, size, GREY)


def fit_classes(classes: tf.Tensor, size: int, *, margin: int) -> tf.Tensor:
    """uint8 [size, size] of the class of every pixel, uint8 [h, w]: the nearest pixel's, and `margin` around."""
    inner = extent(tf.shape(classes), size)
    scaled = tf.image.resize(classes[..., tf.newaxis], inner, method="nearest")
    return _framed(scaled, inner, size, margin)[..., 0]


def restore(frame: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Of a frame [size, size] of classes those of the picture [h, w], without margins and in the size that it has."""
    top, left, height, width = tf.unstack(box(shape, int(frame.shape[0])))
    inner = frame[top : top + height, left : left + width, tf.newaxis]
    return tf.image.resize(inner, tf.cast(shape, tf.int32), method="nearest")[..., 0]


def _framed(scaled: tf.Tensor, inner: tf.Tensor, size: int, fill: int) -> tf.Tensor:
    before = (size - inner) // 2
    around = tf.stack([before, size - inner - before], axis=1)
    padded = tf.pad(scaled, tf.concat([around, [[0, 0]]], axis=0), constant_values=fill)
    padded.set_shape([size, size, scaled.shape[-1]])
    return padded
