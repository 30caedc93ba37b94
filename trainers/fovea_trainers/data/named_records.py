"""Files as records of TFRecord shards that are known by their names: numbered and divided as if they lay in the folder.

Beside each shard lie the names of its records (`fovea_api.contract.shards.NAMES_SUFFIX`). A record is an Example with the
file under `image/encoded`. `fovea data convert` writes all of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fovea_api.contract import shards as contract

from fovea_trainers.data import example_records, shards
from fovea_trainers.data.examples import Unreadable
from fovea_trainers.data.files import Files, Found
from fovea_trainers.data.shards import Shards
from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]
KEY = "image/encoded"


@dataclass(frozen=True)
class Records:
    """Numbered records of shards."""

    shards: Shards
    places: Array
    """int64 [n]: the record of each number."""

    def content(self, number: int) -> bytes:
        """The file. Raises Unreadable, which says where the record is, or OSError when the disk fails."""
        place = int(self.places[number])
        try:
            return example_records.content(self.shards.record(place), (KEY,))
        except Unreadable as error:
            raise Unreadable(f"{self.shards.name(place)}: {error}") from error


@dataclass(frozen=True)
class NamedFiles(Files):
    """Files by their names: those of a folder, or records of shards."""

    records: Records | None = field(default=None, kw_only=True)

    def content(self, number: int) -> bytes:
        """Its bytes. Raises Unreadable, OSError."""
        return super().content(number) if self.records is None else self.records.content(number)


@dataclass(frozen=True)
class Named:
    """All files of some shards."""

    shards: Shards
    places: dict[bytes, int]
    """The record of each name."""

    def found(self) -> Found:
        """Names and sizes of the records, as if they were files of a folder."""
        sizes = np.concatenate([np.zeros(0, np.int64), *(np.diff(each) for each in self.shards.offsets)])
        files = Found()
        for path, place in self.places.items():
            files.paths.append(path)
            files.sizes.append(int(sizes[place]))
        return files

    def records(self, paths: Iterable[bytes]) -> Records:
        """Those of these names, in their order."""
        return Records(self.shards, np.array([self.places[path] for path in paths], np.int64))


def open_all(root: Path, names: Iterable[str], check: Callable[[], None] = lambda: None) -> Named | None:
    """The shards among the files in a folder, which has these `names`; None where there is none. Raises DataError."""
    found = sorted(name for name in names if contract.is_tfrecord(name))
    if not found:
        return None
    opened = shards.open_all(root, found, check)
    places: dict[bytes, int] = {}
    for shard, start, size in zip(found, opened.starts.tolist(), np.diff(opened.starts).tolist(), strict=False):
        for place, name in enumerate(read_names(root, shard, size), start):
            if places.setdefault(name.encode(errors="surrogateescape"), place) != place:
                raise DataError(f"the shards in {root} hold two files named {name}: convert the data again")
    return Named(opened, places)


def read_names(root: Path, shard: str, size: int) -> list[str]:
    """Of the records of a shard. Raises DataError where they are missing, or not as many as there are records."""
    path = root / (shard + contract.NAMES_SUFFIX)
    if not path.is_file():
        raise DataError(f"{path} is not there, which names the pictures: write the shards with fovea data convert")
    names = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
    if len(names) != size:
        raise DataError(f"{path} has {len(names)} names of {size} records: convert the data again")
    return names
