"""Files in folders that the program owns while the agent holds keys: no link is followed on the way to them."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def folder_beneath(root: Path, relative: str, *, make: bool = False) -> Iterator[int]:
    """A descriptor of a folder below a root that the program cannot replace (a mount point); `make` it if it is not there.

    Raises OSError for a link in the place of a folder.
    """
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in PurePosixPath(relative).parts:
            if make:
                _make(name, at)
            below = os.open(name, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def read_beneath(folder: int, name: str, most: int) -> str:
    """The text of a file in a folder. Raises OSError for what is no file, or has more than `most` bytes; ValueError for no UTF-8."""
    # O_NONBLOCK: opening a named pipe must not wait for its writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(f"{name} is no file, or has more than {most} bytes")
        return file.read(most).decode()


def write_beneath(folder: int, name: str, text: str) -> None:
    """Let a file appear whole in a folder, in place of the one before. Raises OSError."""
    unfinished = f".{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(unfinished, flags, 0o664, dir_fd=folder), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)


def _make(name: str, at: int) -> None:
    try:
        os.mkdir(name, 0o2775, dir_fd=at)
    except FileExistsError:
        return
