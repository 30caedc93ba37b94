"""Uploading a folder: many files at once, and only those that the store does not have."""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from threading import Lock

from .errors import InvalidError
from .store import PART_SIZE, Store

PARALLEL = 8


@dataclass(frozen=True)
class LocalFile:
    """A file to upload: where it is, its path in the folder with slashes, its size in bytes."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True)
class Progress:
    """How far an upload is. Files that the store had already count as done."""

    files: int
    files_done: int
    bytes: int
    bytes_done: int


@dataclass(frozen=True)
class Sent:
    """What an upload did: files and bytes sent, files that were there already, keys that are not local."""

    sent: int
    skipped: int
    bytes: int
    foreign: tuple[str, ...]


def scan(folder: Path, exclude: Iterable[str] = ()) -> list[LocalFile]:
    """All files below a folder in order of name, symbolic links followed; raises InvalidError when there are none."""
    if not folder.is_dir():
        raise InvalidError(f"{folder} is not a folder: name the folder whose content is to be uploaded")
    patterns = tuple(exclude)
    found = [
        LocalFile(path, name, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(fnmatch(name := path.relative_to(folder).as_posix(), p) or fnmatch(path.name, p) for p in patterns)
        and (name := path.relative_to(folder).as_posix())
    ]
    if not found:
        raise InvalidError(f"{folder} holds no files" + (" that are not excluded" if patterns else ""))
    return found


def etag(path: Path, part_size: int = PART_SIZE) -> str:
    """The ETag that an S3 store gives a file uploaded in parts of this size, unless it encrypts with its own keys."""
    digests = []
    with path.open("rb") as file:
        while part := file.read(part_size):
            digests.append(hashlib.md5(part, usedforsecurity=False))
    if len(digests) <= 1:
        return digests[0].hexdigest() if digests else hashlib.md5(b"", usedforsecurity=False).hexdigest()
    whole = hashlib.md5(b"".join(d.digest() for d in digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"


def upload(
    store: Store,
    files: list[LocalFile],
    prefix: str,
    *,
    parallel: int = PARALLEL,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Sent:
    """Bring files to `<prefix>/<name>`; what is there with the same size and ETag stays, so a broken upload goes on."""
    present = store.objects(f"{prefix}/")
    tally = _Tally(files, progress)

    def one(file: LocalFile) -> bool:
        key = f"{prefix}/{file.name}"
        known = present.get(key)
        if known is not None and known[0] == file.size and known[1] == etag(file.path):
            tally.add(file.size)
            tally.done()
            return False
        store.put_file(key, file.path, file.size, tally.add)
        tally.done()
        return True

    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(one, file) for file in files]
        try:
            sent = [future.result() for future in futures]
        except BaseException:
            # One failure ends the upload: what has not begun is not begun any more, and what went up stays.
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    local = {f"{prefix}/{file.name}" for file in files}
    size = sum(file.size for file, was_sent in zip(files, sent, strict=True) if was_sent)
    return Sent(sum(sent), len(sent) - sum(sent), size, tuple(sorted(set(present) - local)))


class _Tally:
    def __init__(self, files: list[LocalFile], report: Callable[[Progress], None]) -> None:
        self._files, self._bytes = len(files), sum(file.size for file in files)
        self._files_done = self._bytes_done = 0
        self._report, self._lock = report, Lock()

    def add(self, count: int) -> None:
        self._change(0, count)

    def done(self) -> None:
        self._change(1, 0)

    def _change(self, files: int, count: int) -> None:
        with self._lock:
            self._files_done += files
            self._bytes_done += count
            self._report(Progress(self._files, self._files_done, self._bytes, self._bytes_done))
