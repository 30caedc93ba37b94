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

LONGEST_LINE = 64 << 20
"""Bytes of a line. A file that has none (one array of JSON) would else be a single shard, which the program reads into memory."""
LONGEST_ROW = 32 << 20
"""Bytes of a record of CSV, which is read into memory where it has quotes: about seven times as many there, and the agent has 512 MiB."""
WINDOW, WIDEST = 64 << 10, 4 << 20
"""Bytes of the first look for a line break, and of the later ones at most."""
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
    """Of an object whose records are lines. `read` gives the bytes from an offset on, as many as there are of a length.

    Raises Malformed.
    """
    start = 0
    while start < source.size:
        end = _line_break(source.size, start, start + most_bytes, read)
        yield Part((source,), start, end)
        start = end


def of_csv(source: Source, most_bytes: int, file: BinaryIO) -> Iterator[Part]:
    """Of an object with the names of the columns first. Raises Malformed."""
    ends = csv_ends(_lines(file))
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
    """The end of the last line that ends by `target`; of the first one where that is longer. Raises Malformed."""
    if target >= size:
        return size
    window, upto = WINDOW, target
    while upto > start:
        begin = max(start, upto - window)
        found = read(begin, upto - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        upto, window = begin, min(WIDEST, window * 2)
    longest = min(size, start + LONGEST_LINE)
    upto, window = target, WINDOW
    while upto < longest:
        found = read(upto, min(window, longest - upto)).find(b"\n")
        if found >= 0:
            return upto + found + 1
        upto, window = upto + window, min(WIDEST, window * 2)
    if longest < size:
        raise Malformed(
            f"the line that begins at byte {start} has no end within {LONGEST_LINE >> 20} MiB, and each record is a line: write "
            "one JSON value to a line (of one large array: jq -c '.[]' < FILE > NEW) and upload that"
        )
    return size


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Of a file of CSV, the first one with the names of the columns."""
    start = 0
    while line := file.readline(LONGEST_ROW + 1):
        if start == 0 and b"\r" in line.rstrip(b"\r\n") and b'"' not in line:
            raise Malformed(f"its lines end with a carriage return and no line feed: {_CONVERT}")
        if len(line) > LONGEST_ROW:
            raise _too_long(start)
        start += len(line)
        yield line


_CONVERT = "convert it (tr '\\r' '\\n' < FILE > NEW) and upload that"


def _too_long(start: int) -> Malformed:
    return Malformed(
        f"the record at byte {start} has more than {LONGEST_ROW >> 20} MiB: is a quote missing? Or do its lines end with a carriage "
        f"return and no line feed? Then {_CONVERT}"
    )


def csv_ends(lines: Iterable[bytes]) -> Iterator[int]:
    """Where each record of CSV ends, by the reader of Python's csv module. Raises Malformed."""
    start = end = 0
    source = iter(lines)

    def from_here(first: bytes) -> Iterator[str]:
        nonlocal end
        yield first.decode("latin-1")  # quotes and commas are ASCII, whatever the encoding of all else
        for line in source:
            end += len(line)
            if end - start > LONGEST_ROW:
                raise _too_long(start)
            yield line.decode("latin-1")

    csv.field_size_limit(LONGEST_ROW)
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
