"""Downloading: what is not there yet, verified in a staging folder, and then renamed into its place."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from pathlib import Path

from fovea_api.contract.manifest import Manifest

from . import file_names
from .errors import AlreadyExistsError, InvalidError, StoreError, UnreachableError
from .local_files import etag, shown
from .parallel import PARALLEL, Progress, Tally, run_all
from .patience import Patience
from .store import PART_SIZE, Store, StoredObject

_CHUNK = 1024 * 1024
_NAMED = 10
"""At most this many files are named in a refusal; the rest is counted."""
_MD5 = re.compile("[0-9a-f]{32}")
_SAME_TIME = 2.0
"""Seconds by which a file system may round the time of a file."""


class Found(Enum):
    """What is in a file's place already."""

    NOTHING = "nothing"
    SAME = "the same content"
    OTHER = "other content"
    UNKNOWN = "a file of the same size; no digest shows whether its content is the same"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch: its path in the folder, its object's key, size, and the digest or ETag that its content has."""

    name: str
    key: str
    size: int
    sha256: str = ""
    etag: str = ""
    modified: datetime | None = None
    """When the object was changed last, which its file gets: by it a later download knows what no ETag can verify."""

    @property
    def identity(self) -> str:
        """Name of its partial file: one of other content is never continued."""
        return hashlib.sha256(f"{self.key}\0{self.size}\0{self.sha256}\0{self.etag}".encode()).hexdigest()


@dataclass(frozen=True)
class Downloaded:
    """What a download did: the folder, its files' names, how many were fetched and were there, bytes fetched."""

    folder: Path
    names: tuple[str, ...]
    fetched: int
    skipped: int
    bytes: int


def of_manifest(prefix: str, manifest: Manifest, below: str = "") -> list[Wanted]:
    """The files of a publication; `below` a folder of the download where it has one of its own."""
    return [Wanted(below + e.path, f"{prefix}/{e.key}", e.size, sha256=e.sha256) for e in manifest.entries]


def of_listing(prefix: str, objects: Iterable[StoredObject]) -> list[Wanted]:
    """The files of a data set, each pinned to its ETag. InvalidError for keys that no file can have."""
    found = []
    for item in objects:
        name = item.key.removeprefix(f"{prefix}/")
        if name.endswith("/") and not item.size:
            continue  # a console's mark for an empty folder
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise InvalidError(
                f"object {item.key!r}: {name!r} is not a path of a file in a folder: "
                "copy the data set with a tool for S3 that can rename it"
            )
        found.append(Wanted(name, item.key, item.size, etag=item.etag, modified=item.modified))
    return found


