"""A small file system of its own, which a test can fill: a tmpfs in another mount namespace, reached through /proc.

No other process sees it, and it goes with the process that holds it. Users other than root make a user namespace first.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PLACE = "/mnt"
_BLOCK = b"\0" * 4096


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """An empty folder with so much room."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mount = f"mount -t tmpfs -o size={mebibytes}m,mode=0777 small {_PLACE} && echo mounted && exec cat"
    holder = subprocess.Popen(
        ["unshare", *as_root, "--mount", "sh", "-c", mount],
        stdin=subprocess.PIPE,  # closed when this process ends, however it does
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stderr is not None
        assert holder.stdout.readline() == b"mounted\n", (
            f"a user namespace may not mount a tmpfs here: {holder.stderr.read().decode()}"
        )
        yield Path(f"/proc/{holder.pid}/root{_PLACE}")
    finally:
        holder.kill()
        holder.communicate()


def fill(disk: Path) -> Path:
    """A file that takes all that is left: the next byte is refused. Again, it takes what has become free since."""
    path = disk / "filler"
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(_BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return path
