"""Find and clear what pods leave behind when they do not end properly: processes, mounts, namespaces, addresses."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from fovea_dev import cgroups
from fovea_dev.commands import output, succeeds
from fovea_dev.layout import Cluster
from fovea_dev.processes import end

_CONTAINER_LOG_LINKS = Path("/var/log/containers")
_CNI_RESULTS = Path("/var/lib/cni/results")


def clear_pods(cluster: Cluster) -> bool:
    """End every pod and forget its network and mounts. Only for a cluster whose containerd and kubelet do not run.

    Returns whether there was anything to clear.
    """
    found = cluster.containerd_state.exists()
    # More than once: a shim may have been about to start another process when it was ended.
    while pids := pod_processes(cluster):
        end(pids, grace=0)
    for socket in _shim_sockets(cluster.containerd_state):
        socket.unlink(missing_ok=True)
    unmount_below(cluster.kubelet_root, cluster.run)
    for folder in (cluster.containerd_state, cluster.runc_root, cluster.cni_state):
        if folder.exists():
            shutil.rmtree(folder)
    cluster.containerd_socket.unlink(missing_ok=True)
    remove_network_results(cluster.name)
    if succeeds(["ip", "link", "show", cluster.pod_bridge]):
        output(["ip", "link", "delete", cluster.pod_bridge])
    cgroups.remove(cluster.cgroup)
    return found


def pod_processes(cluster: Cluster) -> set[int]:
    """Pids of everything that pods are made of: shims, runc at work, and what runs in the pods' cgroups."""
    runs = _commands(lambda words: is_runc(words, cluster.runc_root))
    return {*shims(cluster.containerd_socket), *runs, *cgroups.pids(cluster.cgroup)}


def shims(socket: Path) -> list[int]:
    """Pids of the containerd shims that belong to this containerd socket."""
    return _commands(lambda words: is_shim(words, socket))


def is_shim(words: list[bytes], socket: Path) -> bool:
    """Whether a command line is that of a shim of this containerd socket."""
    if not words[0].rpartition(b"/")[2].startswith(b"containerd-shim"):
        return False
    return any(flag == b"-address" and value == os.fsencode(socket) for flag, value in pairwise(words))


def is_runc(words: list[bytes], root: Path) -> bool:
    """Whether a command line is that of a runc that keeps its state below this folder."""
    if words[0].rpartition(b"/")[2] != b"runc":
        return False
    return any(flag == b"--root" and Path(os.fsdecode(value)).is_relative_to(root) for flag, value in pairwise(words))


def _commands(match: Callable[[list[bytes]], bool]) -> list[int]:
    """Pids of the processes whose command line matches."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if match(words):
            found.append(int(entry.name))
    return found


def mounts_below(*folders: Path, table: str | None = None) -> list[str]:
    """Mount points at or below the folders, the innermost and latest first."""
    text = Path("/proc/self/mounts").read_text() if table is None else table
    found: list[str] = []
    for line in text.splitlines():
        point = line.split(" ")[1].encode().decode("unicode_escape")
        if any(point == str(folder) or point.startswith(f"{folder}/") for folder in folders):
            found.append(point)
    return found[::-1]


def unmount_below(*folders: Path) -> None:
    """Unmount everything at or below the folders, lazily: a process that is still ending must not hold us up."""
    for point in mounts_below(*folders):
        output(["umount", "--lazy", point])


def remove_network_results(network: str, folder: Path = _CNI_RESULTS) -> None:
    """Remove what the CNI library remembers of a network's pods: it caches in one folder for the whole machine."""
    if not folder.is_dir():
        return
    names = [path.name for path in folder.iterdir()]
    pattern = re.compile(rf"{re.escape(network)}-([0-9a-f]{{64}})-")
    containers = [match.group(1) for name in names if (match := pattern.match(name))]
    for name in names:
        if any(container in name for container in containers):
            (folder / name).unlink(missing_ok=True)


def remove_log_links(cluster: Cluster) -> None:
    """Remove kubelet's links in /var/log/containers that lead to our pods' logs."""
    if not _CONTAINER_LOG_LINKS.is_dir():
        return
    for link in _CONTAINER_LOG_LINKS.iterdir():
        if link.is_symlink() and link.readlink().is_relative_to(cluster.pod_logs):
            link.unlink()


def _shim_sockets(state: Path) -> list[Path]:
    # containerd puts them into a folder of its own choice and notes the address in each task's folder.
    sockets: list[Path] = []
    for note in state.glob("io.containerd.runtime.v2.task/*/*/address"):
        address = note.read_text().strip().removeprefix("unix://")
        if address:
            sockets.append(Path(address))
    return sockets
