"""How objects become local files: resumed where they stopped, hashed while they arrive, and only then under their names."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fovea_agent.connections import CHUNK
from fovea_agent.errors import Corrupt
from fovea_agent.parallel import check_cancelled
from fovea_agent.store import Store

PIECE = 8 << 20
"""Bytes of one ranged request; each thread holds one in memory."""
WHOLE = 1 << 20
"""Up to this size an object is held in memory until it is whole: a partial file would cost more than a second request."""
RANGED_FROM = 4 * PIECE
"""From this size on an object is fetched in pieces, several at once: one connection is slower than the wire."""
TURN = 0.5
"""Seconds between looks whether a piece's turn will still come."""


@dataclass(frozen=True)
class Wanted:
    """One object to fetch. What is known of it beforehand decides what is checked: its digest, or its ETag (a pin)."""

    key: str
    path: str
    size: int
    sha256: str = ""
    etag: str = ""

    @property
    def identity(self) -> str:
        """Name of the partial file: a partial of other content is never continued."""
        return hashlib.sha256(f"{self.key}\0{self.size}\0{self.sha256}\0{self.etag}".encode()).hexdigest()


def downloads(
    store: Store, wanted: Iterable[Wanted], folder: Path, partials: Path, *, durable: bool = True
) -> Iterator[Callable[[], None]]:
    """Tasks, for `run_each`, that fetch objects to `folder/<path>`: one for a small object, several for a big one.

    Each continues the partial file of an earlier try. Raises Corrupt (key, expected and found digest) when a second,
    fresh download does not verify either. `durable`: a file has reached the disk before it has its name.
    """
    made: set[Path] = set()
    for one in wanted:
        if one.size <= WHOLE and not durable:
            yield partial(_fetch_whole, store, one, folder, made)
            continue
        file = _File(store, one, folder, partials, durable=durable)
        if one.size < RANGED_FROM:
            yield file.fetch
        else:
            yield from file.pieces()


def _fetch_whole(store: Store, wanted: Wanted, folder: Path, made: set[Path]) -> None:
    """Fetch a small object; `made` remembers the folders that are there, since there may be a million files in them."""

    def read() -> bytes:
        return b"".join(store.stream(wanted.key, etag=wanted.etag)) if wanted.size else b""

    data = store.reading(wanted.key, read)
    if len(data) != wanted.size:
        data = store.reading(wanted.key, read)
    if len(data) != wanted.size or (wanted.sha256 and hashlib.sha256(data).hexdigest() != wanted.sha256):
        raise Corrupt(_corrupt(store, wanted, f"{len(data)} bytes"))
    target = folder / wanted.path
    if target.parent not in made:
        target.parent.mkdir(parents=True, exist_ok=True)
        made.add(target.parent)
    # Not unbuffered: a single write(2) to a disk that is nearly full writes what fits, and raises nothing.
    target.write_bytes(data)


def _corrupt(store: Store, wanted: Wanted, found: str) -> str:
    expected = f"{wanted.size} bytes"
    if wanted.sha256:
        expected += f" with sha256:{wanted.sha256}"
    return f"s3://{store.bucket}/{wanted.key} is corrupt: expected {expected}, found {found}"


class _File:
    """One object on its way: `_partial` holds its beginning, in order, and `_digest` is that of what it holds."""

    def __init__(self, store: Store, wanted: Wanted, folder: Path, partials: Path, *, durable: bool) -> None:
        self._store, self._wanted, self._durable = store, wanted, durable
        self._target, self._partial = folder / wanted.path, partials / wanted.identity
        self._digest = hashlib.sha256()
        self._arrived = 0
        self._turn = threading.Condition()

    def fetch(self) -> None:
        """Fetch it with one request, and more where that is interrupted."""
        if self._is_there():
            return  # it got its name only after it was verified
        with self._partial.open("ab") as file:
            if file.tell():
                self._take_up()
            self._append(file)
        self._finish()

    def pieces(self) -> Iterator[Callable[[], None]]:
        """Tasks that fetch a piece each; they must be started in their order."""
        if self._is_there():
            return
        if self._partial.exists():
            self._take_up()
        if self._arrived >= self._wanted.size:
            yield self._finish
        for offset in range(self._arrived, self._wanted.size, PIECE):
            yield partial(self._piece, offset, min(PIECE, self._wanted.size - offset))

    def _is_there(self) -> bool:
        return self._target.is_file() and self._target.stat().st_size == self._wanted.size

    def _take_up(self) -> None:
        """Count in what an earlier run of this container has left."""
        if not self._wanted.sha256:
            self._arrived = self._partial.stat().st_size
            return
        with self._partial.open("rb") as file:
            while chunk := file.read(CHUNK):
                check_cancelled()
                self._count(chunk)

    def _count(self, chunk: bytes | bytearray) -> None:
        if self._wanted.sha256:
            self._digest.update(chunk)
        self._arrived += len(chunk)

    def _append(self, file: BinaryIO) -> None:
        def go_on() -> None:
            if self._arrived < self._wanted.size:
                for chunk in self._store.stream(self._wanted.key, offset=self._arrived, etag=self._wanted.etag):
                    file.write(chunk)
                    self._count(chunk)

        self._store.reading(self._wanted.key, go_on, lambda: self._arrived)

    def _piece(self, offset: int, length: int) -> None:
        data = bytearray()

        def go_on() -> None:
            start, left = offset + len(data), length - len(data)
            for chunk in self._store.stream(self._wanted.key, offset=start, length=left, etag=self._wanted.etag):
                data.extend(chunk)

        self._store.reading(self._wanted.key, go_on, lambda: len(data))
        if len(data) != length:
            raise Corrupt(_corrupt(self._store, self._wanted, f"fewer than {offset + length} bytes"))
        with self._turn:
            # Pieces were started in order, so the one whose turn it is is on its way in another thread.
            while self._arrived != offset:
                self._turn.wait(TURN)
                self._store.patience.check(f"read {self._wanted.key}")
            with self._partial.open("ab") as file:
                file.write(data)
            self._count(data)
            self._turn.notify_all()
        if offset + length == self._wanted.size:
            self._finish()

    def _finish(self) -> None:
        """Verify it and give it its name."""
        if not self._verifies():
            # Once more from the start: the disk, the memory or the wire may have been at fault, not the object.
            self._digest, self._arrived = hashlib.sha256(), 0
            with self._partial.open("wb") as file:
                self._append(file)
            if not self._verifies():
                self._partial.unlink()
                found = f"{self._arrived} bytes"
                if self._wanted.sha256:
                    found += f" with sha256:{self._sha256()}"
                raise Corrupt(_corrupt(self._store, self._wanted, found))
        self._target.parent.mkdir(parents=True, exist_ok=True)
        if self._durable:
            with self._partial.open("rb") as file:
                os.fsync(file.fileno())
        self._partial.rename(self._target)

    def _verifies(self) -> bool:
        return (self._arrived, self._sha256()) == (self._wanted.size, self._wanted.sha256)

    def _sha256(self) -> str:
        return self._digest.hexdigest() if self._wanted.sha256 else ""
