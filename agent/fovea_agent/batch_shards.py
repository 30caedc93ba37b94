"""How the input of a batch prediction is divided into shards. Pure: what is read of an object comes through the arguments.

Pictures are divided by objects, all else by bytes, between two records. Lines end at line breaks. A record of CSV may have
line breaks between quotes, and the lengths of TFRecords stand in front of each: these two are read through, from the
start, so that no record is ever cut.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fovea_api.contract import shards

from fovea_agent.crc32c import crc32c

LONGEST_CELL = 64 << 20
"""Bytes of a cell of CSV: a quote that nobody closes would else take all that follows into memory."""
WINDOW = 64 << 10
"""Bytes of the first look for a line break."""
HEAD, TAIL = 12, 4
"""Bytes around each TFRecord: its length with a checksum, and a checksum of its own."""


class Malformed(ValueError):
    """An object that cannot be divided; the message says what is wrong, and at which byte."""


@dataclass(frozen=True, slots=True)
class Source:
    """An object as it was listed: its path below the input (empty: it is the input), its size and its ETag."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Part:
    """One shard: pictures, or the bytes from `start` to `end` of one object."""

    sources: tuple[Source, ...]
    start: int = 0
    end: int = 0
    """0: the sources are pictures."""
    header: int = 0
    """Of CSV: bytes at the beginning of the object that name the columns."""


def of_pictures(pictures: Iterable[Source], most_bytes: int, most_records: int) -> Iterator[Part]:
    """Consecutive pictures, as many as a shard may have."""
    gathered: list[Source] = []
    size = 0
    for picture in pictures:
        if gathered and (len(gathered) >= most_records or size + picture.size > most_bytes):
            yield Part(tuple(gathered))
            gathered, size = [], 0
        gathered.append(picture)
        size += picture.size
    if gathered:
        yield Part(tuple(gathered))


def of_lines(source: Source, most_bytes: int, read: Callable[[int, int], bytes]) -> Iterator[Part]:
    """Of an object whose records are lines. `read` gives the bytes from an offset on, as many as there are of a length."""
    start = 0
    while start < source.size:
        end = _line_break(source.size, start, start + most_bytes, read)
        yield Part((source,), start, end)
        start = end


def of_csv(source: Source, most_bytes: int, lines: Iterable[bytes]) -> Iterator[Part]:
    """Of an object with the names of the columns first. Raises Malformed."""
    ends = csv_ends(lines)
    header = next(ends, 0)
    for start, end in ranges(ends, header, most_bytes):
        yield Part((source,), start, end, header)


def of_tfrecord(source: Source, most_bytes: int, file: BinaryIO) -> Iterator[Part]:
    """Of a TFRecord file. Raises Malformed."""
    for start, end in ranges(tfrecord_ends(file, source.size), 0, most_bytes):
        yield Part((source,), start, end)


def ranges(ends: Iterable[int], start: int, most: int) -> Iterator[tuple[int, int]]:
    """Consecutive records together, at most `most` bytes or one record. `ends`: where each of them ends."""
    last = start
    for end in ends:
        if end - start > most and last > start:
            yield start, last
            start = last
        last = end
    if last > start:
        yield start, last


def _line_break(size: int, start: int, target: int, read: Callable[[int, int], bytes]) -> int:
    """The end of the last line that ends by `target`; of the first one where that is longer."""
    if target >= size:
        return size
    window, upto = WINDOW, target
    while upto > start:
        begin = max(start, upto - window)
        found = read(begin, upto - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        upto, window = begin, window * 2
    upto, window = target, WINDOW
    while upto < size:
        found = read(upto, min(window, size - upto)).find(b"\n")
        if found >= 0:
            return upto + found + 1
        upto, window = upto + window, window * 2
    return size


def csv_ends(lines: Iterable[bytes]) -> Iterator[int]:
    """Where each record of CSV ends, by the reader of Python's csv module. Raises Malformed."""
    end = 0
    source = iter(lines)

    def from_here(first: bytes) -> Iterator[str]:
        nonlocal end
        yield first.decode("latin-1")  # quotes and commas are ASCII, whatever the encoding of all else
        for line in source:
            end += len(line)
            yield line.decode("latin-1")

    csv.field_size_limit(LONGEST_CELL)
    for line in source:
        start = end
        end += len(line)
        if b'"' in line:
            try:
                next(csv.reader(from_here(line)))
            except csv.Error as error:
                raise Malformed(
                    f"the record at byte {start} is no CSV ({error}): is a quote missing? Line breaks may stand within a cell "
                    "in quotes only"
                ) from error
        yield end


def tfrecord_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where each record of a TFRecord file of `size` bytes ends: by the lengths, which have checksums. Raises Malformed."""
    end = 0
    while end < size:
        head = file.read(HEAD)
        length = int.from_bytes(head[:8], "little")
        if len(head) < HEAD or int.from_bytes(head[8:], "little") != shards.masked(crc32c(head[:8])):
            raise Malformed(_no_record(head, end))
        if end + HEAD + length + TAIL > size:
            raise Malformed(f"the record at byte {end} is cut off: write or upload the file again")
        end += HEAD + length + TAIL
        file.seek(length + TAIL, os.SEEK_CUR)
        yield end


def _no_record(head: bytes, offset: int) -> str:
    kind = shards.compression(head, crc32c) if offset == 0 else ""
    if kind:
        program = {shards.GZIP: "gzip -dc", shards.ZLIB: "pigz -dc"}[kind]
        return (
            f"it is compressed ({kind}), and cannot be divided: uncompress it ({program} < FILE > NEW) and upload that"
        )
    return f"no record begins at byte {offset}: the file is damaged, or no TFRecord file; write or upload it again"
