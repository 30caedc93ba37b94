"""Pictures and their label pictures in TFRecord shards: a record is an Example with both files.

Its keys are `image/encoded` and `image/segmentation/class/encoded`. Beside each shard lie the names of its records
(`fovea_api.contract.shards.NAMES_SUFFIX`): pictures are numbered and split by their names, as files are, so that shards and
files give the same batches. Shards whose names begin with train, val or test are that set.
`fovea data convert masks tfrecord` writes all of it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fovea_api.contract import mask_names
from fovea_api.contract.mask_names import TEST, TRAIN, VALIDATION
from fovea_api.contract.picture_names import FOLDERS

from fovea_trainers.data import example_records, named_records, shards
from fovea_trainers.data.files import Files
from fovea_trainers.data.shards import Shards
from fovea_trainers.errors import DataError
from fovea_trainers.vision.image_folders import some
from fovea_trainers.vision.mask_folders import Pairs

Array = np.ndarray[Any, Any]
_SETS = dict(zip(FOLDERS, (TRAIN, VALIDATION, TEST), strict=True))
"""The set of shards whose names begin with a word of these folders."""


@dataclass(frozen=True)
class Records(Files):
    """One file of each record; `paths` are those of the shards."""

    shards: Shards
    places: Array
    """int64 [n]: the record of each number."""
    called: Sequence[str]
    """NAME of each number."""
    key: str
    """Of the file in an Example."""

    def __len__(self) -> int:
        return len(self.places)

    def name(self, number: int) -> str:
        """NAME, and the place of the record."""
        return f"{self.called[number]} ({self.shards.name(int(self.places[number]))})"

    def content(self, number: int) -> bytes:
        """The file. Raises Unreadable, or OSError when the disk fails."""
        return example_records.content(self.shards.record(int(self.places[number])), (self.key,))


@dataclass(frozen=True)
class ShardPairs(Pairs):
    """Pictures as records, in the order of their names."""

    pictures: Records

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, number: int) -> str:
        """NAME, and the place of the record."""
        return self.pictures.name(number)

    def content(self, number: int) -> bytes:
        """The picture. Raises Unreadable, or OSError when the disk fails."""
        return self.pictures.content(number)

    def contents(self) -> Iterator[tuple[bytes, int]]:
        """Names and sizes of the shards."""
        yield from zip(self.paths, self.sizes, strict=True)


def scan(root: Path, found: list[str], check: Callable[[], None] = lambda: None) -> ShardPairs:
    """List the pictures of these shards; raises DataError when they cannot be trained on. `check` as in `shards.open_all`."""
    opened = shards.open_all(root, found, check)
    names = [
        name
        for shard, size in zip(found, np.diff(opened.starts), strict=True)
        for name in named_records.read_names(root, shard, int(size))
    ]
    places = sorted(range(len(names)), key=names.__getitem__)
    called = [names[place] for place in places]
    if twice := sorted({one for one, two in itertools.pairwise(called) if one == two}):
        raise DataError(f"the shards in {root} hold two pictures of one name: {some(twice)}; convert the data again")
    number = np.empty(len(names), np.int64)
    number[places] = np.arange(len(names))
    parts: dict[str, list[Array]] = {}
    for shard, start, end in zip(found, opened.starts, opened.starts[1:], strict=False):
        parts.setdefault(_part(shard), []).append(number[start:end])
    given = {part: np.sort(np.concatenate(of)) for part, of in parts.items()}
    if "" not in given and not len(given.get(TRAIN, ())):
        raise DataError(f"the shards in {root} hold no picture to train on: there is {some(found)}")
    if "" in given and len(given) > 1:
        raise DataError(
            f"some shards in {root} name their set (train, val, test) and others do not: {some(found)}; rename them"
        )
    given.pop("", None)
    paths = np.array([name.encode() for name in found], object)
    sizes = np.array([(root / name).stat().st_size for name in found], np.int64)

    def files(key: str) -> Records:
        return Records(root, paths, sizes, opened, np.array(places, np.int64), called, key)

    known = [name.encode(errors="surrogateescape") for name in called]
    return ShardPairs(root, paths, sizes, known, files(mask_names.LABEL), given, files(mask_names.PICTURE))


def _part(name: str) -> str:
    """The set that a shard's name says; "" leaves it to the split."""
    first = name.lower().replace(".", "-").replace("_", "-").split("-")[0]
    return next((_SETS[part] for part, words in FOLDERS.items() if first in words), "")
