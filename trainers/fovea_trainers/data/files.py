"""Files below a folder, fast enough for a million of them: one pass, links followed, what is hidden left alone."""

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fovea_trainers.data import formats

_NO_FOLDERS_OF_A_USER = frozenset({"__MACOSX"})
"""What archives of macOS hold beside the user's folders."""
_INTERRUPTIBLE = 1000
"""Files between two looks at whether a stop was requested."""


@dataclass
class Found:
    """Pictures with their sizes in bytes, and the names of everything else."""

    paths: list[bytes] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    others: list[str] = field(default_factory=list)


def visible(folder: Path) -> list[Path]:
    """What is in a folder, in the order of names."""
    return sorted(path for path in folder.iterdir() if not _hidden(path.name))


def walk(folder: Path, prefix: str, check: Callable[[], None], *, deep: bool = True) -> Found:
    """Everything below a folder, or in it alone; names begin with `prefix`. `check` may raise to give up.

    A broken link, a socket or a named pipe is no picture; a file that cannot be opened is one, and is named when it is
    read. A folder that links lead back to is walked once.
    """
    found = Found()
    waiting, seen = [(str(folder), prefix)], set()
    count = 0
    while waiting:
        path, name = waiting.pop()
        status = os.stat(path)  # noqa: PTH116 - objects for a million files are slow
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as entries:
            for entry in entries:
                count += 1
                if count % _INTERRUPTIBLE == 0:
                    check()
                if _hidden(entry.name):
                    continue
                if entry.is_dir():
                    if deep:
                        waiting.append((entry.path, f"{name}{entry.name}/"))
                elif _is_picture(entry):
                    found.paths.append(os.fsencode(name + entry.name))
                    found.sizes.append(entry.stat().st_size)
                else:
                    found.others.append(name + entry.name)
    return found


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _NO_FOLDERS_OF_A_USER


def _is_picture(entry: os.DirEntry[str]) -> bool:
    if not entry.is_file():
        return False
    try:
        return formats.is_picture(entry.path)
    except PermissionError:
        return True
