"""Labelled pictures in a folder: the layouts that are understood, and a split that depends on names and seed only.

1. Class folders: `<class>/*.jpg`.
2. Flat names as Kaggle's: `cat.0.jpg`.
3. Already split: `train/`, `validation/` (or `val/`, `valid/`) and `test/`, in any case of letters, each as 1 or 2.

Shards of pictures are a layout of their own (`image_shards`). A listing of a million files holds arrays: no object for each file, and no file is decoded.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fovea_api.contract.picture_names import FLAT_NAME, FOLDERS, TEST, TRAIN, VALIDATION

from fovea_trainers.data import split as sets
from fovea_trainers.data.files import Files, Found, look, walk
from fovea_trainers.errors import DataError
from fovea_trainers.vision import formats

Array = np.ndarray[Any, Any]
PARTS = ("", TRAIN, VALIDATION, TEST)
"""The set that a picture's folder puts it into; "" leaves it to the split. A listing holds indices into this."""
_EXPECTED = "expected one folder per class (cats/1.jpg, dogs/1.jpg), or flat names (cat.0.jpg, dog.0.jpg)"


@dataclass(frozen=True)
class Listing(Files):
    """What a folder holds; the pictures of a class in the order of their paths."""

    labels: Array
    """int32 [n]: class numbers."""
    parts: Array
    """int8 [n]: indices into PARTS."""
    classes: tuple[str, ...]
    """Names in the order of the class numbers."""
    ignored: tuple[str, ...]
    """Paths below `root` of files that are no pictures or have no label, and of folders beside a ready-made split."""

    def draws(self, seed: int, check: Callable[[], None]) -> Array:
        """uint64 [n]: by the seed and the name of each picture, which decides about its place in a split."""
        prefixes = [f"{name}/".encode() for name in self.classes]
        named = zip(self.paths, self.labels, strict=True)
        return sets.draws(seed, (prefixes[label] + path.rpartition(b"/")[2] for path, label in named), check)

    def left_out(self, asked: str = "") -> str:
        """How many files are ignored and of which suffixes, for the log; empty when there are none.

        Those of the folder `asked`, a path below `root`, have a use of their own.
        """
        ignored = [name for name in self.ignored if not asked or not f"{name}/".startswith(f"{asked.rstrip('/')}/")]
        if not ignored:
            return ""
        what = f"{len(ignored)} files or folders that hold no labelled pictures ({by_suffix(ignored)}): {some(ignored)}"
        pictures = any(formats.suffix(name) in formats.SUFFIXES for name in ignored)
        return f"ignored {what}" + (
            "; --unlabelled=FOLDER asks the trained model about such pictures" if pictures else ""
        )


def scan(root: Path, check: Callable[[], None] = lambda: None) -> Listing:
    """List a folder; raises DataError when it cannot be a training set for a classifier.

    `check` is called often, and may raise to give up.
    """
    if root.is_file():
        raise DataError(f"data {root} is a file, not a folder of pictures: unpack an archive, and upload the folder")
    if not root.is_dir():
        raise DataError(f"data folder {root} does not exist; give --data=DIR")
    try:
        return _scan(root, check)
    except PermissionError as error:
        name = os.fsdecode(error.filename or root)
        raise DataError(
            f"data folder {root}: {name} cannot be opened ({error.strerror}), and what is in it would be missed: make it "
            f"readable (chmod -R a+rX), or move it out of {root}"
        ) from error


def _scan(root: Path, check: Callable[[], None]) -> Listing:
    below, loose = look(root, check)
    folders = _parts(root, below) or {"": root}
    found = {part: _labelled(folder, check) for part, folder in folders.items()}
    left = [] if "" in folders else [path.name for path in below if path not in folders.values()]
    beside = sorted([*left, *loose]) if "" not in folders else []
    classes = tuple(sorted({label for labelled in found.values() for label in labelled.classes}))
    for name in classes:
        if not _is_utf8(name):
            raise DataError(f"data folder {root}: the name of class {name!r} is not UTF-8; rename the folder")
    listing = _joined(root, folders, found, classes, tuple(beside))
    training = TRAIN if TRAIN in folders else ""
    if empty := found[training].empty:
        raise DataError(_empty_classes(folders[training], empty))
    _check(listing, folders[training], beside=left)
    return listing