def download(
    store: Store,
    wanted: Sequence[Wanted],
    folder: Path,
    *,
    force: bool = False,
    parallel: int = PARALLEL,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Downloaded:
    """Bring files into a folder, which need not exist; call it again to go on after a failure.

    Files that are there with the same content stay. Raises AlreadyExistsError before anything is fetched where other
    content is in their place and not `force`; where only fetching can tell, after that. Nothing appears in the folder
    before all is fetched and verified.
    """
    with writing(folder):
        file_names.check((item.name for item in wanted), folder)
    tally = Tally(len(wanted), sum(item.size for item in wanted), progress)
    found = run_all((partial(_look, store, folder, item) for item in wanted), parallel, tally)
    if not force:
        _refuse(folder, [item for item, there in zip(wanted, found, strict=True) if there is Found.OTHER])
    missing = [item for item, there in zip(wanted, found, strict=True) if there is not Found.SAME]
    for item, there in zip(wanted, found, strict=True):
        if there is Found.SAME:
            tally.add(item.size)
            tally.done()
    unknown = {item for item, there in zip(wanted, found, strict=True) if there is Found.UNKNOWN}
    # Below the folder, since a rename needs one file system; its name is this download's: another is not mixed in.
    staging = folder / f".fovea-download-{_identity(wanted)}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if missing:
            _fetch_all(store, missing, staging, tally, parallel)
            if not force:
                others = [item for item in missing if item in unknown and _differs(folder, staging, item)]
                _refuse(folder, others, kept=staging)
            _into_place(missing, staging)
    names = tuple(item.name for item in wanted)
    return Downloaded(folder, names, len(missing), len(wanted) - len(missing), sum(item.size for item in missing))


def _refuse(folder: Path, others: list[Wanted], kept: Path | None = None) -> None:
    """`kept`: where all is that was fetched."""
    if others:
        where = shown(str(kept)) if kept else ""
        fetched = (
            f", which fetches nothing again. What was fetched is in {where}: remove it if you no longer need it"
            if kept
            else ""
        )
        raise AlreadyExistsError(
            f"{shown(str(folder))} holds other content in {len(others)} of these files: "
            f"{_listed([item.name for item in others])}. Choose another folder, or replace them with --force{fetched}"
        )


def _fetch_all(store: Store, missing: list[Wanted], staging: Path, tally: Tally, parallel: int) -> None:
    staging.mkdir(exist_ok=True)
    _check_room(missing, staging)
    run_all((partial(_fetch, store, item, staging / item.identity, tally) for item in missing), parallel, tally)


def _into_place(fetched: list[Wanted], staging: Path) -> None:
    for item in fetched:
        target = staging.parent / item.name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / item.identity).replace(target)
    shutil.rmtree(staging)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being written into an InvalidError that names it."""
    try:
        yield
    except OSError as error:
        where = shown(str(error.filename2 or error.filename or path))
        raise InvalidError(
            f"cannot write {where} ({error.strerror or error}): choose another folder, or make room; "
            "repeat the command to go on where it stopped"
        ) from error


def _look(store: Store, folder: Path, item: Wanted) -> Found:
    target = folder / item.name
    above = folder
    for part in item.name.split("/")[:-1]:
        above = above / part
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            raise InvalidError(
                f"{shown(str(above))} is {'a link' if above.is_symlink() else 'a file'}, "
                f"and {item.name} needs a folder there: remove it, or choose another folder"
            )
    if target.is_dir() and not target.is_symlink():
        raise InvalidError(f"{shown(str(target))} is a folder, where a file has to be: choose another folder")
    if not os.path.lexists(target):
        return Found.NOTHING
    if target.is_symlink() or not target.is_file():
        return Found.OTHER
    verified = _verified(store, item, target)
    if verified is None:
        return Found.SAME if _is_of(target, item) else Found.UNKNOWN
    return Found.SAME if verified else Found.OTHER


def _is_of(file: Path, item: Wanted) -> bool:
    """Whether the file has the time that its object had when a download brought it."""
    return item.modified is not None and abs(file.stat().st_mtime - item.modified.timestamp()) <= _SAME_TIME


def _differs(folder: Path, staging: Path, item: Wanted) -> bool:
    return _sha256(folder / item.name) != _sha256(staging / item.identity)


def _check_room(missing: list[Wanted], staging: Path) -> None:
    there = sum(entry.stat().st_size for entry in os.scandir(staging))
    needed, free = sum(item.size for item in missing) - there, shutil.disk_usage(staging).free
    if needed > free:
        raise InvalidError(
            f"{shown(str(staging.parent))} has room for {free} bytes, {needed} are to be fetched: choose another folder"
        )


def _fetch(store: Store, item: Wanted, partial_file: Path, tally: Tally) -> None:
    for last in (False, True):
        _transfer(store, item, partial_file, tally)
        if _verified(store, item, partial_file) is not False:
            if item.modified:
                os.utime(partial_file, (item.modified.timestamp(),) * 2)
            tally.done()
            return
        # Once more from the start: the disk or an earlier, interrupted run may have been at fault, not the object.
        found = _described(item, partial_file)
        tally.add(-partial_file.stat().st_size)
        partial_file.unlink()
        if last:
            raise StoreError(
                f"s3://{store.bucket}/{item.key} is damaged ({found}): it was fetched twice and not kept; "
                "repeat the command, and if it stays so, ask the platform team to look at the store"
            )


def _transfer(store: Store, item: Wanted, partial_file: Path, tally: Tally) -> None:
    """Fetch what the partial file lacks, through broken connections."""
    patience, known = Patience(), _size(partial_file)
    if known > item.size:
        partial_file.unlink()
        known = 0
    tally.add(known)
    while True:
        try:
            with partial_file.open("ab") as file:
                if item.size == 0 or file.tell() == item.size:
                    return
                with store.reading(item.key, offset=file.tell(), etag=item.etag) as response:
                    for chunk in response.stream(_CHUNK):
                        file.write(chunk)
                        patience.success()
                        tally.add(len(chunk))
                return
        except UnreachableError:
            if not patience.failure():
                raise
            time.sleep(1)


def _verified(store: Store, item: Wanted, file: Path) -> bool | None:
    """Whether a file has the wanted content; None where its size fits and no digest can say more."""
    if _size(file) != item.size:
        return False
    if item.sha256:
        return _sha256(file) == item.sha256
    if etag(file, PART_SIZE) == item.etag:
        return True
    # The ETag is no MD5 of the content where the object has parts of another size, or where the store encrypts.
    return False if _MD5.fullmatch(item.etag) and not store.encrypts(item.key) else None


def _described(item: Wanted, file: Path) -> str:
    """What was wanted, and what a file is."""
    if (size := _size(file)) != item.size:
        return f"expected {item.size} bytes, found {size}"
    if item.sha256:
        return f"expected sha256:{item.sha256}, found sha256:{_sha256(file)}"
    return f"expected ETag {item.etag}, found {etag(file, PART_SIZE)}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _identity(wanted: Sequence[Wanted]) -> str:
    """Of what a download is made, whatever of it is there already: the place in the store."""
    return hashlib.sha256(os.path.commonprefix([item.key for item in wanted]).encode()).hexdigest()[:12]


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
