"""The records of a shard, one after the other: what its files contain, before the model's inputs are made of it."""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tensorflow as tf
from fovea_api.contract import batch
from fovea_api.contract.batch import Shard
from tensorflow.python.lib.io import tf_record

LONGEST_CELL: Final = 64 << 20
"""More than the agent lets a whole record have, which has divided the file."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_AROUND: Final = 16
"""Bytes of a TFRecord beside its content."""


class DamagedShardError(Exception):
    """A file of which not even the borders of its records can be read."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its name, and its bytes, cells (of CSV, with the names of the columns) or why it cannot be read."""

    name: str
    content: bytes | dict[str, str] = b""
    problem: str = ""


def of_shard(folder: Path, shard: Shard, input_format: str) -> Iterator[Record]:
    """The records of a shard in `folder`, in order. Raises DamagedShardError."""
    files = [folder / batch.RECORDS / name for name in shard.files]
    if input_format == batch.IMAGES:
        return _pictures(files, shard.names)
    return {batch.JSONL: _lines, batch.CSV: _rows, batch.TFRECORD: _tfrecords}[input_format](files[0], shard)


def _pictures(files: list[Path], names: tuple[str, ...]) -> Iterator[Record]:
    for file, name in zip(files, names, strict=True):
        yield Record(name, file.read_bytes())


def _lines(file: Path, shard: Shard) -> Iterator[Record]:
    offset = shard.start
    with file.open("rb") as lines:
        for line in lines:
            text = line.strip()
            if offset == 0:
                text = text.removeprefix(_BYTE_ORDER_MARK)
            if text:
                yield Record(_named(shard, offset), text)
            offset += len(line)


def _rows(file: Path, shard: Shard) -> Iterator[Record]:
    csv.field_size_limit(LONGEST_CELL)
    with file.open("rb") as content:
        heading = content.read(shard.header).removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace")
        columns = [cell.strip() for cell in next(csv.reader(heading.splitlines(keepends=True)), [])]
        source = _Lines(content)
        while True:
            offset = shard.start + source.read
            try:
                # A reader for each row: it counts lines, but not bytes.
                cells = next(csv.reader(source), None)
            except csv.Error as error:
                yield Record(_named(shard, offset), problem=f"The row cannot be read: {error}")
                continue
            if cells is None:
                return
            if cells:
                yield _row(_named(shard, offset), columns, cells)


def _row(name: str, columns: list[str], cells: list[str]) -> Record:
    if len(cells) != len(columns):
        return Record(name, problem=f"The row has {len(cells)} columns instead of {len(columns)}")
    try:
        texts = [cell.encode("latin-1").decode() for cell in cells]
    except UnicodeDecodeError:
        return Record(name, problem="The row is not UTF-8")
    return Record(name, dict(zip(columns, texts, strict=True)))


class _Lines:
    """Lines for a CSV reader, which looks at quotes and commas alone; and how many bytes they were."""

    def __init__(self, file: object) -> None:
        self._file = file
        self.read = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line: bytes = self._file.readline()  # type: ignore[attr-defined]
        if not line:
            raise StopIteration
        self.read += len(line)
        return line.decode("latin-1")


def _tfrecords(file: Path, shard: Shard) -> Iterator[Record]:
    reader, size, offset = tf_record.tf_record_random_reader(str(file)), file.stat().st_size, 0
    with file.open("rb") as content:
        while offset < size:
            name = _named(shard, shard.start + offset)
            content.seek(offset)
            (length,) = struct.unpack("<Q", content.read(8))
            if offset + _AROUND + length > size:
                raise DamagedShardError(f"{name} is no TFRecord: the file is damaged; write or upload it again")
            try:
                yield Record(name, bytes(reader.read(offset)[0]))
            except tf.errors.DataLossError:
                yield Record(name, problem="The checksum of the record is wrong: it is damaged")
            offset += _AROUND + length


def _named(shard: Shard, offset: int) -> str:
    return f"{shard.object}:{offset}"
