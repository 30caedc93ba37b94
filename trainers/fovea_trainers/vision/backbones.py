"""Published convolutional networks without their classifier, by name: pictures to features [n, height, width, channels].

A name is that of the class in `keras.applications` in small letters: vgg16, inceptionv3, mobilenetv2; efficientnet-lite0 is
defined here. Only what builds a network imports Keras, so that a recipe's flags may name them without it. Weights are never
fetched: a network is built with random ones, and a file of weights is read into `Backbone.model`, whose layers have the
published names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea_trainers.errors import FlagError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_FAMILIES = {
    "convnext": "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge",
    "densenet": "DenseNet121 DenseNet169 DenseNet201",
    "efficientnet": " ".join(f"EfficientNetB{i}" for i in range(8)),
    "efficientnet_v2": "EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2S "
    "EfficientNetV2M EfficientNetV2L",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3": "MobileNetV3Small MobileNetV3Large",
    "nasnet": "NASNetMobile NASNetLarge",
    "resnet": "ResNet50 ResNet101 ResNet152",
    "resnet_v2": "ResNet50V2 ResNet101V2 ResNet152V2",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "xception": "Xception",
}
"""Classes of `keras.applications` by the module that has the `preprocess_input` of their weights."""
_OF_KERAS = {name.lower(): (family, name) for family, names in _FAMILIES.items() for name in names.split()}
_SMALLEST = {"inception_resnet_v2": 75, "inception_v3": 75, "xception": 71}
"""Least width and height of a picture, where it is not that of the others."""
_SMALLEST_OF_OTHERS = 32

LITE0 = "efficientnet-lite0"
NAMES = tuple(sorted([*_OF_KERAS, LITE0]))
"""What `build` knows."""


@dataclass(frozen=True)
class Backbone:
    """A network for pictures of one size."""

    name: str
    size: int
    model: keras.Model
    """What `prepare` gives -> features [n, height, width, channels]."""
    prepare: Callable[[tf.Tensor], tf.Tensor]
    """float32 [n, size, size, 3] in 0..255 -> the same pictures as the weights were trained with."""

    def features(self, images: tf.Tensor, *, training: bool | None = False) -> tf.Tensor:
        """Of images in 0..255. `training=False`: normalization by the statistics of the weights, no dropout.

        None, where a network is built: as the whole network is called.
        """
        return self.model(self.prepare(images), training=training)


def build(name: str, size: int) -> Backbone:
    """A network with random weights for pictures of `size` × `size` pixels; call it in the strategy's scope.

    Raises FlagError for an unknown name, or a size that is too small for the network.
    """
    if name not in NAMES:
        raise FlagError(f"unknown backbone {name}: one of {', '.join(NAMES)}")
    family, constructor = _OF_KERAS.get(name, (name, ""))
    if size < (smallest := _SMALLEST.get(family, _SMALLEST_OF_OTHERS)):
        raise FlagError(f"--image-size={size} is too small for backbone {name}: it must be at least {smallest}")
    if name == LITE0:
        from fovea_trainers.vision import efficientnet_lite

        network = efficientnet_lite.efficientnet_lite0(size, include_top=False)
        return Backbone(name, size, network, efficientnet_lite.prepare)
    applications = importlib.import_module("keras.applications")
    model = getattr(applications, constructor)(weights=None, include_top=False, input_shape=(size, size, 3))
    of_family = getattr(applications, family).preprocess_input
    prepare = _scaled_for_efficientnet if family == "efficientnet" else of_family
    return Backbone(name, size, model, prepare)


def freeze(backbone: Backbone, *, but_last: int) -> list[str]:
    """Train nothing but the last layers that have weights, `but_last` of them; returns the names of those that are trained.

    Normalization among them stays as it is, and goes by the statistics of the weights: those of a few small batches would
    spoil what the layers above have learnt. (Keras overrules `training=False` for a network within another one.)
    """
    import keras

    weighted = [layer for layer in backbone.model.layers if layer.weights]
    trained = weighted[max(len(weighted) - but_last, 0) :]
    for layer in backbone.model.layers:
        layer.trainable = layer in trained and not isinstance(layer, keras.layers.BatchNormalization)
    return [layer.name for layer in trained if layer.trainable]


def _scaled_for_efficientnet(images: tf.Tensor) -> tf.Tensor:
    """What Keras puts into the network itself, behind its normalization, only where it fetches the weights from its site.

    The published weights want each channel divided by √deviation as well; around the mean this can be done before.
    """
    from keras import ops

    mean = ops.convert_to_tensor([255 * channel for channel in (0.485, 0.456, 0.406)], "float32")
    root = ops.convert_to_tensor([deviation**0.5 for deviation in (0.229, 0.224, 0.225)], "float32")
    return (images - mean) / root + mean
