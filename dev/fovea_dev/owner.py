"""Which cache the cluster of a name on this machine belongs to: its addresses and folders in /run exist only once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fovea_dev import teardown
from fovea_dev.layout import Cache, Cluster
from fovea_dev.processes import Processes
from fovea_dev.progress import Progress, StepFailed


def claim(cluster: Cluster, processes: Processes, progress: Progress) -> None:
    """Make the cluster ours: refuse if another cache's runs, clear what is left if that cache is gone."""
    check(cluster, processes)
    other = _other(cluster)
    if other is not None:
        progress.say(f"     clearing what is left of a cluster whose cache was {other.cache.root}")
        teardown.take_down(other, processes, progress)
    elif _runs(processes) and not cluster.pki.exists():
        progress.say(f"     {cluster.state} was deleted under the running cluster: clearing what is left of it")
        teardown.take_down(cluster, processes, progress)
    _file(cluster).parent.mkdir(parents=True, exist_ok=True)
    _file(cluster).write_text(f"{cluster.cache.root}\n")


def check(cluster: Cluster, processes: Processes) -> None:
    """Raise StepFailed if the cluster that runs belongs to another cache that still exists."""
    other = _other(cluster)
    if other is None or not other.state.exists():
        return
    if _runs(processes):
        root = other.cache.root
        raise StepFailed(
            f"the cluster with FOVEA_CACHE={root} runs on this machine: first FOVEA_CACHE={root} make down"
        )


def _runs(processes: Processes) -> bool:
    return any(processes.identity(name) for name in processes.names())


def _other(cluster: Cluster) -> Cluster | None:
    """The same cluster under the cache that it was last brought up with, if that is another one."""
    try:
        root = Path(_file(cluster).read_text().strip())
    except FileNotFoundError:
        return None
    return None if root == cluster.cache.root else replace(cluster, cache=Cache(root))


def _file(cluster: Cluster) -> Path:
    return cluster.run / "cache"
