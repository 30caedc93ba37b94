"""A small network that places 68 points on a face, by the usual numbers: jaw, brows, nose, eyes, mouth.

356,840 parameters. The package face-api of npm publishes weights for it as face_landmark_68_model. The eye on the left of the
picture comes first.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

Array = np.ndarray[Any, Any]
SIZE, POINTS = 112, 68
MEAN = (122.782, 117.001, 104.298)
"""Red, green, blue."""
FIRST_EYE, SECOND_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)
FILTERS = (32, 64, 128, 256)


def face_landmarks() -> keras.Model:
    """Pictures of one face [n, 112, 112, 3] as `prepare` gives them -> [n, 136]: x and y of each point, 0..1 of the picture."""
    x = images = layers.Input((SIZE, SIZE, 3))
    for number, filters in enumerate(FILTERS):
        x = _dense_block(x, filters, f"dense{number}_", first=number == 0)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(images, layers.Dense(2 * POINTS, name="fc")(x), name="face_landmarks")


def prepare(image: tf.Tensor) -> tf.Tensor:
    """A picture [height, width, 3] in 0..255 of one face -> [1, 112, 112, 3]: in the middle of a square, zeros around it."""
    height, width = image.shape[0], image.shape[1]
    side = max(height, width)
    square = tf.image.pad_to_bounding_box(
        tf.cast(image, tf.float32), (side - height) // 2, (side - width) // 2, side, side
    )
    return (tf.image.resize(square, [SIZE, SIZE])[tf.newaxis] - tf.constant(MEAN)) / 255.0


def points(output: tf.Tensor, height: int, width: int) -> Array:
    """The points [68, 2] in pixels of the picture of `height` × `width`, of which `output` [1, 136] is the network's."""
    side = max(height, width)
    on_square = np.asarray(output, np.float64).reshape(POINTS, 2) * side
    return on_square - [(side - width) / 2, (side - height) / 2]


def _dense_block(x: tf.Tensor, filters: int, name: str, *, first: bool) -> tf.Tensor:
    """Half the height and width, then three convolutions: each sees the sum of what all before it gave."""
    begin = layers.Conv2D if first else layers.SeparableConv2D
    sums = x = layers.Activation("relu", name=f"{name}relu0")(
        begin(filters, 3, 2, padding="same", name=f"{name}conv0")(x)
    )
    for number in range(1, 4):
        y = layers.SeparableConv2D(filters, 3, padding="same", name=f"{name}conv{number}")(x)
        sums = layers.Add(name=f"{name}add{number}")([sums, y])
        x = layers.Activation("relu", name=f"{name}relu{number}")(sums)
    return x
