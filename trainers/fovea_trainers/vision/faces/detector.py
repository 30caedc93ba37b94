"""A small network that finds faces: separable convolutions, and a grid of cells that each propose five boxes.

193,321 parameters. The package face-api of npm publishes weights for it as tiny_face_detector_model.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

Array = np.ndarray[Any, Any]
SIZE = 416
MEAN = (117.001, 114.697, 97.404)
"""Red, green, blue."""
FILTERS = (32, 64, 128, 256, 512)
ANCHORS = ((1.603231, 2.094468), (6.041143, 7.080126), (2.882459, 3.518061), (4.266906, 5.178857), (9.041765, 10.66308))
"""Width and height of the boxes that a cell proposes, in cells."""
MOST, OVERLAP = 100, 0.4
"""Of the faces of a picture; and how much of their union two boxes of different faces may share."""


def face_detector(size: int = SIZE) -> keras.Model:
    """Pictures [n, size, size, 3] as `prepare` gives them -> [n, ⌈size/32⌉, ⌈size/32⌉, 25]: x, y, width, height, score of each box."""
    x = images = layers.Input((size, size, 3))
    x = layers.LeakyReLU(0.1, name="conv0_leaky")(layers.Conv2D(16, 3, name="conv0")(x))
    for number, filters in enumerate(FILTERS, start=1):
        x = layers.MaxPooling2D(2, 2, padding="same", name=f"pool{number}")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same", name=f"conv{number}")(x)
        x = layers.LeakyReLU(0.1, name=f"conv{number}_leaky")(x)
    x = layers.MaxPooling2D(2, 1, padding="same", name="pool6")(x)
    x = layers.Conv2D(5 * len(ANCHORS), 1, name="conv8")(x)
    return keras.Model(images, x, name="face_detector")


def prepare(image: tf.Tensor, size: int = SIZE) -> tf.Tensor:
    """A picture [height, width, 3] in 0..255 -> [1, size, size, 3]: as large as fits, at the upper left, zeros elsewhere."""
    side = max(image.shape[0], image.shape[1])
    square = tf.image.pad_to_bounding_box(tf.cast(image, tf.float32), 0, 0, side, side)
    return (tf.image.resize(square, [size, size])[tf.newaxis] - tf.constant(MEAN)) / 255.0


def boxes(output: tf.Tensor, height: int, width: int, least_score: float) -> tuple[Array, Array]:
    """Faces of one picture, the surest first: x, y, width, height in its pixels [faces, 4], and scores in 0..1 [faces].

    `output` [1, cells, cells, 25] is the network's for the prepared picture of `height` × `width` pixels.
    """
    cells = output.shape[1]
    proposed = np.asarray(output, np.float64).reshape(cells, cells, len(ANCHORS), 5)
    scores = _sigmoid(proposed[..., 4])
    rows, columns = np.indices((cells, cells))[..., np.newaxis]
    x = (columns + _sigmoid(proposed[..., 0])) / cells
    y = (rows + _sigmoid(proposed[..., 1])) / cells
    anchors = np.array(ANCHORS)
    w = np.exp(proposed[..., 2]) * anchors[:, 0] / cells
    h = np.exp(proposed[..., 3]) * anchors[:, 1] / cells
    corners = np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=-1).reshape(-1, 4)
    flat = scores.reshape(-1)
    chosen = tf.image.non_max_suppression(corners, flat, MOST, OVERLAP, least_score).numpy()
    top, left, bottom, right = corners[chosen].T * max(height, width)
    return np.stack([left, top, right - left, bottom - top], axis=-1), flat[chosen]


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
