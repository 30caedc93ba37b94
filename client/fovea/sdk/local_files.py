"""Files of a folder that is to be uploaded."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path

from .errors import InvalidError

_LINES = 20
"""At most this many lines of one kind are printed; the rest is counted."""


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


def scan(
    folder: Path,
    exclude: Iterable[str] = (),
    notice: Callable[[str], None] = lambda _: None,
    remedy: str = "leave it out: --exclude 'NAME OR PATTERN'",
) -> list[LocalFile]:
    """All files below a folder in order of name, symbolic links followed. `exclude`: patterns of names or paths.

    `notice` gets a line for each thing without content (a named pipe, an empty folder), which is left out; `remedy` is
    how else than by mending it a thing that cannot be uploaded is dealt with. Raises
    InvalidError that names everything that cannot be uploaded, and when there are no files: what was left out silently
    would be missing in the store, or with `--delete` be removed there.
    """
    if not folder.is_dir():
        raise InvalidError(f"{shown(str(folder))} is not a folder: name the folder whose content is to be uploaded")
    found = _Walk(folder, tuple(exclude))
    found.walk()
    if found.troubles:
        lines = [f"  - {line}" for line in sorted(found.troubles)]
        raise InvalidError(
            f"{len(lines)} {'entry' if len(lines) == 1 else 'entries'} of {shown(str(folder))} cannot be uploaded, "
            "nothing was sent:\n" + "\n".join(_first(lines, "  - and {} more")) + "\n"
            f"Correct the entries above, or {remedy}"
        )
    if not found.files:
        raise InvalidError(f"{shown(str(folder))} holds no files" + (" that are not excluded" if exclude else ""))
    for line in _first(sorted(found.left_out), "{} more were left out for such reasons."):
        notice(line)
    return sorted(found.files, key=lambda file: file.path)


def shown(name: str) -> str:
    r"""A name for a message: bytes that are not UTF-8 as \xff."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _first(lines: list[str], rest: str) -> list[str]:
    more = len(lines) - _LINES
    return [*lines[:_LINES], rest.format(more)] if more > 0 else lines


_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


class _Walk:
    """One walk through a folder: its files, what has no content, and what cannot be uploaded (a line for each)."""

    def __init__(self, folder: Path, exclude: tuple[str, ...]) -> None:
        self._folder, self._exclude = folder, exclude
        self.files: list[LocalFile] = []
        self.left_out: list[str] = []
        self.troubles: list[str] = []

    def walk(self) -> None:
        for parent, folders, files in os.walk(self._folder, followlinks=True, onerror=self._unreadable):
            here = Path(parent)
            if here != self._folder and not folders and not files:
                self.left_out.append(
                    f"{self._name(here)} is an empty folder: left out, since an object store keeps files only."
                )
            folders[:] = [name for name in folders if self._wanted(here / name) and not self._leads_back(here / name)]
            for name in files:
                if self._wanted(here / name):
                    self._add(here / name)

    def _add(self, path: Path) -> None:
        name = self._name(path)
        try:
            known = path.stat()
        except OSError as error:
            self._unreadable(error)
            return
        kind = _KINDS.get(stat.S_IFMT(known.st_mode))
        if kind is not None:
            self.left_out.append(f"{name} is {kind}: left out, since it has no content to upload.")
        elif not os.access(path, os.R_OK):
            self.troubles.append(f"{name} cannot be read (Permission denied): make it readable")
        elif not _is_utf_8(key := path.relative_to(self._folder).as_posix()):
            self.troubles.append(f"{name}: this name is not UTF-8, which keys of an object store are: rename it")
        else:
            self.files.append(LocalFile(path, key, known.st_size))

    def _unreadable(self, error: OSError) -> None:
        path = Path(os.fsdecode(error.filename or self._folder))
        remedy = "it is a link to nothing" if path.is_symlink() and not path.exists() else "make it readable"
        self.troubles.append(f"{self._name(path)} cannot be read ({error.strerror or error}): {remedy}")

    def _leads_back(self, below: Path) -> bool:
        """Whether a folder is one of those it lies in, within the folder that is walked or above it."""
        if not below.is_symlink():
            return False
        here = below.stat()
        within = takewhile(lambda above: above != self._folder, below.parents)
        for above in (*within, self._folder, *self._folder.resolve().parents):
            if os.path.samestat(above.stat(), here):
                target = shown(str(below.resolve()))
                self.troubles.append(f"{self._name(below)} is a link to {target}, a folder that contains it")
                return True
        return False

    def _wanted(self, path: Path) -> bool:
        name = path.relative_to(self._folder).as_posix()
        return not any(fnmatch(name, pattern) or fnmatch(path.name, pattern) for pattern in self._exclude)

    def _name(self, path: Path) -> str:
        return shown(path.relative_to(self._folder).as_posix())


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
