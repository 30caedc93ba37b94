"""Which files of a folder are published, and what they contain.

The trainer, which may run a tenant's code, owns these folders while the agent, which holds keys, reads them. A symbolic
link to a file outside would publish whatever the agent can read, so every component of a path is opened without
following links. Links that stay inside the folder are published as the files they point to.
"""

import hashlib
import os
import resource
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fovea_agent import log
from fovea_agent.errors import Vanished, VolumeProblem

MIB = 1 << 20
MULTIPART_FROM = 64 * MIB
PART = 32 * MIB
MOST_PARTS = 9_000
"""S3 allows 10,000."""
SPARE_DESCRIPTORS = 256
"""Of those that the process may open: not spent on holding a folder."""


@dataclass(frozen=True)
class Fingerprint:
    """What a file contains. `etag` is the one S3 gives it when it is sent in parts of `part_size` (0: in one piece)."""

    size: int
    sha256: str
    etag: str
    part_size: int
    md5s: tuple[bytes, ...]


def part_size(size: int) -> int:
    """Bytes per part for a file of `size` bytes, 0 for a single PUT."""
    if size <= MULTIPART_FROM:
        return 0
    return max(PART, -(-size // MOST_PARTS // MIB) * MIB)


class Folder:
    """A folder below a root that the trainer cannot replace (a mount point)."""

    def __init__(self, root: Path, relative: str) -> None:
        self.root = root
        self.relative = relative
        self._left_out: set[Path] = set()

    def __str__(self) -> str:
        return str(self.root / self.relative)

    def files(self) -> dict[str, str]:
        """Paths of the files to publish -> the file with the content (itself, or a link's); relative to the folder.

        Raises Vanished when the folder or one in it is gone, VolumeProblem when one cannot be read: what is not seen
        must not be missing from a publication that says it is whole.
        """
        top = self.root / self.relative
        if top.is_symlink():
            self._leave_out(top, "the folder itself is a symbolic link")
            return {}
        try:
            return dict(self._walk(top))
        except OSError as error:
            raise _problem(str(error.filename or self), error) from error

    def _walk(self, top: Path) -> Iterator[tuple[str, str]]:
        inside = Path(os.path.realpath(top))
        for directory, subfolders, names in os.walk(top, onerror=_raise):
            plain = set(names)
            for name in [*names, *subfolders]:
                path = Path(directory, name)
                relative = str(path.relative_to(top))
                if not _printable(relative):
                    self._leave_out(path, "the name is not UTF-8")
                elif path.is_symlink():
                    target = Path(os.path.realpath(path))  # of links in a circle: one of them, which is no file
                    if inside in target.parents and target.is_file():
                        yield relative, str(target.relative_to(inside))
                    else:
                        self._leave_out(path, "a symbolic link out of the folder, to a folder or to nothing")
                elif name in plain:
                    yield relative, relative

    def _leave_out(self, path: Path, why: str) -> None:
        if path not in self._left_out:  # a folder is listed several times
            self._left_out.add(path)
            log.warning(f"not published: {why}", path=repr(str(path)))

    @contextmanager
    def held(self) -> Iterator["Folder"]:
        """The folder as it is now: all files are opened, so what the trainer removes meanwhile can still be read."""
        holders = self.files()
        wanted = sorted(set(holders.values()))
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
            if self.files() != holders:
                raise Vanished(f"{self} changed while it was opened: files were removed or added")
            yield _Held(self, holders, descriptors)

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

    def fingerprint(self, path: str) -> Fingerprint:
        """Read a file once and say what it contains."""
        with self.open(path) as file:
            size = os.fstat(file.fileno()).st_size
            step = part_size(size)
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
                total += count
                if not step or count < step:
                    break
        return Fingerprint(total, whole.hexdigest(), _etag(md5s, step), step, tuple(md5s))


class _Held(Folder):
    """A folder whose files are open already: `descriptors` by path."""

    def __init__(self, folder: Folder, holders: Mapping[str, str], descriptors: Mapping[str, int]) -> None:
        super().__init__(folder.root, folder.relative)
        self._holders, self._descriptors = holders, descriptors

    def files(self) -> dict[str, str]:
        """As they were when the folder was opened."""
        return dict(self._holders)

    def _descriptor(self, path: str) -> int:
        # Opened anew from the descriptor, whether it has a name still or not: each reader has a position of its own.
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
        except OSError as error:  # of this volume: to who sends it, it would look like one of the connection
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


def _raise(error: OSError) -> None:
    raise error


def _problem(path: str, error: OSError) -> VolumeProblem:
    if isinstance(error, FileNotFoundError):
        return Vanished(f"{path} was removed while it was published")
    return VolumeProblem(
        f"{path} cannot be read ({error.strerror}): it must be a regular file or a folder, not behind a symbolic link "
        "out of its folder, and readable for the pod's fsGroup or for others"
    )


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
