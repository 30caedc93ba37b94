"""Pretrained weights: a file's weights into a network, layer by layer, with an error for whatever does not fit.

Layers are matched by name. Names that Keras makes up (`conv2d_7`) depend on how many layers a program has made before, so
they are matched in the order of their numbers, which is the order in which a network's layers were made.

Load before the loop restores a checkpoint (`loop.train`): what was trained since then wins.
"""

import hashlib
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from fovea_trainers.errors import WeightsError
from fovea_trainers.runtime import weight_files
from fovea_trainers.runtime.progress import say

_NUMBER = re.compile(r"_(\d+)$")
_SHOWN = 4
"""Names of a long list that a message has."""


@dataclass(frozen=True)
class Loaded:
    """What a network got from a file; everything is empty where there is none."""

    digest: str = ""
    """sha256 of the file: for `identity`, so that a run with other weights does not go on from this one's checkpoints."""
    layers: Sequence[str] = field(default_factory=tuple)
    """Names of the network's layers that have the file's weights."""
    missing: Sequence[str] = field(default_factory=tuple)
    """Those of the network's layers with weights that the file does not have: they keep what they had."""
    unused: Sequence[str] = field(default_factory=tuple)
    """Names of the file's layers that the network does not have, as a top that was left out."""

    def about(self) -> dict[str, Any] | None:
        """For evaluation.json."""
        return {"digest": self.digest, "layers": len(self.layers)} if self.digest else None


def load(model: keras.Model, path: Path | None, *, frozen: bool = False) -> Loaded:
    """Give a network, or a network within one, the weights of a file (`Workspace.weights`); without a file, do nothing.

    Writes to the log what was loaded, and which layers of the network or of the file were left alone. Raises WeightsError
    for a file that holds no weights, has none for this network, or has some of another shape. Nothing is changed then.
    Of a network that is `frozen`, since it is not trained, the file must have every layer: others would stay at random.
    """
    if path is None:
        return Loaded()
    layers = _with_weights(model)
    generated = {name for name, layer in layers.items() if _is_generated(layer)}
    try:
        with weight_files.opened(path, wanted=layers) as stored:
            pairs = _pairs(path, layers, generated, stored)
            for name, source in pairs.items():
                _require_shapes(path, name, _weights(layers[name]), source)
            if frozen:
                _require_all(path, layers, pairs)
            for name, source in pairs.items():
                _assign(layers[name], source)
        given = tuple(pairs)
        used = {source.name for source in pairs.values()}
        unused = tuple(source.name for source in stored if source.name not in used)
    except weight_files.Nameless:
        _load_by_order(model, path)
        given, unused = tuple(layers), ()
    loaded = Loaded(_digest(path), given, tuple(name for name in layers if name not in given), unused)
    _report(path, loaded)
    return loaded


def _with_weights(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Layers that have weights, by name; those of networks within the network in the place of these."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in model.layers:
        inner = _with_weights(layer) if isinstance(layer, keras.Model) else {layer.name: layer} if layer.weights else {}
        for name, each in inner.items():
            if found.setdefault(name, each) is not each:
                raise ValueError(f"two layers of network {model.name} are named {name}: give them names of their own")
    return found


def _is_generated(layer: keras.layers.Layer) -> bool:
    """Whether Keras made up a layer's name of its class: Conv2D is conv2d, conv2d_1, …"""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", type(layer).__name__))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower() == _stem(layer.name)


def _pairs(
    path: Path, layers: Collection[str], generated: Collection[str], stored: Sequence[weight_files.Layer]
) -> Mapping[str, weight_files.Layer]:
    """Which of the file's layers has the weights of which of the network's."""
    sources = {source.name: source for source in stored}
    pairs = {name: sources[name] for name in layers if name in sources and name not in generated}
    for stem in dict.fromkeys(_stem(name) for name in layers if name in generated):
        ours = sorted((name for name in layers if name in generated and _stem(name) == stem), key=_rank)
        theirs = sorted((name for name in sources if _stem(name) == stem and name not in pairs), key=_rank)
        pairs |= {name: sources[source] for name, source in zip(ours, theirs, strict=False)}
    if not pairs:
        raise WeightsError(
            f"{path} has weights for none of the network's layers: it has {_some(list(sources))}, and the network has "
            f"{_some(layers)}; give the weights of this network, under the names of its layers"
        )
    if len(sources) < len(stored):
        twice = sorted({one.name for one in stored if one is not sources[one.name] and one.name in layers})
        if twice:
            raise WeightsError(f"{path} has two layers that are named {_some(twice)}: name each layer once")
    return {name: pairs[name] for name in layers if name in pairs}


def _require_all(path: Path, layers: Collection[str], pairs: Collection[str]) -> None:
    if missing := [name for name in layers if name not in pairs]:
        raise WeightsError(
            f"{path} has no weights for {len(missing)} of {len(layers)} layers that are not trained: {_some(missing)}; give the "
            "weights of this network: the file may be of a smaller one of the same family"
        )


def _stem(name: str) -> str:
    return _NUMBER.sub("", name)


def _rank(name: str) -> int:
    """Keras 2 began with conv2d_1, now the first one is conv2d."""
    number = _NUMBER.search(name)
    return int(number[1]) if number else 0


def _weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """In the order of all three formats."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _require_shapes(path: Path, name: str, ours: Sequence[keras.Variable], source: weight_files.Layer) -> None:
    shapes = [tuple(weight.shape) for weight in ours]
    if shapes != list(source.shapes):
        raise WeightsError(
            f"{path} does not fit layer {name}: its weights have the shapes {_shapes(shapes)}, in the file "
            f"{_shapes(source.shapes)}; give the weights of a network of the same sizes"
            + (f" (the file calls the layer {source.name})" if source.name != name else "")
        )


def _assign(layer: keras.layers.Layer, source: weight_files.Layer) -> None:
    for weight, value in zip(_weights(layer), source.read(), strict=True):
        weight.assign(value)
    if hasattr(layer, "finalize_state"):  # of Normalization, which computes with what it makes of its weights
        layer.finalize_state()


def _load_by_order(model: keras.Model, path: Path) -> None:
    """By Keras itself, which goes by the places of the layers: the network must be the one that was saved."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{weight_files.keras_suffix(path)}"
        link.symlink_to(path.absolute())
        try:
            model.load_weights(link)
        except (ValueError, KeyError) as error:
            raise WeightsError(
                f"{path} does not fit the network: {str(error).strip().splitlines()[0]} The file does not name its layers, "
                "so it must be of exactly this network: save it with a newer Keras, or as .h5"
            ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _report(path: Path, loaded: Loaded) -> None:
    say(f"pretrained weights: {len(loaded.layers)} layers have those of {path}")
    if loaded.missing:
        say(f"not in the file, so they begin at random: {_some(loaded.missing)}")
    if loaded.unused:
        say(f"in the file, but not in this network: {_some(loaded.unused)}")


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join("×".join(map(str, shape)) or "1" for shape in shapes)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more layers"
