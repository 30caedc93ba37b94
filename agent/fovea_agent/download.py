"""How one object becomes a local file: resumed where it stopped, verified, and only then under its name."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from fovea_agent.connections import CHUNK
from fovea_agent.errors import Corrupt, KeyRefused, Missing
from fovea_agent.store import Store


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


def download(store: Store, wanted: Wanted, folder: Path, partials: Path, *, durable: bool = True) -> None:
    """Fetch into `folder/path`, continuing the partial file of an earlier try.

    Raises Corrupt (key, expected and found digest) when a second, fresh download does not verify either.
    """
    target = folder / wanted.path
    if target.is_file() and target.stat().st_size == wanted.size:
        return  # it got its name only after it was verified
    partial = partials / wanted.identity
    try:
        _fetch(store, wanted, partial)
    except Corrupt:
        # Once more from the start: the disk, the memory or the wire may have been at fault, not the object.
        _fetch(store, wanted, partial)
    target.parent.mkdir(parents=True, exist_ok=True)
    if durable:
        with partial.open("rb") as file:
            os.fsync(file.fileno())
    partial.rename(target)


def _fetch(store: Store, wanted: Wanted, partial: Path) -> None:
    try:
        store.patience.run(lambda: _append(store, wanted, partial), f"read {wanted.key}", lambda: _size(partial))
    except KeyRefused:
        if store.find(wanted.key) is None:
            raise Missing(f"s3://{store.bucket}/{wanted.key} is not in the store") from None
        raise
    size, found = _size(partial), _digest(partial) if wanted.sha256 else ""
    if size != wanted.size or found != wanted.sha256:
        partial.unlink()
        raise Corrupt(
            f"s3://{store.bucket}/{wanted.key} is corrupt: expected {wanted.size} bytes with sha256:{wanted.sha256}, "
            f"found {size} bytes with sha256:{found}"
        )


def _append(store: Store, wanted: Wanted, partial: Path) -> None:
    with partial.open("ab") as file:
        if file.tell() < wanted.size:
            for chunk in store.stream(wanted.key, offset=file.tell(), etag=wanted.etag):
                file.write(chunk)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()
