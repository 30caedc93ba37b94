"""What a store has of the files of a folder, packed: 24 bytes a file."""

import struct
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

_ROW = struct.Struct("<Q16s")
_MD5 = 32
"""Digits of an ETag that is an MD5: of an object that was sent in one piece."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An object with a file of a publication, as a listing of the store has it."""

    key: str
    size: int
    etag: str


class Arrivals:
    """Objects below `base` by the place of their files in the order of `paths`; others do not matter."""

    def __init__(self, base: str, paths: Sequence[str]) -> None:
        self._base, self._paths = base, paths
        self._rows = bytearray()
        self._other_etags: dict[int, str] = {}

    def put(self, key: str, size: int, etag: str) -> None:
        """Add an object of the listing."""
        path = key.removeprefix(self._base)
        number = bisect_left(self._paths, path)
        if number == len(self._paths) or self._paths[number] != path:
            return
        if not self._rows:
            self._rows = bytearray(_ROW.size * len(self._paths))
        md5 = _md5(etag)
        if md5 is None:
            self._other_etags[number] = etag
        _ROW.pack_into(self._rows, _ROW.size * number, size + 1, md5 or b"")

    def get(self, number: int) -> Arrived | None:
        """The object with the file at this place; None when the store has none."""
        if not self._rows:
            return None
        size, md5 = _ROW.unpack_from(self._rows, _ROW.size * number)
        if not size:
            return None
        return Arrived(self._base + self._paths[number], size - 1, self._other_etags.get(number, md5.hex()))


def _md5(etag: str) -> bytes | None:
    if len(etag) != _MD5:
        return None
    try:
        md5 = bytes.fromhex(etag)
    except ValueError:
        return None
    return md5 if md5.hex() == etag else None
