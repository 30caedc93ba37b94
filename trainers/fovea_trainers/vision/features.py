"""Features of pictures, computed once by a network that is not trained, and kept in the folder of the cache.

`$FOVEA_CACHE_DIR/features/<key>/` holds `features.npy` (float32: what is read from it equals what the network says),
`state.npy` (which pictures it has) and `about.json` (what the key was made of). Another key follows from other data, weights,
network or size: those features are computed again, and the log says what differs. What is computed is noted every second,
so a run that ends in the middle goes on there.

The data is known by what the run knows it by (`Source.fingerprint`); the weights are known by their values.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from fovea_trainers.data import order
from fovea_trainers.data.examples import Examples, Finish
from fovea_trainers.errors import Interrupted
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.workspace import Workspace
from fovea_trainers.vision.backbones import Backbone

Array = np.ndarray[Any, Any]
FOLDER = "features"
NONE, AVERAGE, MAXIMUM = "none", "average", "max"
POOLINGS = (NONE, AVERAGE, MAXIMUM)
BATCH = 32
"""Pictures that the network sees at once."""
KEPT = 3
"""Keys in the cache: those used last, so that it does not grow with every new version of the data."""
NOTED_SECONDS = 1.0
_VALUES, _STATE, _ABOUT = "features.npy", "state.npy", "about.json"
_MISSING, _DONE, _UNREADABLE = 0, 1, 2
_FORMAT = 1


def of(
    backbone: Backbone,
    pictures: Examples,
    wanted: Array,
    session: Session,
    *,
    exif_orientation: bool,
    pooling: str = NONE,
) -> Examples:
    """The `wanted` pictures as examples whose one field is what the backbone sees in them, from the cache or computed now.

    A field has the shape [h, w, channels] of the backbone's features, or as `pooled` makes it. The values are
    memory-mapped: they need not fit into memory. Raises DataError for too many unreadable pictures, Interrupted when asked to stop.
    """
    network = network_of(backbone, pooling)
    shape = tuple(network(tf.zeros([1, backbone.size, backbone.size, 3])).shape[1:])
    made_of = {
        "data": pictures.fingerprint,
        "pictures": len(pictures.files),
        "backbone": backbone.name,
        "weights": _digest(backbone),
        "size": backbone.size,
        "exif_orientation": exif_orientation,
        "pooling": pooling,
    }
    kept = _kept(session.workspace, made_of, (len(pictures.files), *shape), pictures, wanted)
    todo = [numbers for numbers in order.cut(np.sort(wanted), BATCH) if kept.lacks(numbers)]
    if todo:
        _compute(network, pictures, todo, kept, session)
        session.workspace.cache_is_whole()
    else:
        say(f"features of {len(wanted)} pictures are in the cache")
    return replace(pictures, held=(kept.values,), shapes=(shape,))


def _kept(
    workspace: Workspace, made_of: Mapping[str, Any], shape: tuple[int, ...], pictures: Examples, wanted: Array
) -> "_Kept":
    """The cache that is only read, where that has all wanted pictures; else the one that this process writes."""
    if workspace.read_only_cache is not None:
        given = _Kept.found(workspace.read_only_cache / FOLDER, made_of, shape)
        if given is not None and not given.lacks(wanted):
            given.look_again(pictures, wanted)
            if not given.lacks(wanted):
                return given
    workspace.cache_changes()
    kept = _Kept.opened(workspace.cache / FOLDER, made_of, shape)
    kept.look_again(pictures, wanted)
    return kept


def network_of(backbone: Backbone, pooling: str = NONE) -> Any:
    """Images float32 [n, size, size, 3] in 0..255 -> their features, as `of` has them; a graph of its own."""

    @traced(tf.TensorSpec([None, backbone.size, backbone.size, 3], tf.float32))
    def network(images: tf.Tensor) -> tf.Tensor:
        return pooled(backbone.features(images), pooling)

    return network


def pooled(features: tf.Tensor, pooling: str) -> tf.Tensor:
    """Of [n, h, w, channels] the mean or the greatest value of each channel [n, channels]; or all of it."""
    if pooling == AVERAGE:
        return tf.reduce_mean(features, axis=[1, 2])
    if pooling == MAXIMUM:
        return tf.reduce_max(features, axis=[1, 2])
    return features


def _compute(network: Any, pictures: Examples, todo: list[Array], kept: "_Kept", session: Session) -> None:
    count = sum(map(len, todo))
    say(f"computing the features of {count} pictures into {kept.folder}")
    done, noted = 0, time.monotonic()
    session.interruption.saves = True
    try:
        read = pictures.batches((numbers, _whole(len(numbers), pictures.shapes[0])) for numbers in todo)
        for numbers, (images, readable) in zip(todo, read, strict=True):
            kept.put(numbers, network(images).numpy(), readable)
            done += len(numbers)
            session.reporter.prepare("features", done, count)
            if session.interruption.requested:
                raise Interrupted(
                    f"asked to stop; the features of {done} more pictures are kept in {kept.folder}, the same command goes on there"
                )
            if time.monotonic() - noted >= NOTED_SECONDS:
                kept.note()
                noted = time.monotonic()
    finally:
        kept.note()
        session.interruption.saves = False


def _whole(count: int, shape: tuple[int, ...]) -> Finish:
    """Batches of one size, with zeros for what cannot be read: on some processors the size decides on the last bits."""

    def finish(readable: Array, pixels: Array) -> tuple[Any, ...]:
        images = np.zeros((count, *shape), np.float32)
        images[readable] = pixels
        return tf.constant(images), readable

    return finish


def _digest(backbone: Backbone) -> str:
    state = hashlib.sha256()
    for weight in backbone.model.weights:  # no seeds of dropout among them, which follow from --seed
        state.update(np.ascontiguousarray(weight.numpy()).data)
    return f"sha256:{state.hexdigest()}"


@dataclass(frozen=True)
class _Kept:
    """The features with one key."""

    folder: Path
    values: "np.memmap[Any, Any]"
    """float32 [pictures, …]. Written through the file, where a full disk is an error and no signal."""
    state: Array
    """uint8 [pictures]"""

    @classmethod
    def found(cls, root: Path, made_of: Mapping[str, Any], shape: tuple[int, ...]) -> Self | None:
        """Those that are there, undamaged; nothing is changed."""
        folder = root / _key(made_of)
        return None if not folder.exists() or _damage(folder, shape) else cls._of(folder)

    @classmethod
    def _of(cls, folder: Path) -> Self:
        return cls(folder, np.load(folder / _VALUES, mmap_mode="r"), np.load(folder / _STATE))

    @classmethod
    def opened(cls, root: Path, made_of: Mapping[str, Any], shape: tuple[int, ...]) -> Self:
        """Those that are there; an empty store where there are none, or damaged ones. Drops the keys used longest ago."""
        folder = root / _key(made_of)
        if folder.exists() and (damage := _damage(folder, shape)):
            say(f"the features in {folder} are computed once more: {damage}")
            shutil.rmtree(folder)
        if not folder.exists():
            if why := _differences(root, made_of):
                say(why)
            _make(folder, made_of, shape)
        (folder / _ABOUT).touch()
        for old in sorted(_keys(root), key=lambda path: (path / _ABOUT).stat().st_mtime_ns)[:-KEPT]:
            say(f"removing the features that were not used for the longest time: {old}")
            shutil.rmtree(old)
        return cls._of(folder)

    def look_again(self, pictures: Examples, wanted: Array) -> None:
        """Pictures that could not be read before are left out, unless they can be read now. Raises DataError for too many."""
        for number in wanted[self.state[wanted] == _UNREADABLE].tolist():
            example, problem = pictures.read(number)
            if example is None:
                pictures.leave_out({number: problem})
            else:
                self.state[number] = _MISSING

    def lacks(self, numbers: Array) -> bool:
        """Whether one of these pictures is still to be computed."""
        return bool((self.state[numbers] == _MISSING).any())

    def put(self, numbers: Array, features: Array, readable: Array) -> None:
        """The features of a batch; what was there before stays. `note` makes them count."""
        missing = self.state[numbers] == _MISSING
        with (self.folder / _VALUES).open("r+b") as file:
            for number, values in zip(numbers[missing & readable].tolist(), features[missing & readable], strict=True):
                file.seek(self.values.offset + number * values.nbytes)
                file.write(values.tobytes())
        self.state[numbers[missing]] = np.where(readable[missing], _DONE, _UNREADABLE)

    def note(self) -> None:
        """From now on a run that ends here goes on here."""
        with (self.folder / _VALUES).open("r+b") as file:
            os.fsync(file.fileno())
        staging = self.folder / f".{_STATE}"
        with staging.open("wb") as file:
            np.save(file, self.state)
        staging.rename(self.folder / _STATE)


def _make(folder: Path, made_of: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    """An empty store, which appears by rename. The file takes room on the disk as it is filled."""
    staging = folder.with_name(f".{folder.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    np.lib.format.open_memmap(staging / _VALUES, mode="w+", dtype=np.float32, shape=shape).flush()
    np.save(staging / _STATE, np.full(shape[0], _MISSING, np.uint8))
    (staging / _ABOUT).write_text(json.dumps({"format": _FORMAT, "made_of": made_of}, indent=1), encoding="utf-8")
    staging.rename(folder)


def _key(made_of: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _keys(root: Path) -> list[Path]:
    return [path.parent for path in root.glob(f"[!.]*/{_ABOUT}")]


def _damage(folder: Path, shape: tuple[int, ...]) -> str:
    """What is wrong with a store; empty for a good one."""
    try:
        found = np.load(folder / _VALUES, mmap_mode="r").shape, np.load(folder / _STATE).shape
    except (OSError, ValueError, EOFError) as error:
        return f"they are damaged ({error})"
    return "" if found == (shape, shape[:1]) else f"their shapes are {found}, and not {shape}"


def _differences(root: Path, made_of: Mapping[str, Any]) -> str:
    """In which way the features that are there are none of these: those that differ least count."""
    differing: list[list[str]] = []
    for folder in _keys(root):
        theirs = json.loads((folder / _ABOUT).read_text(encoding="utf-8")).get("made_of", {})
        differing.append([name for name in made_of if theirs.get(name) != made_of[name]])
    if not differing:
        return ""
    least = sorted(differing, key=len)[0]
    names = ", ".join(least).replace("_", " ")
    return f"the features in {root} cannot be used, they were made with other {names}"
