r"""Whether a folder can hold the names that a store has: asked before anything is fetched.

A store tells all names apart. File systems do not: some take `Cat` and `cat`, or a composed and a decomposed `ä`, for one
name, and the second file would silently replace the first. Windows takes `\` for a separator and has names of devices.
"""

import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from os.path import lexists
from pathlib import Path

from .errors import InvalidError
from .local_files import shown

WINDOWS = os.name == "nt"
_WINDOWS_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?:[ .].*)?", re.IGNORECASE)
_WINDOWS_FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]|[ .]$')
_LONGEST = 255
"""Bytes of a name in a folder, on every usual file system."""
_NAMED = 10
"""At most this many names are given; the rest is counted."""


def check(names: Iterable[str], folder: Path) -> None:
    """InvalidError that names what the folder, which need not exist, cannot hold under these names."""
    names = list(names)
    lines = [*_files_that_are_folders(names), *_impossible(names)]
    # The folder's file system is asked, not the operating system's name: both kinds are mounted everywhere.
    lines = lines or [
        f"{one} and {other}: one name in this folder" for one, other in _taken_for_one(folder, alike(names))
    ]
    if not lines:
        return
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    count = f"{len(lines)} {'name' if len(lines) == 1 else 'names'}"
    listed = "\n".join(f"  - {line}" for line in (*lines[:_NAMED], *more))
    raise InvalidError(
        f"{count} of the store cannot be stored in {shown(str(folder))}, nothing was fetched:\n{listed}\n"
        "Choose a folder on another file system, or rename the objects with a tool for S3"
    )


def alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of paths with one parent that differ in case or composition only: some file systems take them for one. Pure."""
    first: dict[str, str] = {}
    said = set()
    for name in names:
        parent = ""
        for part in name.split("/"):
            path = f"{parent}{part}"
            other = first.setdefault(f"{parent}{_folded(part)}", path)
            if other != path and path not in said:
                said.add(path)
                yield other, path
            parent = f"{path}/"


def _files_that_are_folders(names: list[str]) -> Iterator[str]:
    """A store can hold keys `a` and `a/b`; no folder can."""
    files = set(names)
    for name in names:
        parts = name.split("/")
        for length in range(1, len(parts)):
            if (above := "/".join(parts[:length])) in files:
                yield f"{above} and {name}: one name cannot be a file and a folder"


def _impossible(names: list[str]) -> Iterator[str]:
    for name in names:
        parts = name.split("/")
        longest = max(len(os.fsencode(part)) for part in parts)
        if longest > _LONGEST:
            yield f"{name[:60]}…: a name in it has {longest} bytes, a folder takes {_LONGEST}"
        elif WINDOWS and any(_WINDOWS_DEVICE.fullmatch(part) or _WINDOWS_FORBIDDEN.search(part) for part in parts):
            yield f"{name!r}: Windows does not take this name"


def _taken_for_one(folder: Path, pairs: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the pairs that are one name in this folder: tried in a folder beside it that goes at once."""
    first = next(pairs, None)
    if first is None:
        return []
    there = next(above for above in (folder, *folder.absolute().parents) if above.is_dir())
    with tempfile.TemporaryDirectory(prefix=".fovea-names-", dir=there) as probe:
        return [pair for pair in (first, *pairs) if _is_one(Path(probe), *pair)]


def _is_one(probe: Path, one: str, other: str) -> bool:
    tried = probe / one.rpartition("/")[2]
    tried.touch()
    try:
        return lexists(probe / other.rpartition("/")[2])
    finally:
        tried.unlink()


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
