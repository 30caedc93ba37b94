"""A folder of shards while it is written, whatever is written into them."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fovea_api.contract import left_alone
from fovea_wire.example_pb2 import BytesList, Example, Feature, Features

from . import local_files
from .errors import InvalidError
from .tfrecord import Shards

SHARD_BYTES = 128 * 2**20
NOT_DATA = (left_alone.HIDDEN, *left_alone.NO_FOLDERS_OF_A_USER)
ALL = "data"
"""Name of the shards of files that no set was chosen for."""


@dataclass(frozen=True)
class Converted:
    """What was written: the folder, its shards and records, and their bytes.

    `left_out` names what of the source is not in it, and why: rows that could not be read, files without a class.
    """

    folder: Path
    shards: int
    records: int
    bytes: int
    left_out: tuple[str, ...]


class ShardFolder:
    """A folder that appears complete, or not at all."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidError(f"{folder} exists and is not empty: name a new folder, or remove it first")
        self._folder = folder
        self._staging = folder.parent / f".{folder.name}.partial"
        self._written: list[Shards] = []

    def __enter__(self) -> Self:
        shutil.rmtree(self._staging, ignore_errors=True)  # of a conversion that was killed
        try:
            self._staging.mkdir(parents=True)
        except OSError as error:
            raise self._not_written(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        try:
            if kind is None:
                self._staging.rename(self._folder)
            elif isinstance(error, OSError):  # what cannot be read is none: `local_files.reading`
                raise self._not_written(error) from error
        except OSError as failed:
            raise self._not_written(failed) from failed
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)  # it is gone unless something failed

    def _not_written(self, error: OSError) -> InvalidError:
        return InvalidError(
            f"{self._folder} cannot be written ({error.strerror or error}): make space there, or name another folder"
        )

    def shards(self, prefix: str, size: int) -> Shards:
        """A new set of shards."""
        self._written.append(Shards(self._staging, prefix, size))
        return self._written[-1]

    def text(self, name: str, content: str) -> None:
        """A small file beside them."""
        (self._staging / name).write_text(content, encoding="utf-8")

    def copy(self, name: str, file: Path) -> None:
        """A file beside them as it is, under a path below the folder."""
        with local_files.reading(file):
            content = file.read_bytes()
        target = self._staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def converted(self, left_out: Iterable[str]) -> Converted:
        """What was written."""
        written = self._written
        return Converted(
            self._folder,
            sum(each.shards for each in written),
            sum(each.records for each in written),
            sum(each.bytes for each in written),
            tuple(left_out),
        )


def visible_files(folder: Path, left_out: list[str]) -> list[local_files.LocalFile]:
    """The files of a folder but hidden ones; what has no content goes into `left_out`."""
    return local_files.scan(folder, NOT_DATA, lambda line: left_out.append(line.partition(":")[0]))


def bytes_(value: bytes) -> Feature:
    """A feature of one text or file."""
    return Feature(bytes_list=BytesList(value=[value]))


def example(**features: Feature) -> bytes:
    """A record; equal features give equal bytes."""
    content: bytes = Example(features=Features(feature=features)).SerializeToString(deterministic=True)
    return content
