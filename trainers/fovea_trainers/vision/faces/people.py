"""People in LFW's layout: a folder for each, `name/name_0001.jpg`, or such names of records in shards.

Sets are made of whole people, by hashes of names.

Who is in the training set is nobody that the model is tested on: it learns what tells people apart, not these people.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fovea_trainers.data import named_records, order
from fovea_trainers.data import split as sets
from fovea_trainers.data.files import Found, look, walk
from fovea_trainers.data.named_records import Named, NamedFiles
from fovea_trainers.errors import DataError
from fovea_trainers.vision import formats
from fovea_trainers.vision.image_folders import some

Array = np.ndarray[Any, Any]
_EXPECTED = "expected one folder for each person, with that person's pictures (anna/anna_0001.jpg)"


@dataclass(frozen=True)
class People(NamedFiles):
    """Pictures of people; those of a person in the order of their paths."""

    labels: Array
    """int32 [n]: whose picture it is, a place in `names`."""
    names: tuple[str, ...]

    def pictures(self) -> list[Array]:
        """Numbers of each person's pictures."""
        bounds = np.searchsorted(self.labels, np.arange(1, len(self.names)))
        return np.split(np.arange(len(self)), bounds)

    def numbers(self) -> dict[str, int]:
        """Of the pictures by their paths below `root`, without suffix."""
        return {os.path.splitext(self.name(number))[0]: number for number in range(len(self))}  # noqa: PTH122

    def only(self, kept: Array) -> "People":
        """These pictures (bool [n]) and the people who have any."""
        labels = self.labels[kept]
        present = np.unique(labels)
        names = tuple(self.names[label] for label in present)
        records = self.records and replace(self.records, places=self.records.places[kept])
        numbers = np.searchsorted(present, labels).astype(np.int32)
        return People(self.root, self.paths[kept], self.sizes[kept], numbers, names, records=records)


def scan(root: Path, say: Callable[[str], None], check: Callable[[], None] = lambda: None) -> People:
    """List a folder; raises DataError when it does not have two people. `check` is called often, and may raise."""
    if not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "does not exist"
        raise DataError(f"data {root} {what}: {_EXPECTED}; give --data=DIR")
    try:
        folders, loose = look(root, check)
        packed = named_records.open_all(root, loose, check)
        if packed:
            found, loose = _packed(packed)
        else:
            found = [(folder.name, walk(folder, f"{folder.name}/", formats.is_picture, check)) for folder in folders]
    except PermissionError as error:
        raise DataError(
            f"data folder {root}: {os.fsdecode(error.filename or root)} cannot be opened ({error.strerror}): make it "
            f"readable (chmod -R a+rX), or move it out of {root}"
        ) from error
    others = [*loose, *(name for _, files in found for name in files.others)]
    if others:
        say(f"ignored {len(others)} files that are no pictures of a person: {some(sorted(others))}")
    paths: list[bytes] = []
    sizes: list[int] = []
    labels: list[int] = []
    names: list[str] = []
    for name, files in found:
        for place in sorted(range(len(files.paths)), key=files.paths.__getitem__):
            paths.append(files.paths[place])
            sizes.append(files.sizes[place])
            labels.append(len(names))
        if files.paths:
            names.append(name)
    if len(names) < 2:
        what = f"has pictures of one person only ({names[0]})" if names else "has no pictures of people"
        raise DataError(f"data folder {root} {what}: {_EXPECTED}; formats are {formats.DECODED}")
    array = np.empty(len(paths), object)
    array[:] = paths
    records = packed.records(paths) if packed else None
    return People(root, array, np.array(sizes, np.int64), np.array(labels, np.int32), tuple(names), records=records)


def _packed(shards: Named) -> tuple[list[tuple[str, Found]], list[str]]:
    """The pictures of each person in shards, by the first folder of their names; and those in no folder."""
    people: dict[str, Found] = {}
    loose: list[str] = []
    files = shards.found()
    for path, size in zip(files.paths, files.sizes, strict=True):
        name, _, below = os.fsdecode(path).partition("/")
        if below:
            own = people.setdefault(name, Found())
            own.paths.append(path)
            own.sizes.append(size)
        else:
            loose.append(name)
    return sorted(people.items()), loose


def split(people: People, among: Array, shares: tuple[float, float], seed: int) -> tuple[Array, Array, Array]:
    """The people `among` whom it is chosen (numbers), as training, validation and test set; `shares` are the last two.

    A hash of the name decides: other people who come or go hardly move anyone.
    """
    draws = sets.draws(seed, map(os.fsencode, people.names))
    validation, test, train = sets.divide([among], draws, shares, left=0)
    return train, validation, test


def grouped(pictures: list[Array], size: int, *, seed: int, epoch: int) -> list[Array]:
    """Every picture once, in groups of at most `size` pictures of one person, in an order of (seed, epoch) alone.

    A person's pictures are in as few groups as can be, and the groups as equal as can be: what is left over is no group
    of one, which would have no pair.
    """
    drawn = order.permutation(sum(map(len, pictures)), seed=seed, epoch=epoch)
    keys = np.split(np.argsort(drawn), np.cumsum([len(own) for own in pictures])[:-1])
    groups = [
        group
        for own, key in zip(pictures, keys, strict=True)
        for group in np.array_split(own[np.argsort(key)], -(-len(own) // size))
    ]
    places = np.argsort([drawn[place] for place in range(len(groups))], kind="stable")
    return [groups[place] for place in places]
