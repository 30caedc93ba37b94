"""One object of the store as a file that can be read from any place on; an outage goes on where it was."""

import io
import os
from typing import BinaryIO

from fovea_agent.errors import Corrupt
from fovea_agent.store import Store

PIECE = 4 << 20
"""Bytes of one request, of an object that is read through."""


def read_range(store: Store, key: str, etag: str, offset: int, length: int) -> bytes:
    """The bytes of an object from `offset` on. Raises Changed when it is not `etag` any more, Missing, Corrupt."""
    data = bytearray()

    def go_on() -> None:
        if len(data) < length:
            for chunk in store.stream(key, offset=offset + len(data), length=length - len(data), etag=etag):
                data.extend(chunk)

    store.reading(key, go_on, lambda: len(data))
    if len(data) != length:
        raise _short(store, key, offset, length)
    return bytes(data)


def _short(store: Store, key: str, offset: int, length: int) -> Corrupt:
    return Corrupt(f"s3://{store.bucket}/{key} is corrupt: bytes {offset} to {offset + length} cannot be read")


def append_range(file: BinaryIO, store: Store, key: str, etag: str, offset: int, length: int) -> None:
    """Append such bytes to a file, as they arrive. Raises as `read_range` does."""
    begun = file.tell()

    def arrived() -> int:
        return file.tell() - begun

    def go_on() -> None:
        if arrived() < length:
            file.writelines(store.stream(key, offset=offset + arrived(), length=length - arrived(), etag=etag))

    store.reading(key, go_on, arrived)
    if arrived() != length:
        raise _short(store, key, offset, length)


class ObjectReader(io.RawIOBase):
    """An object of `size` bytes."""

    def __init__(self, store: Store, key: str, size: int, etag: str) -> None:
        super().__init__()
        self._store, self._key, self._size, self._etag = store, key, size, etag
        self._offset = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._size}[whence]
        self._offset = max(0, base + offset)
        return self._offset

    def tell(self) -> int:
        """The place."""
        return self._offset

    def readinto(self, buffer: object) -> int:
        """Read on."""
        view = memoryview(buffer)  # type: ignore[arg-type]  # the base class names no type that has one
        length = max(0, min(len(view), self._size - self._offset))
        if length:
            view[:length] = read_range(self._store, self._key, self._etag, self._offset, length)
            self._offset += length
        return length

    def buffered(self) -> io.BufferedReader:
        """The same, read in pieces."""
        return io.BufferedReader(self, PIECE)
