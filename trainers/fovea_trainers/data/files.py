"""Files below a folder, fast enough for a million of them: one pass, links followed, what is hidden left alone."""

import errno
import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fovea_api.contract.left_alone import NO_FOLDERS_OF_A_USER

Array = np.ndarray[Any, Any]
_INTERRUPTIBLE = 1000
"""Files between two looks at whether a stop was requested."""


@dataclass(frozen=True)
class Files:
    """Numbered files of a folder, in arrays: a listing of a million holds no object for each."""

    root: Path
    paths: Array
    """bytes [n]: paths below `root` as the file system has them."""
    sizes: Array
    """int64 [n], in bytes."""

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, number: int) -> Path:
        """A file."""
        return self.root / self.name(number)

    def name(self, number: int) -> str:
        """Its path below `root`."""
        return os.fsdecode(self.paths[number])

    def content(self, number: int) -> bytes:
        """Its bytes. Raises OSError."""
        return self.path(number).read_bytes()


@dataclass
class Found:
    """Wanted files with their sizes in bytes, and the names of everything else."""

    paths: list[bytes] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    others: list[str] = field(default_factory=list)


def look(folder: Path, check: Callable[[], None]) -> tuple[list[Path], list[str]]:
    """The folders in a folder, in the order of names, and the names of what else is there. `check` as in `walk`."""
    folders: list[str] = []
    others: list[str] = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count % _INTERRUPTIBLE == 0:
                check()
            if not _hidden(entry.name):
                (folders if _is_folder(entry) else others).append(entry.name)
    return [folder / name for name in sorted(folders)], others


def walk(
    folder: Path, prefix: str, wanted: Callable[[str], bool], check: Callable[[], None], *, deep: bool = True
) -> Found:
    """Everything below a folder, or in it alone; names begin with `prefix`. `check` may raise to give up.

    `wanted` says of the path of a regular file whether it is one to find; it may raise OSError. A link that leads nowhere,
    a socket or a named pipe is none; a file that cannot be opened is one, and is named when it is read. A folder that
    links lead back to is walked once, and none above `folder`: those hold other classes.
    Raises PermissionError for a folder that cannot be listed: what is in it would be missed in silence.
    """
    found = Found()
    waiting, seen = [(str(folder), prefix)], {_identity(path) for path in _above(folder)} if deep else set()
    count = 0
    check()
    while waiting:
        path, name = waiting.pop()
        if (identity := _identity(path)) in seen:
            continue
        seen.add(identity)
        with os.scandir(path) as entries:
            for entry in entries:
                count += 1
                if count % _INTERRUPTIBLE == 0:
                    check()
                if _hidden(entry.name):
                    continue
                if _is_folder(entry):
                    if deep:
                        waiting.append((entry.path, f"{name}{entry.name}/"))
                elif _is_wanted(entry, wanted):
                    found.paths.append(os.fsencode(name + entry.name))
                    found.sizes.append(entry.stat().st_size)
                else:
                    found.others.append(name + entry.name)
    return found


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - objects for a million files are slow
    return status.st_dev, status.st_ino


def _above(folder: Path) -> set[Path]:
    return {*folder.absolute().parents, *folder.resolve().parents}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False  # a link that leads to itself


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in NO_FOLDERS_OF_A_USER


def _is_wanted(entry: os.DirEntry[str], wanted: Callable[[str], bool]) -> bool:
    try:
        if not entry.is_file():
            return False
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False
    try:
        return wanted(entry.path)
    except PermissionError:
        return True
