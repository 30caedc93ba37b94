"""The files of a manifest, packed: a million in some 130 MiB, of which the paths are most."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

_SHA256 = 32
_MOST = 1 << 63


@dataclass(frozen=True, slots=True)
class Entry:
    """One payload file: path relative to the folder it is restored to, object key relative to the publication's prefix."""

    path: str
    key: str
    size: int
    sha256: str


class Entries(Sequence[Entry]):
    """Entries in order of path. Nearly all have keys that end in their paths and begin as the first one does."""

    __slots__ = ("_digests", "_head", "_others", "_paths", "_sizes")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._clear()
        ordered = True
        for entry in entries:
            ordered = ordered and (not self._paths or self._paths[-1] <= entry.path)
            self._append(entry)
        if not ordered:
            again = sorted(self, key=lambda entry: entry.path)
            self._clear()
            for entry in again:
                self._append(entry)

    def _clear(self) -> None:
        self._paths: list[str] = []
        self._sizes = array("q")
        self._digests = bytearray()
        self._head = ""
        self._others: dict[int, Entry] = {}

    def _append(self, entry: Entry) -> None:
        if not self._paths:
            self._head = entry.key.removesuffix(entry.path)
        digest = _digest(entry.sha256)
        if digest is None or entry.key != self._head + entry.path or not 0 <= entry.size < _MOST:
            self._others[len(self._paths)] = entry
            self._sizes.append(0)
            self._digests += bytes(_SHA256)
        else:
            self._sizes.append(entry.size)
            self._digests += digest
        self._paths.append(entry.path)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, number: int) -> Entry: ...

    @overload
    def __getitem__(self, number: slice) -> "tuple[Entry, ...]": ...

    def __getitem__(self, number: int | slice) -> "Entry | tuple[Entry, ...]":
        if isinstance(number, slice):
            return tuple(self[each] for each in range(*number.indices(len(self))))
        path = self._paths[number]
        number %= len(self._paths)
        if number in self._others:
            return self._others[number]
        digest = self._digests[_SHA256 * number : _SHA256 * (number + 1)]
        return Entry(path, self._head + path, self._sizes[number], digest.hex())

    def __iter__(self) -> Iterator[Entry]:
        return (self[number] for number in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Entries({list(self)!r})"


def _digest(sha256: str) -> bytes | None:
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        return None
    return digest if len(digest) == _SHA256 and digest.hex() == sha256 else None
