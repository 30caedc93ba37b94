"""What the machine must have before anything is begun, each with its remedy."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fovea_dev.builder import LOCAL_BASE
from fovea_dev.commands import succeeds
from fovea_dev.images import PLATFORM_IMAGES
from fovea_dev.layout import Cache
from fovea_dev.progress import StepFailed
from fovea_dev.tools import TOOLS

GO_AT_LEAST = (1, 26, 7)
"""What the strictest go.mod below dev/tools asks for."""
PYTHON_AT_LEAST = (3, 11)
# What a full cache and a cluster take, and what is added once all tools and images are built.
DISK_GIB = 25
DISK_GIB_BUILT = 5


@dataclass(frozen=True)
class Prerequisite:
    """One thing that is needed: what it is, what was found, whether that is enough, and the remedy if not."""

    name: str
    found: str
    met: bool
    remedy: str


def parse_go_version(text: str) -> tuple[int, int, int] | None:
    """Major, minor and patch of what `go version` prints; None if it is not understood. A preview has patch 0."""
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match.group(1)), int(match.group(2)), int(match.group(3) or 0)) if match else None


def for_setup(cache: Cache) -> list[Prerequisite]:
    """What the checks and the unit tests need: no root, no Go, no cluster; no venv either once uv is there."""
    return [_python()] if cache.uv_program.exists() else [_python(), _virtual_environments()]


def for_tools(cache: Cache) -> list[Prerequisite]:
    """What building the Go programs and running them in tests needs (no root)."""
    programs = [_program(name, f"install it: apt-get install {name}") for name in ("make", "openssl")]
    return [_python(), _go(), *programs, _disk(cache)]


def for_contract_tests() -> list[Prerequisite]:
    """What tests with published weights of npm need beside the tools: the address of a registry, which npm knows."""
    remedy = "install npm: apt-get install npm; or set NPM_CONFIG_REGISTRY to the address of a registry"
    found = os.environ.get("NPM_CONFIG_REGISTRY") or shutil.which("npm")
    return [Prerequisite("npm, or NPM_CONFIG_REGISTRY", found or "neither", bool(found), remedy)]


def for_embedded_cluster(cache: Cache) -> list[Prerequisite]:
    """What the embedded cluster needs."""
    return [_linux(), _root(), *for_tools(cache), _apt(), _cgroups(), _overlay(cache)]


def for_kind() -> list[Prerequisite]:
    """What a kind cluster needs: only the machine's owner installs it."""
    instead = "or use the embedded cluster: FOVEA_TARGET=embedded"
    runs = succeeds(["docker", "info"])
    engine = Prerequisite(
        "a docker engine", "an answer" if runs else "no answer", runs, f"install docker and start it, {instead}"
    )
    return [_program("kind", f"install it from https://kind.sigs.k8s.io, {instead}"), engine]


def for_buildah(base_image: str) -> list[Prerequisite]:
    """What building images without docker needs, on that base image."""
    programs = ("buildah", "mmdebstrap") if base_image == LOCAL_BASE else ("buildah",)
    return [_program(name, f"install it: apt-get install {name}; or start a docker engine") for name in programs]


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


def _virtual_environments() -> Prerequisite:
    # Debian's python3 has venv but not the ensurepip that it calls.
    found = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
    remedy = "install it: apt-get install python3-venv"
    return Prerequisite("Python's venv and ensurepip", "both" if found else "not both", found, remedy)


def _go() -> Prerequisite:
    name = f"Go {'.'.join(map(str, GO_AT_LEAST))} or newer"
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
    free = shutil.disk_usage(folder).free / 2**30
    remedy = f"free some space below {folder}, or set FOVEA_CACHE to a folder on a larger disk"
    if everything_is_built(cache):
        name = f"{DISK_GIB_BUILT} GiB of disk for {cache.root}"
        return Prerequisite(name, f"{free:.0f} GiB free", free >= DISK_GIB_BUILT, remedy)
    # A first `up` that was killed has used a part of it already.
    held = _size_gib(cache.root)
    found = f"{free:.0f} GiB free, {held:.0f} GiB already there"
    return Prerequisite(f"{DISK_GIB} GiB of disk for {cache.root}", found, free + held >= DISK_GIB, remedy)


def everything_is_built(cache: Cache) -> bool:
    """Whether all tools are built and all images of Fovea are in the local registry, in whatever version."""
    programs = [cache.tools_bin / name for module in TOOLS for name in module.programs]
    repositories = cache.registry / "docker/registry/v2/repositories"
    tags = [repositories / image.name / "_manifests/tags" for image in PLATFORM_IMAGES]
    return all(path.exists() for path in (*programs, *tags))


def _size_gib(folder: Path) -> float:
    """What `du` counts on this file system; files may come and go meanwhile."""
    if not folder.exists() or shutil.which("du") is None:
        return 0.0
    command = ["du", "-skx", str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return int(said[0]) / 2**20 if said else 0.0


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
