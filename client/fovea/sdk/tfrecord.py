"""TFRecord files without TensorFlow: records with checksums, and shards with an index of their records."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import google_crc32c
from fovea_api.contract import shards

from .errors import InvalidError

_HEADER = struct.Struct("<QI")
_CHECK = struct.Struct("<I")


def read(path: Path) -> Iterator[bytes]:
    """Its records in order. Raises InvalidError for a file that is damaged or no TFRecord file, with the record's number."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        number = 1
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise _damaged(path, number, "it is cut off")
            length, check = _HEADER.unpack(header)
            if check != _masked(header[:8]):
                if number == 1 and (kind := shards.compression(header, google_crc32c.value)):
                    raise InvalidError(shards.uncompressing(path, kind))
                raise _damaged(path, number, "the checksum of its length is wrong")
            if length > size:  # before memory is taken for it
                raise _damaged(path, number, "it is cut off")
            content = file.read(length + _CHECK.size)
            if len(content) < length + _CHECK.size:
                raise _damaged(path, number, "it is cut off")
            if _CHECK.unpack(content[length:])[0] != _masked(content[:length]):
                raise _damaged(path, number, "its checksum is wrong")
            yield content[:length]
            number += 1


class Shards:
    """Writes records into shards of about `size` bytes, each with its index; they get their names at the end."""

    def __init__(self, folder: Path, prefix: str, size: int) -> None:
        self._folder, self._prefix, self._size = folder, prefix, size
        self._file: BinaryIO | None = None
        self._index: BinaryIO | None = None
        self._labels: BinaryIO | None = None
        self._names: BinaryIO | None = None
        self._offset = 0
        self.shards = self.records = self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close()
        if kind is None:
            for number in range(self.shards):
                place = self._folder / shards.name(self._prefix, number, self.shards)
                self._part(number).rename(place)
                for suffix in (shards.INDEX_SUFFIX, shards.LABELS_SUFFIX, shards.NAMES_SUFFIX):
                    if (beside := self._part(number, suffix)).exists():
                        beside.rename(f"{place}{suffix}")

    def write(self, record: bytes) -> None:
        """Append one record."""
        if self._file is None or self._index is None or self._offset >= self._size:
            self._close()
            self._file = self._part(self.shards).open("wb")
            self._index = self._part(self.shards, shards.INDEX_SUFFIX).open("wb")
            self._offset = 0
            self.shards += 1
        length = struct.pack("<Q", len(record))
        self._file.write(length + _CHECK.pack(_masked(length)) + record + _CHECK.pack(_masked(record)))
        self._index.write(struct.pack("<q", self._offset))
        size = _HEADER.size + len(record) + _CHECK.size
        self._offset, self.bytes, self.records = self._offset + size, self.bytes + size, self.records + 1

    def label(self, number: int) -> None:
        """The class number of the record that was just written: of all records, or of none."""
        if self._labels is None:
            self._labels = self._part(self.shards - 1, shards.LABELS_SUFFIX).open("wb")
        self._labels.write(struct.pack("<i", number))

    def name(self, name: str) -> None:
        """The name of the record that was just written, without a line break: of all records, or of none."""
        if self._names is None:
            self._names = self._part(self.shards - 1, shards.NAMES_SUFFIX).open("wb")
        self._names.write(f"{name}\n".encode())

    def _part(self, number: int, suffix: str = "") -> Path:
        return self._folder / f"{self._prefix}-{number:05d}.partial{suffix}"

    def _close(self) -> None:
        if self._index is not None:
            self._index.write(struct.pack("<q", self._offset))
            self._index.close()
        for file in (self._file, self._labels, self._names):
            if file is not None:
                file.close()
        self._labels = self._names = None


def _masked(content: bytes) -> int:
    return shards.masked(google_crc32c.value(content))


def _damaged(path: Path, number: int, what: str) -> InvalidError:
    return InvalidError(
        f"{path}: record {number} is damaged ({what}), or this is no TFRecord file; write or fetch the file again"
    )
