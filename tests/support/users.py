"""Another user than the one that wrote the files of a test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def another_user(folder: Path) -> Iterator[None]:
    """Be a user who owns nothing in `folder` and may enter it. Without root: one who may read nothing of mode 0600."""
    if os.geteuid() != 0:
        with pytest.MonkeyPatch.context() as patch:
            may = os.access
            patch.setattr(
                os, "access", lambda path, mode, **options: may(path, mode) and Path(path).stat().st_mode & 0o044
            )
            yield
        return
    for above in (folder, *folder.parents):
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    for below in folder.rglob("*"):
        if below.is_dir():
            below.chmod(0o777)
    groups, user, group = os.getgroups(), os.geteuid(), os.getegid()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
        os.setgroups(groups)
