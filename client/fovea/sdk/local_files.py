"""Files of a folder that is to be uploaded."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from .errors import InvalidError


@dataclass(frozen=True)
class LocalFile:
    """A file to upload: where it is, its path in the folder with slashes, its size in bytes."""

    path: Path
    name: str
    size: int


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what keeps a file or folder from being read into an InvalidError that names it."""
    try:
        yield
    except OSError as error:
        raise InvalidError(
            f"cannot read {error.filename or path} ({error.strerror or error}): "
            "make it readable, or leave it out of the upload"
        ) from error


def scan(folder: Path, exclude: Iterable[str] = ()) -> list[LocalFile]:
    """All files below a folder in order of name, symbolic links followed. `exclude`: patterns of names or paths.

    Raises InvalidError when there are none, and for what cannot be read or would never end: left out silently, it would
    be missing in the store, or with `--delete` be removed there.
    """
    if not folder.is_dir():
        raise InvalidError(f"{folder} is not a folder: name the folder whose content is to be uploaded")
    patterns = tuple(exclude)
    found = []
    for path in sorted(_walk(folder, patterns)):
        with reading(path):
            known = path.stat()
        if stat.S_ISREG(known.st_mode):
            found.append(LocalFile(path, path.relative_to(folder).as_posix(), known.st_size))
    if not found:
        raise InvalidError(f"{folder} holds no files" + (" that are not excluded" if patterns else ""))
    return found


def _walk(folder: Path, exclude: tuple[str, ...]) -> Iterator[Path]:
    """What is in a folder and in those below it and is no folder."""

    def refuse(error: OSError) -> None:
        raise error

    def wanted(path: Path) -> bool:
        name = path.relative_to(folder).as_posix()
        return not any(fnmatch(name, pattern) or fnmatch(path.name, pattern) for pattern in exclude)

    with reading(folder):
        for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
            _check_no_loop(folder, Path(parent))
            folders[:] = [name for name in folders if wanted(Path(parent, name))]
            yield from (path for name in files if wanted(path := Path(parent, name)))


def _check_no_loop(folder: Path, below: Path) -> None:
    """Raise InvalidError for a folder that is one of those it lies in."""
    if not below.is_symlink() or below == folder:
        return
    here = below.stat()
    for above in below.parents:
        if os.path.samestat(above.stat(), here):
            raise InvalidError(
                f"{below} is a link to {below.resolve()}, in which it lies itself: leave it out of the upload"
            )
        if above == folder:
            return


def etag(path: Path, part_size: int) -> str:
    """The ETag that an S3 store gives a file uploaded in parts of this size, unless it encrypts with its own keys."""
    digests = []
    with reading(path), path.open("rb") as file:
        while part := file.read(part_size):
            digests.append(hashlib.md5(part, usedforsecurity=False))
    if len(digests) <= 1:
        return digests[0].hexdigest() if digests else hashlib.md5(b"", usedforsecurity=False).hexdigest()
    whole = hashlib.md5(b"".join(d.digest() for d in digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"
