"""Files of Keras weights, as arrays by the names of layers. The content decides which format a file has, not its name.

Three formats are read. The legacy HDF5 of Keras 2 (`model.save_weights("x.h5")`, or `model.save("x.h5")`, which keeps them
in the group `model_weights`) has a list of layers, and for each of them a list of its weights. The `.weights.h5` of Keras 3
is a tree of groups; each has the name of its layer. A `.keras` file is a ZIP with such an HDF5 file in it.
"""

import itertools
import re
import zipfile
import zlib
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fovea_trainers.errors import WeightsError

Array = np.ndarray[Any, Any]
MEMBER = "model.weights.h5"
"""Of a .keras file."""
FORMATS = "Keras weights are HDF5 (.h5, .weights.h5) or .keras files"
_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80\x02\x8a\x0a"
_TORCH = "it is a file of PyTorch: convert it with fovea-train convert-weights"
_OF_A_MODEL = re.compile(r"(/layers/[^/]+)+")
"""Groups of Keras 3 whose layer is one of a network, and not a part of another layer."""


_DAMAGED = (OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What h5py and zipfile say of a damaged file."""


class Nameless(Exception):
    """A file of Keras 3 in which names do not say which weights are whose; the order in which Keras saves them does."""


@dataclass(frozen=True)
class Layer:
    """The weights of a layer in the order of Keras: trainable ones first."""

    name: str
    shapes: Sequence[tuple[int, ...]]
    _path: Path
    _stored: Sequence[h5py.Dataset]

    def read(self) -> list[Array]:
        """Raises WeightsError for a damaged file, OSError for a disk that does not answer."""
        with _explained(self._path):
            return [np.asarray(dataset) for dataset in self._stored]


@contextmanager
def opened(path: Path, wanted: Container[str]) -> Iterator[list[Layer]]:
    """The layers of a file that have weights, in its order; they can be read until the end of the `with`.

    `wanted` are names of layers: what a file holds for a network within the network is taken apart, unless it has a name
    that is wanted. Raises WeightsError for a file that is none of weights, or is damaged; Nameless; OSError.
    """
    with _hdf5(path) as file:
        with _explained(path):
            layers = _layers(path, file, wanted)
        if not layers:
            raise WeightsError(f"{path} has no weights in it; {FORMATS}")
        yield layers


def keras_suffix(path: Path) -> str:
    """The suffix by which Keras itself would know the format of a file that is one of Keras 3."""
    return ".keras" if _start(path).startswith(_ZIP) else ".weights.h5"


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    start = _start(path)
    if start.startswith(_HDF5):
        with _explained(path):
            file = h5py.File(path, "r")
        with file:
            yield file
    elif start.startswith(_ZIP):
        with _explained(path):
            archive = zipfile.ZipFile(path)
            names = archive.namelist()
            if MEMBER not in names:
                is_torch = any(name.endswith("/data.pkl") for name in names)
                raise WeightsError(f"{path} has no {MEMBER} in it: {_TORCH if is_torch else FORMATS}")
            member = archive.open(MEMBER)
            file = h5py.File(member, "r")
        with archive, member, file:
            yield file
    else:
        raise WeightsError(f"{path} holds no Keras weights: {_what(start)}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What h5py and zipfile say of a damaged file, as WeightsError; an error of the surroundings stays what it is."""
    try:
        yield
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).strip("'\"").splitlines() or ["it is cut off"])[0]
        raise WeightsError(
            f"{path} cannot be read as Keras weights: {reason}; it may be cut off or damaged: upload it again"
        ) from error


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _what(start: bytes) -> str:
    """What a file is instead, by its first bytes."""
    if not start:
        return "it is empty; upload it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, and not the file itself: fetch that with `git lfs pull`"
    if start.lstrip().startswith(b"<"):
        return "it is a page of a web site, which may say why the download was refused; download it again"
    return _TORCH if start.startswith(_PICKLE) else f"it begins with {start[:8]!r}; {FORMATS}"


def _layers(path: Path, file: h5py.File, wanted: Container[str]) -> list[Layer]:
    root = file if _names(file, "layer_names") else file.get("model_weights")
    found = _of_keras_3(file) if root is None else _legacy(root, wanted)
    return [Layer(name, [stored.shape for stored in weights], path, weights) for name, weights in found if weights]


def _legacy(root: h5py.Group, wanted: Container[str]) -> Iterator[tuple[str, list[h5py.Dataset]]]:
    for name in _names(root, "layer_names"):
        group = _group(root, name)
        owners: dict[str, list[str]] = {}
        for weight in _names(group, "weight_names"):  # "block1_conv1/kernel:0", in a network in a network, too
            owners.setdefault(weight.rpartition("/")[0], []).append(weight)
        if name in wanted or len(owners) == 1:
            owners = {name: [weight for own in owners.values() for weight in own]}
        for owner, weights in owners.items():
            yield owner.rpartition("/")[2], [_dataset(group, weight) for weight in weights]


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names, which Keras cuts into numbered pieces where it is too long for one attribute."""
    numbered = (f"{attribute}{number}" for number in itertools.count())
    pieces = [attribute] if attribute in group.attrs else itertools.takewhile(group.attrs.__contains__, numbered)
    names = [name for piece in pieces for name in group.attrs[piece]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _of_keras_3(group: h5py.Group, path: str = "") -> Iterator[tuple[str, list[h5py.Dataset]]]:
    for key in group:
        child = _child(group, key)
        if (path, key) == ("", "optimizer") or key == "seed_generator" or not isinstance(child, h5py.Group):
            continue
        if key != "vars":
            yield from _of_keras_3(child, f"{path}/{key}")
        elif len(child):
            if not _OF_A_MODEL.fullmatch(path) or "name" not in child.attrs:
                raise Nameless(path)
            yield str(child.attrs["name"]), [_dataset(child, number) for number in sorted(child, key=int)]


def _group(group: h5py.Group, path: str) -> h5py.Group:
    for name in filter(None, path.split("/")):
        group = _child(group, name)
    return group


def _dataset(group: h5py.Group, path: str) -> h5py.Dataset:
    folder, _, name = path.rpartition("/")
    found = _child(_group(group, folder), name)
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise ValueError(f"{path} is no array within the file")
    return found


def _child(group: h5py.Group, name: str) -> Any:
    """Never one of another file: what a user uploads must not lead to files of the container."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link, and no part of the file")
    return group[name]
