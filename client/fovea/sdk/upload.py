"""Uploading: many files at once, and only those that the store does not have."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from .local_files import LocalFile, etag
from .store import PART_SIZE, Store

PARALLEL = 8


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
        if known is not None and known[0] == file.size and known[1] == etag(file.path, PART_SIZE):
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
