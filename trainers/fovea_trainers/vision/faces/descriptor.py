"""A residual network that describes a face by 128 numbers: two pictures of one person are near each other.

Pictures are 150 × 150 pixels with one upright face. By the published weights (package face-api of npm, converted from
dlib's) two faces are taken for one person's where the Euclidean distance of their descriptors is below `THRESHOLD`.

5,607,488 parameters. The published network multiplies and shifts the channels behind each convolution; that is a part of
the kernels and biases here, and the output is the same.
"""

import keras
import tensorflow as tf
from keras import layers

SIZE, DIMENSIONS = 150, 128
THRESHOLD = 0.6
MEAN = (122.782, 117.001, 104.298)
"""Red, green, blue."""
BLOCKS = (
    ("conv32_1", 32),
    ("conv32_2", 32),
    ("conv32_3", 32),
    ("conv64_down", 64),
    ("conv64_1", 64),
    ("conv64_2", 64),
    ("conv64_3", 64),
    ("conv128_down", 128),
    ("conv128_1", 128),
    ("conv128_2", 128),
    ("conv256_down", 256),
    ("conv256_1", 256),
    ("conv256_2", 256),
    ("conv256_down_out", 256),
)
"""Name and filters of each block; `down` halves height and width."""


def face_descriptor() -> keras.Model:
    """Pictures [n, 150, 150, 3] as `prepare` gives them -> descriptors [n, 128], which are not normalized."""
    images = layers.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(32, 7, 2, activation="relu", name="conv32_down")(images)
    x = layers.MaxPooling2D(3, 2, name="pool")(x)
    for name, filters in BLOCKS:
        x = _block(x, filters, name, down="_down" in name)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(images, layers.Dense(DIMENSIONS, use_bias=False, name="fc")(x), name="face_descriptor")


def prepare(images: tf.Tensor) -> tf.Tensor:
    """Pictures in 0..255 -> as the published weights know them."""
    return (images - tf.constant(MEAN)) / 255.0


def _block(x: tf.Tensor, filters: int, name: str, *, down: bool) -> tf.Tensor:
    """Two convolutions, and what came in added to them: the average of 2 × 2 pixels where the block halves the size."""
    padding = "valid" if down else "same"
    y = layers.Conv2D(filters, 3, 2 if down else 1, padding=padding, activation="relu", name=f"{name}_conv1")(x)
    y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2")(y)
    if down:
        x = layers.AveragePooling2D(2, 2, name=f"{name}_average")(x)
        more = filters - x.shape[-1]
        if more:  # new channels begin with zeros
            x = layers.ZeroPadding2D(((0, 0), (0, more)), data_format="channels_first", name=f"{name}_channels")(x)
        smaller = x.shape[1] - y.shape[1]
        y = layers.ZeroPadding2D(((0, smaller), (0, smaller)), name=f"{name}_padding")(y) if smaller else y
    return layers.Activation("relu", name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
