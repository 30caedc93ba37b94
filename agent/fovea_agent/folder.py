"""Which files of a folder are published, and what they contain.

The trainer, which may run a tenant's code, owns these folders while the agent, which holds keys, reads them. A symbolic
link to a file outside would publish whatever the agent can read, so every component of a path is opened without
following links. Links that stay inside the folder are published as the files they point to.
"""

import hashlib
import os
import resource
import stat
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fovea_agent import log
from fovea_agent.errors import Vanished, VolumeProblem
from fovea_agent.listing import Aside, Files, Listing, Stat

MIB = 1 << 20
MULTIPART_FROM = 64 * MIB
PART = 32 * MIB
MOST_PARTS = 9_000
"""S3 allows 10,000."""
SPARE_DESCRIPTORS = 256
"""Of those that the process may open: not spent on holding a folder."""
UNREADABLE = "the agent may not read it"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Fingerprint:
    """What a file contains. `etag` is the one S3 gives it when it is sent in parts of `part_size` (0: in one piece)."""

    size: int
    sha256: str
    etag: str
    part_size: int
    md5s: tuple[bytes, ...]


@dataclass(frozen=True)
class Chunk:
    """One part of a file: number from 1, offset and size in bytes."""

    number: int
    offset: int
    size: int
    md5: bytes


