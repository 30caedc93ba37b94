"""The cluster's own top cgroup, below which kubelet puts every pod (cgroup v1 with several hierarchies, or v2)."""

from __future__ import annotations

import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The mounted hierarchies: the root itself for v2, one folder per controller for v1 (and hybrid)."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return sorted({path.resolve() for path in root.iterdir() if (path / "cgroup.procs").exists()})


def make(name: str) -> None:
    """Make the top cgroup in every hierarchy, ready for children with limits."""
    for hierarchy in hierarchies():
        if (hierarchy / "cgroup.controllers").exists():
            _delegate(hierarchy)
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        if (folder / "cgroup.controllers").exists():
            _delegate(folder)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # In v1 a cpuset without CPUs can't hold a process; children don't inherit by themselves.
            file = folder / setting
            if (hierarchy / setting).exists() and file.exists() and not file.read_text().strip():
                file.write_text((hierarchy / setting).read_text())


def pids(name: str) -> set[int]:
    """Every process in the top cgroup or below it."""
    found: set[int] = set()
    for folder in _folders(name):
        try:
            found.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
        except (FileNotFoundError, OSError):
            continue
    return found


def remove(name: str, seconds: float = 10.0) -> None:
    """Remove the top cgroup and everything below it. The kernel needs a moment after the last process has gone."""
    deadline = time.monotonic() + seconds
    while True:
        folders = _folders(name)
        for folder in folders:
            try:
                folder.rmdir()
            except OSError:
                continue
        if not any(folder.exists() for folder in folders):
            return
        if time.monotonic() > deadline:
            left = next(folder for folder in _folders(name) if folder.exists())
            raise OSError(f"cgroup {left} cannot be removed; processes in it: {sorted(pids(name)) or 'none'}")
        time.sleep(0.05)


def _delegate(folder: Path) -> None:
    available = (folder / "cgroup.controllers").read_text().split()
    enabled = (folder / "cgroup.subtree_control").read_text().split()
    missing = [f"+{controller}" for controller in available if controller not in enabled]
    if missing:
        (folder / "cgroup.subtree_control").write_text(" ".join(missing))


def _folders(name: str) -> list[Path]:
    """The cgroup's folders in all hierarchies, children before their parents."""
    found: list[Path] = []
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            found.append(Path(folder))
    return found
