"""Pictures and their label pictures in the layout of PASCAL VOC (`fovea_api.contract.mask_names`).

Without ImageSets/Segmentation/, all pictures are to be split. NAME may hold folders.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fovea_api.contract.mask_names import EXPECTED, LABELS, LISTS, PICTURES, TEST, TRAIN, VALIDATION, bare

from fovea_trainers.data import split as sets
from fovea_trainers.data.files import Files, look, walk
from fovea_trainers.errors import DataError
from fovea_trainers.vision import formats
from fovea_trainers.vision.image_folders import some

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pairs(Files):
    """Pictures in the order of their names, each with the file of its label picture."""

    names: Sequence[bytes]
    """NAME of each picture."""
    labels: Files
    """The label pictures, by the same numbers."""
    given: Mapping[str, Array]
    """Numbers of the pictures of each set that a list names; empty where there is no list."""

    def contents(self) -> Iterator[tuple[bytes, int]]:
        """Names and sizes of all files, and what each list names: by what the data is known to be the same."""
        for files in (self, self.labels):
            yield from zip(files.paths, files.sizes, strict=True)
        for part, numbers in self.given.items():
            yield part.encode() + numbers.tobytes(), len(numbers)


def scan(root: Path, check: Callable[[], None] = lambda: None) -> Pairs:
    """List a folder; raises DataError when it cannot be trained on. `check` is called often, and may raise to give up."""
    if not root.is_dir():
        what = "is a file, not a folder: unpack an archive" if root.is_file() else "does not exist; give --data=DIR"
        raise DataError(f"data folder {root} {what}")
    below = {path.name.lower(): path for path in look(root, check)[0]}
    folders = [
        next((below[name.lower()] for name in names if name.lower() in below), None) for names in (PICTURES, LABELS)
    ]
    for wanted, folder in zip((PICTURES, LABELS), folders, strict=True):
        if folder is None:
            there = some(sorted(path.name for path in below.values())) or "no folder"
            raise DataError(f"data folder {root} has no folder {wanted[0]} (there is {there}): {EXPECTED}")
    pictures, labels = ({} if folder is None else _by_name(root, folder, check) for folder in folders)
    if not pictures:
        raise DataError(f"{folders[0]} holds no picture: formats are {formats.DECODED}")
    lists = {part: _listed(path, pictures) for part, path in _lists(root).items()}
    _require_apart(root, lists)
    names = sorted({name for part in lists.values() for name in part} if lists else pictures)
    if missing := [name for name in names if name not in labels]:
        raise DataError(
            f"{len(missing)} of {len(names)} pictures in {root} have no label picture in {folders[1]}: {some(missing)}; "
            f"add it under the picture's name, or leave the picture out of ImageSets/Segmentation/{TRAIN}.txt"
        )
    number = {name: place for place, name in enumerate(names)}
    given = {part: np.array([number[name] for name in listed], np.int64) for part, listed in lists.items()}
    known = [os.fsencode(name) for name in names]
    return Pairs(root, *_columns(pictures, names), known, Files(root, *_columns(labels, names)), given)


def split(pairs: Pairs, *, validation_ratio: float, test_ratio: float, seed: int) -> dict[str, Array]:
    """Numbers of the pictures of each set, ascending: those of the lists, else a share drawn by the seed.

    At least one picture is left to train on. Its name decides about a picture's place: others hardly move it.
    """
    shares = {VALIDATION: validation_ratio, TEST: test_ratio}
    ratios = [0.0 if part in pairs.given else ratio for part, ratio in shares.items()]
    rest = pairs.given.get(TRAIN, np.arange(len(pairs)))
    *chosen, train = sets.divide([rest], sets.draws(seed, pairs.names), ratios)
    return {TRAIN: train} | {
        part: np.sort(pairs.given.get(part, own)) for part, own in zip(shares, chosen, strict=True)
    }


def _by_name(root: Path, folder: Path, check: Callable[[], None]) -> dict[str, tuple[bytes, int]]:
    """Path below `root` and size of each picture of a folder, by its name there without the suffix."""
    prefix = f"{folder.relative_to(root)}/"
    files = walk(folder, "", formats.is_picture, check)
    found: dict[str, tuple[bytes, int]] = {}
    for path, size in zip(files.paths, files.sizes, strict=True):
        name = bare(os.fsdecode(path))
        if name in found:
            both = f"{os.fsdecode(found[name][0])} and {prefix}{os.fsdecode(path)}"
            raise DataError(f"{root} has two pictures of one name, {both}: remove or rename one")
        found[name] = (os.fsencode(prefix) + path, size)
    return found


def _lists(root: Path) -> dict[str, Path]:
    """The file of each set; {} where all pictures are to be split."""
    folder = root.joinpath(*LISTS)
    if not folder.is_dir():
        return {}
    found = {part: folder / f"{part}.txt" for part in (TRAIN, VALIDATION, TEST) if (folder / f"{part}.txt").is_file()}
    if TRAIN not in found:
        raise DataError(
            f"{folder} has no {TRAIN}.txt: write a picture's name into each line of it, or remove the folder to split all "
            "pictures"
        )
    return found


def _listed(path: Path, pictures: Mapping[str, object]) -> list[str]:
    """The pictures that a list names, each once, with or without the suffix. Raises DataError."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): make it readable (chmod a+r)") from error
    found: dict[str, None] = {}
    unknown: list[str] = []
    for number, line in enumerate(lines, 1):
        name = line.strip()
        known = name if name in pictures else bare(name)
        if known in pictures:
            found[known] = None
        elif name:
            unknown.append(f"line {number} {name}")
    if unknown:
        raise DataError(
            f"{path} names {len(unknown)} pictures that are not there: {some(unknown)}; add them, or remove these lines"
        )
    if not found:
        raise DataError(f"{path} names no picture: write a picture's name into each line, or remove the file")
    return list(found)


def _require_apart(root: Path, lists: Mapping[str, Sequence[str]]) -> None:
    seen: dict[str, str] = {}
    for part, names in lists.items():
        for name in names:
            if name in seen:
                raise DataError(
                    f"{root.joinpath(*LISTS)}: {seen[name]}.txt and {part}.txt both name {name}: a score on pictures that were "
                    "trained on means nothing, remove it from one of them"
                )
            seen[name] = part


def _columns(files: Mapping[str, tuple[bytes, int]], names: Sequence[str]) -> tuple[Array, Array]:
    """Paths and sizes of these."""
    paths = np.empty(len(names), object)
    paths[:] = [files[name][0] for name in names]
    return paths, np.array([files[name][1] for name in names], np.int64)
