"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6, for pictures of 224 × 224 pixels.

4,652,008 trainable parameters with the classifier of ImageNet's 1,000 classes. Layers have the names of Keras'
EfficientNetB0. Every convolution pads as TensorFlow's "same" does, more at the end than at the beginning where the stride
is 2; so does the PyTorch network that the published weights come from.
"""

import keras
import tensorflow as tf
from keras import layers

BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Of each stage: repeats, width of the kernel, stride of the first, factor of the expansion, filters."""
STEM, HEAD = 32, 1280
"""Filters before and after the blocks, whatever the width of the network."""


def efficientnet_lite0(size: int = 224, *, include_top: bool = True, classes: int = 1000) -> keras.Model:
    """Pictures [n, size, size, 3] as `prepare` gives them -> logits [n, classes], or features [n, ⌈size/32⌉, ⌈size/32⌉, 1280]."""
    images = layers.Input((size, size, 3))
    x = _convolution(images, STEM, 3, 2, "stem_conv", "stem_bn", "stem_activation")
    names = iter(names_of_blocks())
    for repeats, kernel, stride, expansion, filters in BLOCKS:
        for number in range(repeats):
            x = _block(x, kernel, 1 if number else stride, expansion, filters, next(names))
    x = _convolution(x, HEAD, 1, 1, "top_conv", "top_bn", "top_activation")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(0.2, name="top_dropout")(x)
        x = layers.Dense(classes, name="predictions")(x)
    return keras.Model(images, x, name="efficientnet_lite0")


def names_of_blocks() -> list[str]:
    """How the names of each block's layers begin, from the first block to the last: block1a_, block2a_, block2b_, …"""
    return [f"block{stage}{'abcd'[i]}_" for stage, (repeats, *_) in enumerate(BLOCKS, start=1) for i in range(repeats)]


def prepare(images: tf.Tensor) -> tf.Tensor:
    """Pictures in 0..255 -> as the published weights know them."""
    return (images - 127.0) / 128.0


def _block(x: tf.Tensor, kernel: int, stride: int, expansion: int, filters: int, name: str) -> tf.Tensor:
    """Expand the channels, look around in each of them, and project them to fewer; with a short cut where sizes allow it."""
    given = x
    if expansion > 1:
        wide = expansion * x.shape[-1]
        x = _convolution(x, wide, 1, 1, f"{name}expand_conv", f"{name}expand_bn", f"{name}expand_activation")
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}dwconv")(x)
    x = _normalized(x, f"{name}bn", f"{name}activation")
    x = _convolution(x, filters, 1, 1, f"{name}project_conv", f"{name}project_bn")
    return layers.Add(name=f"{name}add")([x, given]) if stride == 1 and given.shape[-1] == filters else x


def _convolution(
    x: tf.Tensor, filters: int, kernel: int, stride: int, name: str, normalization: str, activation: str = ""
) -> tf.Tensor:
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _normalized(x, normalization, activation)


def _normalized(x: tf.Tensor, name: str, activation: str = "") -> tf.Tensor:
    x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
    return layers.ReLU(6, name=activation)(x) if activation else x