def split(
    listing: Listing,
    *,
    validation_ratio: float,
    test_ratio: float,
    seed: int,
    limit: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Array]:
    """Indices of the pictures of each set, the same share of every class; sets given by folders stay as they are.

    A picture's place is decided by a hash of its name: adding others hardly moves it. At least one picture of each
    class is left for training. With a `limit`, that many pictures are divided, and the others of the training folder belong
    to no set. `check` as in `scan`.
    """
    given = {part: np.flatnonzero(listing.parts == PARTS.index(part)) for part in (VALIDATION, TEST)}
    ratios = [
        0.0 if len(given[part]) else ratio for part, ratio in ((VALIDATION, validation_ratio), (TEST, test_ratio))
    ]
    drawn = limit is not None or any(ratios)
    draws = listing.draws(seed, check) if drawn else np.zeros(len(listing), np.uint64)
    undecided = by_class(listing, np.flatnonzero(listing.parts <= PARTS.index(TRAIN)))
    used = _shares([len(pictures) for pictures in undecided], limit)
    *chosen, train = sets.divide(undecided, draws, ratios, used=used, check=check)
    return {part: given[part] if len(given[part]) else own for part, own in zip(given, chosen, strict=True)} | {
        TRAIN: train
    }


def by_class(listing: Listing, indices: Array) -> list[Array]:
    """Those of the pictures with these indices that belong to each class, in the order of `indices`."""
    order = np.argsort(listing.labels[indices], kind="stable")  # once, however many classes there are
    bounds = np.searchsorted(listing.labels[indices][order], np.arange(1, len(listing.classes)))
    return np.split(indices[order], bounds)


