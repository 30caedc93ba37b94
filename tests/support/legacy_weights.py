"""Files of weights as Keras 2 wrote them, which Keras 3 cannot write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Content = Mapping[str, Mapping[str, Any]]
"""The weights of each layer by name."""


def write_legacy(
    path: Path, content: Content, group: str | None = None, name_of: str = "{layer}/{weight}:0", pieces: int = 1
) -> Path:
    """A file as Keras 2 wrote it: attributes with the names of layers and weights, a group for each layer."""
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        names = np.array([layer.encode() for layer in content])
        if pieces == 1:
            root.attrs["layer_names"] = names
        else:
            for number, piece in enumerate(np.array_split(names, pieces)):
                root.attrs[f"layer_names{number}"] = piece
        root.attrs["backend"], root.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for layer, weights in content.items():
            own = root.create_group(layer)
            paths = [name_of.format(layer=layer, weight=weight) for weight in weights]
            own.attrs["weight_names"] = np.array([each.encode() for each in paths])
            for each, value in zip(paths, weights.values(), strict=True):
                own.create_dataset(each, data=value)
    return path


def legacy_content(model: Any) -> Content:
    """All weights of a network's layers."""
    return {
        layer.name: {weight.name: weight.numpy() for weight in layer.trainable_weights + layer.non_trainable_weights}
        for layer in model.layers
    }
