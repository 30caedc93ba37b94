"""What the machine must have before anything is begun, each with its remedy."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fovea_dev.layout import Cache
from fovea_dev.progress import StepFailed

GO_AT_LEAST = (1, 26)
PYTHON_AT_LEAST = (3, 11)
DISK_GIB = 25
# Once the tools and images are built, little is added.
DISK_GIB_BUILT = 5


@dataclass(frozen=True)
class Prerequisite:
    """One thing that is needed: what it is, what was found, whether that is enough, and the remedy if not."""

    name: str
    found: str
    met: bool
    remedy: str


def parse_go_version(text: str) -> tuple[int, int] | None:
    """Major and minor of what `go version` prints; None if it is not understood."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else None


def for_tools(cache: Cache) -> list[Prerequisite]:
    """What building the Go programs needs."""
    return [_python(), _go(), _program("make", "install it: apt-get install make"), _disk(cache)]


def for_control_plane(cache: Cache) -> list[Prerequisite]:
    """What an API server for tests needs besides (no root)."""
    return [*for_tools(cache), _program("openssl", "install it: apt-get install openssl")]


def for_embedded_cluster(cache: Cache) -> list[Prerequisite]:
    """What the embedded cluster needs."""
    return [_linux(), _root(), *for_control_plane(cache), _apt(), _cgroups(), _overlay(cache)]


def demand(prerequisites: list[Prerequisite]) -> None:
    """Raise StepFailed naming everything that is missing, each with its remedy."""
    lacking = [item for item in prerequisites if not item.met]
    if lacking:
        lines = [f"  - {item.name} (found: {item.found}): {item.remedy}" for item in lacking]
        raise StepFailed("this machine lacks prerequisites:\n" + "\n".join(lines))


def _linux() -> Prerequisite:
    system = platform.system()
    remedy = "the embedded cluster runs on Linux only; elsewhere use kind, or name a cluster in FOVEA_KUBECONFIG"
    return Prerequisite("Linux", system, system == "Linux", remedy)


def _root() -> Prerequisite:
    remedy = "run it as root (sudo make ...); without root use kind, or name a cluster in FOVEA_KUBECONFIG"
    return Prerequisite("root", f"uid {os.geteuid()}", os.geteuid() == 0, remedy)


def _python() -> Prerequisite:
    found = platform.python_version()
    return Prerequisite("Python 3.11 or newer", found, sys.version_info >= PYTHON_AT_LEAST, "install python3.11")


def _go() -> Prerequisite:
    name = f"Go {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]} or newer"
    remedy = "install it from https://go.dev/dl/ and put its bin folder on PATH"
    if shutil.which("go") is None:
        return Prerequisite(name, "nothing", False, remedy)
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run(["go", "version"], capture_output=True, text=True, check=False, env=environment).stdout
    version = parse_go_version(answer)
    return Prerequisite(name, answer.strip() or "no answer", version is not None and version >= GO_AT_LEAST, remedy)


def _program(name: str, remedy: str) -> Prerequisite:
    path = shutil.which(name)
    return Prerequisite(name, path or "nothing", path is not None, remedy)


def _disk(cache: Cache) -> Prerequisite:
    folder = next(parent for parent in (cache.root, *cache.root.parents) if parent.exists())
    needed = DISK_GIB_BUILT if cache.images.exists() else DISK_GIB
    free = shutil.disk_usage(folder).free / 2**30
    remedy = f"free some space below {folder}, or set FOVEA_CACHE to a folder on a larger disk"
    return Prerequisite(f"{needed} GiB of disk for {cache.root}", f"{free:.0f} GiB", free >= needed, remedy)


def _apt() -> Prerequisite:
    path = shutil.which("apt-get")
    remedy = "the embedded cluster installs Debian packages; elsewhere use kind, or name a cluster in FOVEA_KUBECONFIG"
    return Prerequisite("Debian's apt-get", path or "nothing", path is not None, remedy)


def _cgroups() -> Prerequisite:
    root = Path("/sys/fs/cgroup")
    modern, legacy = (root / "cgroup.controllers").exists(), (root / "memory" / "cgroup.procs").exists()
    found = "v2" if modern else "v1" if legacy else "none"
    return Prerequisite("cgroups", found, modern or legacy, "mount the cgroup file systems below /sys/fs/cgroup")


def _overlay(cache: Cache) -> Prerequisite:
    folder = next(parent for parent in (cache.root, *cache.root.parents) if parent.exists())
    kind = file_system_of(folder, Path("/proc/self/mounts").read_text())
    remedy = "set FOVEA_CACHE to a folder on ext4 or xfs: containers' layers can't be stacked on this file system"
    return Prerequisite("a disk file system for the cache", kind, kind not in ("overlay", "nfs", "nfs4"), remedy)


def file_system_of(folder: Path, mounts: str) -> str:
    """Type of the file system a folder lies on, by the text of /proc/mounts."""
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        point, this = line.split(" ")[1:3]
        inside = str(folder) == point or str(folder).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, this
    return kind


Check = Callable[[Cache], list[Prerequisite]]
