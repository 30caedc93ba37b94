"""What a folder held at one look, packed: a million files in some 130 MiB, of which the paths are most."""

import hashlib
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_ROW = struct.Struct("<QQQqq")
_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Stat:
    """What changes when a file is written to or replaced; `changed` in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stat":
        """The same of a file's status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Stats(Mapping[str, Stat]):
    """The files of a folder by path, in its order."""

    __slots__ = ("_rows", "paths")

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._rows = bytearray()

    def append(self, path: str, status: os.stat_result) -> None:
        """Add a file whose path comes after all others."""
        self.paths.append(path)
        self._rows += _ROW.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def row(self, number: int) -> bytes:
        """What is known of the file at this place in the order, to be compared."""
        return bytes(self._rows[number * _ROW.size : (number + 1) * _ROW.size])

    def at(self, number: int) -> Stat:
        """The stat of the file at this place in the order."""
        return Stat(*_ROW.unpack_from(self._rows, number * _ROW.size))

    def number(self, path: str) -> int | None:
        """The place of a path in the order; None when there is no such file."""
        at = bisect_left(self.paths, path)
        return at if at < len(self.paths) and self.paths[at] == path else None

    def mark(self) -> bytes:
        """A short name for all of it: equal exactly when paths and stats are."""
        state = hashlib.sha256(self._rows)
        for first in range(0, len(self.paths), _BATCH):
            state.update("\0".join((*self.paths[first : first + _BATCH], "")).encode())
        return state.digest()

    def __getitem__(self, path: str) -> Stat:
        number = self.number(path)
        if number is None:
            raise KeyError(path)
        return self.at(number)

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Stats):
            return self.paths == other.paths and self._rows == other._rows
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


class Files(Mapping[str, str]):
    """The file with the content, by path: itself but for links."""

    __slots__ = ("_links", "_stats")

    def __init__(self, stats: Stats, links: Mapping[str, str]) -> None:
        self._stats, self._links = stats, links

    def __getitem__(self, path: str) -> str:
        if path not in self._stats:
            raise KeyError(path)
        return self._links.get(path, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stats)

    def __len__(self) -> int:
        return len(self._stats)


@dataclass(frozen=True)
class Listing:
    """What a folder holds, by path relative to it.

    `stats`: of the files to publish. `links`: those of them that are links, and the file that has the content. `odd`: what
    is no file to publish, and why. `unreadable`: files and folders that the agent may not read, and whose they are.
    """

    stats: Stats = field(default_factory=Stats)
    links: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Files:
        """The file with the content (itself, or a link's) by path."""
        return Files(self.stats, self.links)

    def holder(self, path: str) -> str:
        """The file with the content of the file at `path`."""
        return self.links.get(path, path)
