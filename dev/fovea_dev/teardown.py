"""Take the cluster down so that nothing of it is left: also when everything of it was killed before."""

from __future__ import annotations

import shutil
from pathlib import Path

from fovea_dev import cgroups, network
from fovea_dev.builder import Buildah
from fovea_dev.commands import output, succeeds
from fovea_dev.layout import Cluster
from fovea_dev.processes import Processes, end
from fovea_dev.progress import Progress
from fovea_dev.remains import clear_pods, remove_log_links, shims, unmount_below

_NAMESPACE = "k8s.io"
# A process that gives orders ends before those that follow them.
_FIRST = ("kubelet", "kube-proxy", "volumes", "policies", "kube-scheduler", "kube-controller-manager")
_FOREIGN_FOLDERS = tuple(
    Path(name)
    for name in (
        "/run/containerd/s",
        "/run/containerd",
        "/var/lib/cni/results",
        "/var/lib/cni",
        "/var/log/containers",
    )
)
_LAST = ("kube-apiserver", "etcd", "registry")


def take_down(cluster: Cluster, processes: Processes, progress: Progress, *, keep_images: bool = True) -> None:
    """End and remove the cluster. Caches stay: tools, image layers, the registry's images.

    Containerd's own images stay too, unless `keep_images` is off or its containers could not be removed properly.
    """
    clean = clear_machine(cluster, processes, progress)
    with progress.step("files"):
        _remove_tree(cluster.state)
        if not (keep_images and clean):
            _remove_tree(cluster.containerd_root)


def clear_machine(cluster: Cluster, processes: Processes, progress: Progress) -> bool:
    """End the cluster and clear the machine of it, but keep what it has on disk: the same as a reboot does.

    Returns whether containerd's image store can be used again.
    """
    with progress.step("node agents and controllers"):
        for name in _FIRST:
            processes.stop(name)
    with progress.step("pods") as notes:
        clean = _remove_containers(cluster, processes, notes)
        processes.stop("containerd")
        clear_pods(cluster)
        remove_log_links(cluster)
    with progress.step("control plane and registry"):
        for name in _LAST:
            processes.stop(name)
        for name in processes.names():
            processes.stop(name)
    with progress.step("network"):
        network.take_down(cluster)
    with progress.step("mounts and sockets"):
        Buildah(cluster.cache).clear_unfinished()
        unmount_below(cluster.state, cluster.run)
        _remove_tree(cluster.run)
        _remove_empty(*_FOREIGN_FOLDERS)
    return clean


def _remove_containers(cluster: Cluster, processes: Processes, notes: list[str]) -> bool:
    """End all containers and forget them. Returns whether containerd's image store can be used again."""
    end(cgroups.pids(cluster.cgroup), grace=0)
    if processes.identity("containerd") is None:
        return not (cluster.containerd_root / "io.containerd.metadata.v1.bolt").exists() and not shims(
            cluster.containerd_socket
        )
    ctr = ["ctr", "--address", str(cluster.containerd_socket), "--namespace", _NAMESPACE]
    clean = True
    if not succeeds([*ctr, "containers", "list", "--quiet"]):
        return False
    for task in output([*ctr, "tasks", "list", "--quiet"]).split():
        clean = succeeds([*ctr, "tasks", "delete", "--force", task]) and clean
    containers = output([*ctr, "containers", "list", "--quiet"]).split()
    for container in containers:
        clean = succeeds([*ctr, "containers", "delete", container]) and clean
    notes.append(f"{len(containers)} containers removed")
    return clean


def _remove_empty(*folders: Path) -> None:
    """Remove folders that containerd, CNI and kubelet make outside of ours, if nothing else is in them."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
