"""What a folder held at one look, packed: a million files in some 130 MiB, of which the paths are most."""

import hashlib
import os
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

_ROW = struct.Struct("<QQQqq")
_BATCH = 10_000
NAMED = 3
"""Things of each kind that are named of what is not published: there may be a million links."""


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


class Aside(Mapping[str, str]):
    """What is not published of a folder: of each kind the first few, why by path, and how many there are.

    Equal to another one exactly when all of it is, also what is not named.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """By kind."""
        self._first: dict[str, dict[str, str]] = {}
        self._all = hashlib.sha256()

    def put(self, path: str, kind: str, why: Callable[[], str] | None = None) -> None:
        """Add something; `why` is asked for the first few, instead of the kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._all.update(f"{path}\0{kind}\0".encode(errors="surrogateescape"))
        first = self._first.setdefault(kind, {})
        if len(first) < NAMED:
            first[path] = kind if why is None else why()

    @property
    def count(self) -> int:
        """How many there are, of all kinds."""
        return sum(self.counts.values())

    def kinds(self) -> Iterator[tuple[str, int, Mapping[str, str]]]:
        """Each kind, how many of it there are, and why by path for the first few."""
        return ((kind, self.counts[kind], first) for kind, first in self._first.items())

    def __getitem__(self, path: str) -> str:
        for first in self._first.values():
            if path in first:
                return first[path]
        raise KeyError(path)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._first.values())

    def __len__(self) -> int:
        return sum(map(len, self._first.values()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Aside):
            return self._all.digest() == other._all.digest() and self._first == other._first
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Listing:
    """What a folder holds, by path relative to it.

    `stats`: of the files to publish. `links`: those of them that are links, and the file that has the content. `odd`: what
    is no file to publish, and why. `unreadable`: files and folders that the agent may not read, and whose they are.
    """

    stats: Stats = field(default_factory=Stats)
    links: dict[str, str] = field(default_factory=dict)
    odd: Aside = field(default_factory=Aside)
    unreadable: Aside = field(default_factory=Aside)

    @property
    def files(self) -> Files:
        """The file with the content (itself, or a link's) by path."""
        return Files(self.stats, self.links)

    def holder(self, path: str) -> str:
        """The file with the content of the file at `path`."""
        return self.links.get(path, path)