def some(paths: Iterable[Path | str], limit: int = 5) -> str:
    """The first few of many names, for a message."""
    names = [str(path) for path in paths]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def by_suffix(names: Iterable[str]) -> str:
    """How many names have which suffix, the most frequent first, for a message."""
    counts = Counter(formats.suffix(name) or "without suffix" for name in names)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _shares(sizes: list[int], limit: int | None) -> list[int]:
    """How many pictures of each class are used: the same share of each, `limit` together; of each at least one."""
    whole = sum(sizes)
    if limit is None or limit >= whole:
        return sizes
    shares = [limit * size // whole for size in sizes]
    by_rest = sorted(range(len(sizes)), key=lambda label: -(limit * sizes[label] % whole))
    for label in by_rest[: limit - sum(shares)]:
        shares[label] += 1
    return [max(share, 1) for share in shares]


@dataclass(frozen=True)
class _Labelled:
    """The pictures of one set: per class its files, in the order of their paths below the set's folder."""

    classes: dict[str, Found]
    ignored: list[str]
    empty: dict[str, list[str]]
    """Class folders without a picture, and what is in them instead."""


def _joined(
    root: Path, folders: dict[str, Path], found: dict[str, _Labelled], classes: tuple[str, ...], beside: tuple[str, ...]
) -> Listing:
    paths: list[bytes] = []
    sizes, labels, parts = ([np.zeros(0, kind)] for kind in (np.int64, np.int32, np.int8))
    ignored: list[str] = []
    numbers = {label: number for number, label in enumerate(classes)}
    for part, labelled in found.items():
        prefix = "" if folders[part] == root else f"{folders[part].name}/"
        start = os.fsencode(prefix)
        for label, files in sorted(labelled.classes.items()):
            order = sorted(range(len(files.paths)), key=files.paths.__getitem__)
            paths += [start + files.paths[i] for i in order]
            sizes.append(np.array(files.sizes, np.int64)[order])
            labels.append(np.full(len(order), numbers[label], np.int32))
            parts.append(np.full(len(order), PARTS.index(part), np.int8))
        ignored += [prefix + name for name in labelled.ignored]
    array = np.empty(len(paths), object)
    array[:] = paths
    columns = [np.concatenate(column) for column in (sizes, labels, parts)]
    return Listing(root, array, columns[0], columns[1], columns[2], classes, (*ignored, *beside))


def _parts(root: Path, folders: Sequence[Path]) -> dict[str, Path]:
    """Folder of each set of a ready-made split; {} when there is none."""
    parts = {}
    for part, names in FOLDERS.items():
        if matching := [folder for folder in folders if folder.name.lower() in names]:
            parts[part] = min(matching, key=lambda folder: names.index(folder.name.lower()))
    if parts and TRAIN not in parts:
        raise DataError(
            f"data folder {root} holds {some(folder.name for folder in parts.values())} but no folder named {TRAIN}: "
            f"put the training pictures into {root}/{TRAIN}; or, if these are classes, rename their folders"
        )
    return parts


def _labelled(folder: Path, check: Callable[[], None]) -> _Labelled:
    """The pictures of one set's folder: in class folders, else with flat names."""
    below = {path.name: walk(path, f"{path.name}/", formats.is_picture, check) for path in look(folder, check)[0]}
    loose = walk(folder, "", formats.is_picture, check, deep=False)
    classes = {name: files for name, files in below.items() if files.paths}
    ignored = [name for files in below.values() for name in files.others] + loose.others
    if classes:
        ignored += [os.fsdecode(path) for path in loose.paths]
        empty = {name: files.others for name, files in below.items() if name not in classes}
        return _Labelled(classes, sorted(ignored), empty)
    for path, size in zip(loose.paths, loose.sizes, strict=True):
        name = os.fsdecode(path)
        if match := FLAT_NAME.fullmatch(name):
            files = classes.setdefault(match["label"], Found())
            files.paths.append(path)
            files.sizes.append(size)
        else:
            ignored.append(name)
    return _Labelled(classes, sorted(ignored), {})


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _empty_classes(training: Path, empty: dict[str, list[str]]) -> str:
    what = [f"{name} ({by_suffix(others) if others else 'empty'})" for name, others in empty.items()]
    return (
        f"data folder {training}: no picture of class {some(what)} can be read: formats are {formats.DECODED}; convert "
        f"the pictures, or move a folder that is no class out of {training}"
    )


def _check(listing: Listing, training: Path, *, beside: Sequence[str]) -> None:
    root, classes = listing.root, listing.classes
    unread = f"; {some(beside)} beside it are not read: if {training.name} is a class as well, rename its folder"
    hint = unread if beside else ""
    if not len(listing):
        names = some(listing.ignored)
        what = f"holds no labelled pictures (found: {names})" if names else "is empty"
        raise DataError(f"data folder {training} {what}: {_EXPECTED}; formats are {formats.DECODED}{hint}")
    trained = {classes[i] for i in np.unique(listing.labels[listing.parts <= PARTS.index(TRAIN)])}
    if len(trained) < 2:
        below = [path.split(b"/") for path in listing.paths[:10_000]]
        nested = sorted({parts[1].decode(errors="replace") for parts in below if len(parts) > 2})
        if training == root and len(nested) > 1:
            hint = f"; did you mean --data={root / classes[0]}, with {some(nested)}?"
        what = f"has the single class {some(sorted(trained))}" if trained else "has no class"
        raise DataError(f"data folder {training} {what}: {_EXPECTED}{hint}")
    if untrained := sorted(set(classes) - trained):
        raise DataError(
            f"data folder {root}: class {some(untrained)} is in validation or test but not in {training.name}; "
            f"add pictures to {training}/{untrained[0]}, or remove the class from the other sets"
        )
