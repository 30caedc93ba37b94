"""Labelled pictures in a folder: the layouts that are understood, and a split that depends on names and seed only.

1. Class folders: `<class>/*.jpg`.
2. Flat names as Kaggle's: `cat.0.jpg`.
3. Already split: `train/`, `validation/` (or `val/`, `valid/`) and `test/`, in any case of letters, each as 1 or 2.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fovea_trainers.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif"})
TRAIN, VALIDATION, TEST = "train", "validation", "test"
_ALIASES = {TRAIN: ("train", "training"), VALIDATION: ("validation", "valid", "val"), TEST: ("test", "testing")}
_FLAT_NAME = re.compile(r"(?P<label>[^.]+)\.\d+\.[^.]+")
_EXPECTED = "expected one folder per class (cats/1.jpg, dogs/1.jpg), or flat names (cat.0.jpg, dog.0.jpg)"


@dataclass(frozen=True)
class Picture:
    """One labelled file. `part` is the set it was put into by its folder, or empty where that is left to the split."""

    path: Path
    label: str
    part: str = ""


@dataclass(frozen=True)
class Listing:
    """What a folder holds, sorted by path."""

    root: Path
    pictures: tuple[Picture, ...]
    ignored: tuple[Path, ...]
    """Files that are no pictures or have no label, and what lies beside the folders of a ready-made split."""

    @property
    def classes(self) -> list[str]:
        """Names in the order of the class numbers."""
        return sorted({picture.label for picture in self.pictures})


def scan(root: Path) -> Listing:
    """List a folder; raises DataError when it cannot be a training set for a classifier."""
    if root.is_file():
        raise DataError(f"data {root} is a file, not a folder of pictures: unpack an archive, and upload the folder")
    if not root.is_dir():
        raise DataError(f"data folder {root} does not exist; give --data=DIR")
    folders = _parts(root) or {"": root}
    found = [(part, *_labelled(folder)) for part, folder in folders.items()]
    pictures = tuple(Picture(path, label, part) for part, labelled, _ in found for path, label in labelled)
    beside = [] if "" in folders else [path for path in _visible(root) if path not in folders.values()]
    ignored = (*(path for _, _, rest in found for path in rest), *beside)
    listing = Listing(root, pictures, ignored)
    _check(listing, folders.get(TRAIN, root), beside=[path.name for path in beside if path.is_dir()])
    return listing


def split(
    pictures: Sequence[Picture], *, validation_ratio: float, test_ratio: float, seed: int
) -> dict[str, list[int]]:
    """Indices of the pictures of each set, the same share of every class; sets given by folders stay as they are.

    A picture's place is decided by a hash of its name: adding others hardly moves it. At least one picture of each
    class is left for training.
    """
    sets: dict[str, list[int]] = {TRAIN: [], VALIDATION: [], TEST: []}
    given = {picture.part for picture in pictures}
    ratios = {VALIDATION: validation_ratio, TEST: test_ratio}
    open_by_class: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        if picture.part in (VALIDATION, TEST):
            sets[picture.part].append(index)
        else:
            open_by_class.setdefault(picture.label, []).append(index)
    for indices in open_by_class.values():
        rest = sorted(indices, key=lambda i: _draw(pictures[i], seed))
        size = len(rest)
        for part, ratio in ratios.items():
            count = 0 if part in given else min(round(size * ratio), len(rest) - 1)
            sets[part] += rest[:count]
            rest = rest[count:]
        sets[TRAIN] += rest
    return {part: sorted(indices) for part, indices in sets.items()}


def some(paths: Iterable[Path | str], limit: int = 5) -> str:
    """The first few of many names, for a message."""
    names = [str(path) for path in paths]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _draw(picture: Picture, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{picture.label}/{picture.path.name}".encode()).digest()


def _parts(root: Path) -> dict[str, Path]:
    """Folder of each set of a ready-made split; {} when there is none."""
    folders = [path for path in _visible(root) if path.is_dir()]
    parts = {}
    for part, names in _ALIASES.items():
        if matching := [folder for folder in folders if folder.name.lower() in names]:
            parts[part] = min(matching, key=lambda folder: names.index(folder.name.lower()))
    if parts and TRAIN not in parts:
        raise DataError(
            f"data folder {root} holds {some(folder.name for folder in parts.values())} but no folder named {TRAIN}: "
            f"put the training pictures into {root}/{TRAIN}; or, if these are classes, rename their folders"
        )
    return parts


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _labelled(folder: Path) -> tuple[list[tuple[Path, str]], list[Path]]:
    """(path, class) of the pictures in one folder, and the files that have no class or are no pictures."""
    labelled: list[tuple[Path, str]] = []
    ignored: list[Path] = []
    loose = [path for path in _visible(folder) if path.is_file()]
    for class_folder in (path for path in _visible(folder) if path.is_dir()):
        for path in sorted(class_folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(class_folder).parts)
            if path.is_file() and not hidden:
                picture = path.suffix.lower() in SUFFIXES
                labelled.append((path, class_folder.name)) if picture else ignored.append(path)
    flat = not labelled
    for path in loose:
        match = _FLAT_NAME.fullmatch(path.name) if flat and path.suffix.lower() in SUFFIXES else None
        labelled.append((path, match["label"])) if match else ignored.append(path)
    return labelled, ignored


def _check(listing: Listing, training: Path, *, beside: Sequence[str]) -> None:
    root, classes = listing.root, listing.classes
    unread = f"; {some(beside)} beside it are not read: if {training.name} is a class as well, rename its folder"
    hint = unread if beside else ""
    if not listing.pictures:
        names = some(path.name for path in listing.ignored)
        what = f"holds no labelled pictures (found: {names})" if names else "is empty"
        raise DataError(f"data folder {training} {what}: {_EXPECTED}; formats are {', '.join(sorted(SUFFIXES))}{hint}")
    trained = {picture.label for picture in listing.pictures if picture.part in ("", TRAIN)}
    if len(trained) < 2:
        inner = root / classes[0]
        below = [p.path.relative_to(inner) for p in listing.pictures if inner in p.path.parent.parents]
        nested = sorted({path.parts[0] for path in below})
        if len(nested) > 1:
            hint = f"; did you mean --data={inner}, with {some(nested)}?"
        what = f"has the single class {some(trained)}" if trained else "has no class"
        raise DataError(f"data folder {training} {what}: {_EXPECTED}{hint}")
    if untrained := sorted(set(classes) - trained):
        raise DataError(
            f"data folder {root}: class {some(untrained)} is in validation or test but not in {training.name}; "
            f"add pictures to {training}/{untrained[0]}, or remove the class from the other sets"
        )
