"""Folders of processes that leave no result: removed when the process ends, or by the next one where it ended hard.

A process that is killed, or ends by `os._exit`, removes nothing. Each holds a lock on its folder while it lives, so another
one can tell what was left behind from what is in use.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "fovea-scratch-"
_LOCK = ".lock"
_held: list[int] = []
"""Descriptors of the locks of this process's folders."""


def make() -> Path:
    """A new folder of this process; what processes that have ended left is removed first."""
    root = Path(tempfile.gettempdir())
    for folder in root.glob(f"{PREFIX}*"):
        _remove_if_left(folder)
    made = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Locked before it has its name: nobody finds a lock of a folder in use that is not held.
    unfinished = made / f"{_LOCK}-unfinished"
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _held.append(descriptor)
    unfinished.rename(made / _LOCK)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _remove_if_left(folder: Path) -> None:
    """Of this user's processes alone; a folder without a lock is about to get one."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # it has no lock yet, or is gone
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)  # another process may remove it at the same time
    finally:
        os.close(descriptor)
