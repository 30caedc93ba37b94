"""Records of TFRecord shards by number, in any order and without those before them: no shuffle buffer, no state.

What is in memory is the index of the shards, mapped: 8 bytes for a record, of which the system keeps what is used.
"""

import mmap
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from fovea_api.contract import shards as contract

from fovea_trainers.data.examples import Unreadable
from fovea_trainers.data.stream import Stream, beside
from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]
_HEADER, _CHECK = struct.Struct("<QI"), struct.Struct("<I")
_INTERRUPTIBLE = 100_000
"""Records between two looks at whether a stop was requested."""


@dataclass(frozen=True)
class Shards:
    """Numbered records: those of the first shard, then those of the second, …"""

    root: Path
    names: tuple[str, ...]
    """Of the shards, below `root`."""
    starts: Array
    """int64 [shards + 1]: number of each shard's first record, and of all records."""
    offsets: tuple[Array, ...]
    """Of each shard, int64 [records + 1]: where its records begin, and its size."""
    stream: Stream | None = None
    """Where the shards arrive while they are read."""

    def __len__(self) -> int:
        return int(self.starts[-1])

    def name(self, number: int) -> str:
        """The place of a record, for messages."""
        shard, place = self._place(number)
        return f"{self.names[shard]} record {place + 1}"

    def record(self, number: int) -> bytes:
        """A record. Raises Unreadable for one whose checksum is wrong, OSError when the disk fails."""
        shard, place = self._place(number)
        start, end = (int(offset) for offset in self.offsets[shard][place : place + 2])
        descriptor = self._open(self.names[shard])  # a few µs; thousands of open shards would be too many
        try:
            content = os.pread(descriptor, end - start, start)
        finally:
            os.close(descriptor)
        record = content[_HEADER.size : -_CHECK.size]
        if len(content) < end - start or len(record) != _HEADER.unpack_from(content)[0]:
            raise Unreadable("the record is cut off")
        if _CHECK.unpack(content[-_CHECK.size :])[0] != _masked(record):
            raise Unreadable("its checksum is wrong")
        return record

    def _open(self, name: str) -> int:
        while True:
            try:
                return os.open(self.root / name, os.O_RDONLY)
            except FileNotFoundError:
                if self.stream is None:
                    raise
                self.stream.wait(name)  # it has not arrived, or has made room for others

    def _place(self, number: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self.starts, number, "right")) - 1
        return shard, number - int(self.starts[shard])


def open_all(
    root: Path, names: Sequence[str], check: Callable[[], None] = lambda: None, stream: Stream | None = None
) -> Shards:
    """Shards below a folder; raises DataError for one that is damaged, or that its index does not fit.

    A shard without an index is gone through once, from record to record; a streamed one needs its index. `check` may raise
    to give up.
    """
    if stream is not None:
        beside(stream, contract.INDEX_SUFFIX)
    offsets = []
    for name in names:
        check()
        try:
            path = root / name
            offsets.append(_offsets(path, stream.sizes[name] if stream else path.stat().st_size, check))
        except PermissionError as error:
            raise DataError(
                f"{root / name} cannot be opened ({error.strerror}): make it readable (chmod a+r)"
            ) from error
    starts = np.cumsum([0, *(len(each) - 1 for each in offsets)], dtype=np.int64)
    return Shards(root, tuple(names), starts, tuple(offsets), stream)


def _offsets(path: Path, size: int, check: Callable[[], None]) -> Array:
    index = path.with_name(path.name + contract.INDEX_SUFFIX)
    if not index.exists():
        return _gone_through(path, size, check)
    bytes_ = index.stat().st_size
    found: Array = np.memmap(index, "<i8", "r") if bytes_ and bytes_ % 8 == 0 else np.zeros(0, np.int64)
    if not len(found) or found[0] != 0 or found[-1] != size or np.any(np.diff(found) < _HEADER.size + _CHECK.size):
        if path.exists():  # a streamed one may be on its way
            _require_plain(path)
        raise DataError(
            f"{index} is not the index of {path.name}, which has {size} bytes: remove it, or convert the data again"
        )
    return found


def _gone_through(path: Path, size: int, check: Callable[[], None]) -> Array:
    found = [0]
    if not size:
        return np.array(found, np.int64)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while (start := found[-1]) < size:
            if len(found) % _INTERRUPTIBLE == 0:
                check()
            length, checked = _HEADER.unpack_from(content, start) if start + _HEADER.size <= size else (size, 0)
            end = start + _HEADER.size + length + _CHECK.size
            if end > size or checked != _masked(content[start : start + 8]):
                _require_plain(path)
                raise DataError(
                    f"{path}: record {len(found)} is damaged or cut off, or this is no TFRecord file: write or fetch it again"
                )
            found.append(end)
    return np.array(found, np.int64)


def compression(path: Path) -> str:
    """GZIP or ZLIB, by a file's content; empty for a file that is not compressed. Raises OSError."""
    with path.open("rb") as file:
        return contract.compression(file.read(contract.HEAD), google_crc32c.value)


def _require_plain(path: Path) -> None:
    if kind := compression(path):
        raise DataError(contract.uncompressing(path, kind))


def _masked(content: bytes) -> int:
    return contract.masked(google_crc32c.value(content))
