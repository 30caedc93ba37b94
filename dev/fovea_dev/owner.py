"""Which cache the cluster of a name on this machine belongs to: its addresses and folders in /run exist only once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fovea_dev import teardown
from fovea_dev.layout import Cache, Cluster
from fovea_dev.processes import Processes
from fovea_dev.progress import Progress, StepFailed


def claim(cluster: Cluster, processes: Processes, progress: Progress) -> None:
    """Make the cluster ours: refuse if another cache's runs, clear what is left of one that does not."""
    clear_other(cluster, processes, progress)
    if _runs(processes) and not cluster.pki.exists():
        progress.say(f"     {cluster.state} was deleted under the running cluster: clearing what is left of it")
        teardown.take_down(cluster, processes, progress)
    _file(cluster).parent.mkdir(parents=True, exist_ok=True)
    _file(cluster).write_text(f"{cluster.cache.root}\n")


def clear_other(cluster: Cluster, processes: Processes, progress: Progress) -> None:
    """Clear the machine of what another cache's cluster left; what that one keeps on disk stays.

    Raises StepFailed if that cluster still runs. One whose keys are gone was deleted: it cannot be used any more.
    """
    other = _other(cluster)
    if other is None:
        return
    root = other.cache.root
    if not other.pki.exists():
        progress.say(f"     clearing what is left of a cluster whose cache was {root}")
        teardown.take_down(other, processes, progress)
        return
    if _runs(processes):
        raise StepFailed(
            f"the cluster with FOVEA_CACHE={root} runs on this machine: first FOVEA_CACHE={root} make down"
        )
    progress.say(f"     clearing what a killed cluster left on this machine; its data in {other.state} stay")
    teardown.clear_machine(other, processes, progress)


def _runs(processes: Processes) -> bool:
    return any(processes.identity(name) for name in processes.names())


def _other(cluster: Cluster) -> Cluster | None:
    """The same cluster under the cache that it was last started with, if that is another one."""
    try:
        root = Path(_file(cluster).read_text().strip())
    except FileNotFoundError:
        return None
    return None if root == cluster.cache.root else replace(cluster, cache=Cache(root))


def _file(cluster: Cluster) -> Path:
    return cluster.run / "cache"
