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
        """Take in the files of a folder that verifies, and let others go until there is room for them."""
        new = {entry.sha256: tree / entry.path for entry in manifest.entries if entry.size <= self._most_bytes}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for sha256, path in new.items():
                if not self._is_good(sha256, path):
                    unfinished = self._folder / f"{_UNFINISHED}{uuid.uuid4().hex}"
                    shutil.copyfile(path, unfinished)
                    unfinished.rename(self._folder / sha256)
            self._make_room()
        except OSError as error:
            self._complain("written", error)

    def _is_good(self, sha256: str, path: Path) -> bool:
        """Whether the cache has a file. One that was copied must be what it was verified to be: else it would be copied in vain for good."""
        held = self._folder / sha256
        if not held.exists() or held.stat().st_size != path.stat().st_size:
            return False
        return sha256 not in self._offered or filecmp.cmp(held, path, shallow=False)

    def _make_room(self) -> None:
        there = sorted(self._files())
        room = self._most_bytes - sum(size for _, size, _ in there)
        for _, size, path in there:
            if room >= 0:
                return
            path.unlink(missing_ok=True)
            room += size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of the last use, size and path. What a pod left that was ended while it wrote goes."""
        for path in self._folder.iterdir():
            try:
                seen = path.stat()
            except FileNotFoundError:
                continue  # another pod made room
            if not path.name.startswith(_UNFINISHED):
                yield seen.st_mtime, seen.st_size, path
            elif seen.st_mtime < time.time() - _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)

    def _complain(self, done: str, error: OSError) -> None:
        log.warning(f"the cache of models cannot be {done}: the store is asked", path=self._folder, error=str(error))