def part_size(size: int) -> int:
    """Bytes per part for a file of `size` bytes, 0 for a single PUT."""
    if size <= MULTIPART_FROM:
        return 0
    return max(PART, -(-size // MOST_PARTS // MIB) * MIB)


class Folder:
    """A folder below a root that the trainer cannot replace (a mount point)."""

    def __init__(self, root: Path, relative: str, only: Collection[str] | None = None) -> None:
        """`only`: the entries of the folder that count, None for all."""
        self.root = root
        self.relative = relative
        self._only = None if only is None else frozenset(only)

    def __str__(self) -> str:
        return str(self.root / self.relative)

    def files(self) -> Files:
        """Paths of the files to publish -> the file with the content; relative to the folder. See `listing`."""
        return self.listing().files

    def listing(self) -> Listing:
        """What the folder holds.

        Raises Vanished when the folder or one in it is gone, VolumeProblem when the disk cannot be read.
        """
        top = self.root / self.relative
        try:
            if top.is_symlink():
                found = Listing()
                found.odd.put("", "the folder itself is a symbolic link")
                return found
            return self._walk(str(top))
        except OSError as error:
            raise _problem(str(error.filename or self), error) from error

    def is_as(self, listing: Listing) -> bool:
        """Whether the folder, looked at again, holds what it held when it was listed."""
        return self.listing() == listing

    def _walk(self, top: str) -> Listing:
        """Everything below `top`, in order of path, so that nothing has to be sorted or looked up afterwards."""
        inside = os.path.realpath(top) + "/"
        found = Listing()
        folders = [iter(self._entries(found, top, ""))]
        while folders:
            relative = next(folders[-1], None)
            if relative is None:
                folders.pop()
            elif relative.endswith("/"):
                folders.append(iter(self._entries(found, f"{top}/{relative[:-1]}", relative)))
            else:
                self._sort_in(found, top, relative, inside)
        return found

    def _entries(self, found: Listing, directory: str, below: str) -> list[str]:
        """Paths of a folder's entries in the order of what they hold; those of folders end in a slash."""
        wanted = None if below else self._only
        try:
            with os.scandir(directory) as entries:
                return sorted(
                    f"{below}{entry.name}/" if entry.is_dir(follow_symlinks=False) else f"{below}{entry.name}"
                    for entry in entries
                    if wanted is None or entry.name in wanted
                )
        except PermissionError:
            found.unreadable.put(below.rstrip("/"), UNREADABLE, partial(whose, Path(directory)))
            return []

    def _sort_in(self, found: Listing, top: str, relative: str, inside: str) -> None:
        path, holder = f"{top}/{relative}", relative
        if not _printable(relative):
            found.odd.put(relative, "the name is not UTF-8")
            return
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                target = os.path.realpath(path)  # of links in a circle: one of them, which is no file
                if not target.startswith(inside) or not Path(target).is_file():
                    found.odd.put(relative, "a symbolic link out of the folder, to a folder or to nothing")
                    return
                path, status, holder = target, os.lstat(target), target.removeprefix(inside)
        except PermissionError:  # of a folder that may be listed and not entered
            found.unreadable.put(relative, UNREADABLE, partial(whose, Path(path).parent))
            return
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
            found.odd.put(relative, f"{kind}, which has no content")
        elif not os.access(path, os.R_OK, effective_ids=True):
            found.unreadable.put(relative, UNREADABLE, partial(whose, Path(path)))
        else:
            found.stats.append(relative, status)
            if holder is not relative:
                found.links[relative] = holder

    @contextmanager
    def held(self) -> Iterator["Folder"]:
        """The folder as it is now: all files are opened, so what the trainer removes meanwhile can still be read."""
        listing = self.listing()
        wanted = sorted(set(listing.files.values()))
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
        if len(wanted) > allowed:
            log.warning("more files than can be held open: do not remove them early", folder=self, files=len(wanted))
            yield self
            return
        with ExitStack() as opened:
            descriptors: dict[str, int] = {}
            for path in wanted:
                descriptors[path] = self._descriptor(path)
                opened.callback(os.close, descriptors[path])
            if self.listing().stats != listing.stats:
                raise Vanished(f"{self} changed while it was opened: files were removed, added or written")
            yield _Held(self, listing, descriptors)

    def _descriptor(self, path: str) -> int:
        try:
            return _open_beneath(self.root, f"{self.relative}/{path}")
        except OSError as error:
            raise _problem(f"{self}/{path}", error) from error

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open a regular file of the folder, following no link at all; Vanished when the trainer took it away."""
        descriptor = self._descriptor(path)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise VolumeProblem(f"{self}/{path} is not a regular file: remove it from the folder")
            yield file

    @staticmethod
    def goes_in_parts(size: int) -> bool:
        """Whether a file of `size` bytes is sent in parts."""
        return part_size(size) > 0

    def parts(self, path: str) -> Generator[Chunk, None, Fingerprint]:
        """Read a file once, in the parts in which it is sent; returns what the whole contains."""
        with self.open(path) as file:
            step = part_size(os.fstat(file.fileno()).st_size)
            whole, total = hashlib.sha256(), 0
            md5s: list[bytes] = []
            while True:
                part, count = hashlib.md5(usedforsecurity=False), 0
                while chunk := file.read(min(MIB, step - count) if step else MIB):
                    whole.update(chunk)
                    part.update(chunk)
                    count += len(chunk)
                if count or not md5s:
                    md5s.append(part.digest())
                    yield Chunk(len(md5s), total, count, part.digest())
                total += count
                if not step or count < step:
                    break
        return Fingerprint(total, whole.hexdigest(), _etag(md5s, step), step, tuple(md5s))

    def fingerprint(self, path: str) -> Fingerprint:
        """Read a file once and say what it contains."""
        reading = self.parts(path)
        while True:
            try:
                next(reading)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]


class _Held(Folder):
    """A folder whose files are open already: `descriptors` by path."""

    def __init__(self, folder: Folder, listing: Listing, descriptors: Mapping[str, int]) -> None:
        super().__init__(folder.root, folder.relative, folder._only)  # noqa: SLF001 - of the same class
        self._listing, self._descriptors = listing, descriptors

    def listing(self) -> Listing:
        """As it was when the folder was opened."""
        return self._listing

    def is_as(self, listing: Listing) -> bool:
        """Whether nothing was added or written to since: what the trainer removes is held, and is as it was."""
        if any(self._was_written_to(holder, listing.stats[path]) for path, holder in listing.files.items()):
            return False
        try:
            found = super().listing()
        except Vanished:  # it is being removed
            return True
        if any(now and now != before for now, before in zip(_aside(found), _aside(listing), strict=True)):
            return False
        return found.stats.items() <= listing.stats.items()

    def _was_written_to(self, holder: str, before: Stat) -> bool:
        # Not by the time of change: removing and renaming a file set it.
        now = Stat.of(os.fstat(self._descriptors[holder]))
        return (now.size, now.modified) != (before.size, before.modified)

    def _descriptor(self, path: str) -> int:
        # Opened again from the descriptor, whether it has a name still or not: each reader has a position of its own.
        try:
            return os.open(f"/proc/self/fd/{self._descriptors[path]}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _problem(f"{self}/{path}", error) from error


class Window:
    """Part of a file as a request's body; opened at the first read, closed at its end."""

    def __init__(self, folder: Folder, path: str, offset: int, size: int) -> None:
        self._left = size
        self._offset = offset
        self._path = f"{folder}/{path}"
        self._opened = folder.open(path)
        self._file: BinaryIO | None = None

    def read(self, amount: int = -1) -> bytes:
        """Return up to `amount` bytes (all, when negative), none at the end."""
        if self._left == 0:
            return b""
        try:
            if self._file is None:
                self._file = self._opened.__enter__()
                self._file.seek(self._offset)
            chunk = self._file.read(self._left if amount < 0 else min(amount, self._left))
        except OSError as error:  # an error of this volume: to the sender it would look like one of the connection
            raise VolumeProblem(f"{self._path} cannot be read: {error}") from error
        self._left -= len(chunk)
        if not chunk:
            raise Vanished(f"{self._path} became shorter while it was sent")
        if self._left == 0:
            self._opened.__exit__(None, None, None)
        return chunk


def _etag(md5s: list[bytes], step: int) -> str:
    if not step:
        return md5s[0].hex()
    return f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"


def is_file(path: Path) -> bool:
    """Whether the agent can see a file there; not where it may not look (for which Path.is_file raises)."""
    try:
        return path.is_file()
    except OSError:
        return False


def whose(path: Path) -> str:
    """Whose a file is that the agent may not read, and what to do about it."""
    try:
        status = path.lstat()
    except OSError as error:
        return f"the agent (user {os.geteuid()}) may not read it: {error.strerror}"
    return (
        f"it belongs to user {status.st_uid} and group {status.st_gid} with mode {stat.S_IMODE(status.st_mode):04o}, and "
        f"the agent (user {os.geteuid()}, group {os.getegid()}) may not read it"
    )


def _problem(path: str, error: OSError) -> VolumeProblem:
    if isinstance(error, FileNotFoundError):
        return Vanished(f"{path} was removed while it was published")
    return VolumeProblem(
        f"{path} cannot be read ({error.strerror}): it must be a regular file or a folder, not behind a symbolic link "
        "out of its folder, and readable for the pod's fsGroup or for others"
    )


def _aside(listing: Listing) -> tuple[Aside, Aside]:
    return listing.odd, listing.unreadable


def _printable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _open_beneath(root: Path, relative: str) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    *folders, name = relative.split("/")
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = os.open(folder, flags | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        return os.open(name, flags | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
