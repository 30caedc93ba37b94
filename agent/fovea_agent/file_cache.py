"""Files of models on a volume that several pods of a node have: what one pod has fetched, the next one copies.

A file is named by its digest, so that versions share what is equal in them. What is copied is verified like what the store
sends, and fetched where it does not verify: the cache makes a start quicker, and is never in its way.
"""

import filecmp
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from fovea_api.contract.manifest import Manifest

from fovea_agent import log

_UNFINISHED = ".unfinished-"
_ABANDONED_SECONDS = 3600.0


class FileCache:
    """A folder of files by digest, of at most so many bytes. Other pods read and write it at the same time."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self.found = 0
        """Bytes that were there."""
        self._offered: set[str] = set()

    def offer(self, sha256: str, size: int, target: Path) -> None:
        """Copy the file of that digest to a path where nothing is, if it is there. It may not be what it should be."""
        held = self._folder / sha256
        try:
            if target.exists() or held.stat().st_size != size:
                return
            shutil.copyfile(held, target)
            os.utime(held)  # the least recently used one goes first
        except FileNotFoundError:
            return
        except OSError as error:
            self._complain("read", error)
            target.unlink(missing_ok=True)
            return
        self.found += size
        self._offered.add(sha256)

    def keep(self, manifest: Manifest, tree: Path) -> None:
        """Take in the files of a folder that verifies. Others go first, as many as there must be room for."""
        new = {entry.sha256: tree / entry.path for entry in manifest.entries if entry.size <= self._most_bytes}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Also where nothing is missing: the size of the cache, or the disk, may be smaller than before.
            self._make_room(0)
            for sha256, path in new.items():
                if not self._is_good(sha256, path) and self._make_room(path.stat().st_size):
                    self._take_in(sha256, path)
        except OSError as error:
            self._complain("written", error)

    def _take_in(self, sha256: str, path: Path) -> None:
        unfinished = self._folder / f"{_UNFINISHED}{uuid.uuid4().hex}"
        try:
            shutil.copyfile(path, unfinished)
            unfinished.rename(self._folder / sha256)
        finally:
            unfinished.unlink(missing_ok=True)  # of a copy that failed: it would fill the disk for those after it

    def _is_good(self, sha256: str, path: Path) -> bool:
        """Whether the cache has a file. One that was copied must be what it was verified to be: else it would be copied in vain for good."""
        held = self._folder / sha256
        try:
            if held.stat().st_size != path.stat().st_size:
                return False
            if sha256 in self._offered and not filecmp.cmp(held, path, shallow=False):
                return False
            os.utime(held)  # what this model needs does not go to make room for its other files
        except FileNotFoundError:
            return False  # it was never there, or another pod made room
        return True

    def _make_room(self, size: int) -> bool:
        """Let the least recently used files go until so many bytes more fit the cache, and the disk; whether they do.

        The disk may be smaller than the cache is meant to be, or full of what others have written. Where they fit in no
        case, nothing goes.
        """
        there = sorted(self._files())
        unused = self._most_bytes - sum(held for _, held, _ in there)
        room = min(unused, shutil.disk_usage(self._folder).free) - size
        files = [each for each in there if not each[2].name.startswith(_UNFINISHED)]
        if room + sum(held for _, held, _ in files) < 0:
            log.warning("the cache of models has no room for a file", path=self._folder, bytes=size)
            return False
        for _, held, path in files:
            if room >= 0:
                break
            path.unlink(missing_ok=True)
            room += held
        return True

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of the last use, size and path, also of what other pods are writing. What a pod left that was ended while it wrote goes."""
        for path in self._folder.iterdir():
            try:
                seen = path.stat()
            except FileNotFoundError:
                continue  # another pod made room
            if path.name.startswith(_UNFINISHED) and seen.st_mtime < time.time() - _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
                continue
            yield seen.st_mtime, seen.st_size, path

    def _complain(self, done: str, error: OSError) -> None:
        log.warning(f"the cache of models cannot be {done}: the store is asked", path=self._folder, error=str(error))
