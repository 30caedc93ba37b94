"""Uploading: many files at once, and only those that the store does not have."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .errors import InvalidError
from .local_files import LocalFile, etag
from .parallel import PARALLEL, Progress, Tally, run_all
from .store import PART_SIZE, Store

__all__ = ["PARALLEL", "Progress", "Sent", "upload"]

_MAX_KEY = 1024
"""Bytes of a key, by S3's definition."""


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
    for file in files:
        key = f"{prefix}/{file.name}"
        if len(key.encode()) > _MAX_KEY:
            raise InvalidError(
                f"{file.name}: its key has {len(key.encode())} bytes, an object store takes {_MAX_KEY} at most: "
                "shorten the names of its folders, or leave it out; nothing was sent"
            )
    present = store.objects(f"{prefix}/")
    tally = Tally(len(files), sum(file.size for file in files), progress)

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

    # One failure ends the upload: what has not begun is not begun any more, and what went up stays.
    sent = run_all((partial(one, file) for file in files), parallel, tally)
    local = {f"{prefix}/{file.name}" for file in files}
    size = sum(file.size for file, was_sent in zip(files, sent, strict=True) if was_sent)
    return Sent(sum(sent), len(sent) - sum(sent), size, tuple(sorted(set(present) - local)))
