"""What the files of a folder contain, as far as they were read, packed: 49 bytes a file beside its listing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fovea_agent.errors import Vanished
from fovea_agent.folder import Fingerprint, Folder
from fovea_agent.listing import Listing

UNCHANGED_SECONDS = 2.0
"""A file that was written later than this before it was read may be written again without another time stamp."""
_SHA256, _MD5 = 32, 16
_ROW = _SHA256 + _MD5
_READ, _AT_REST = 1, 2


class Contents:
    """Contents of the files of one listing, by their place in its order. Shared by threads, each with files of its own."""

    def __init__(self, folder: Folder, listing: Listing, clock: Callable[[], float] = time.time) -> None:
        self.listing, self.clock = listing, clock
        self._folder = folder
        self._state = bytearray(len(listing.stats))
        self._digests = bytearray(_ROW * len(listing.stats))
        self._in_parts: dict[int, Fingerprint] = {}

    def get(self, number: int) -> Fingerprint | None:
        """What the file contains; None when it was not read."""
        if not self._state[number]:
            return None
        if number in self._in_parts:
            return self._in_parts[number]
        sha256, md5 = self._digest(number)
        return Fingerprint(self.listing.stats.at(number).size, sha256.hex(), md5.hex(), 0, (md5,))

    def put(self, number: int, content: Fingerprint, began: float) -> None:
        """Remember a file that was read from the time `began` on; raises Vanished when it was written to meanwhile."""
        stat = self.listing.stats.at(number)
        if content.size != stat.size:
            path = self.listing.stats.paths[number]
            raise Vanished(f"{self._folder}/{path} changed while it was published: it has another size")
        if content.part_size:
            self._in_parts[number] = content
        md5 = content.md5s[0]
        self._digests[_ROW * number : _ROW * (number + 1)] = bytes.fromhex(content.sha256) + md5
        self._state[number] = _AT_REST if began - stat.changed / 1e9 > UNCHANGED_SECONDS else _READ

    def sizes_and_digests(self) -> Iterator[tuple[str, int, str]]:
        """Path, size and SHA-256 of each file, in order of path. All must have been read."""
        stats = self.listing.stats
        for number, path in enumerate(stats.paths):
            yield path, stats.at(number).size, self._digest(number)[0].hex()

    def take_over(self, before: "Contents") -> None:
        """Take what an earlier look knows of files that have not changed since, and were at rest when they were read."""
        new, old, number = self.listing.stats, before.listing.stats, 0
        for at, path in enumerate(new.paths):
            while number < len(old.paths) and old.paths[number] < path:
                number += 1
            if number == len(old.paths):
                return
            if old.paths[number] == path and old.row(number) == new.row(at):
                self._take_over(at, before, number)

    def _take_over(self, at: int, before: "Contents", number: int) -> None:
        if before._state[number] != _AT_REST:  # noqa: SLF001 - of the same class, here and below
            return
        self._state[at] = _AT_REST
        self._digests[_ROW * at : _ROW * (at + 1)] = before._digests[_ROW * number : _ROW * (number + 1)]  # noqa: SLF001
        if number in before._in_parts:  # noqa: SLF001
            self._in_parts[at] = before._in_parts[number]  # noqa: SLF001

    def _digest(self, number: int) -> tuple[bytes, bytes]:
        start = _ROW * number
        return bytes(self._digests[start : start + _SHA256]), bytes(self._digests[start + _SHA256 : start + _ROW])


@dataclass
class Known:
    """What files contain that were read before and have not changed since: the end of a job need not read them again."""

    clock: Callable[[], float] = time.time
    _by_folder: dict[str, Contents] = field(default_factory=dict)

    def of(self, folder: Folder, listing: Listing) -> Contents:
        """The contents of a folder's files as it is now, with what is known of them already, to be completed."""
        contents = Contents(folder, listing, self.clock)
        before = self._by_folder.get(str(folder))
        if before is not None:
            contents.take_over(before)
        self._by_folder[str(folder)] = contents
        return contents

    def forget(self, folder: Folder) -> None:
        """A folder that is published is not read again."""
        self._by_folder.pop(str(folder), None)
