"""`down` leaves nothing behind. In a second cluster beside the one of the other tests, which goes on running."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_dev.layout import Cache, Cluster
from fovea_dev.network import KERNEL_SETTINGS, setting_file
from support.polling import until
from support.second_cluster import NETWORK, SecondCluster, second_cluster


@pytest.fixture
def cluster() -> Iterator[SecondCluster]:
    with second_cluster() as running:
        yield running


@pytest.mark.parametrize("killed", [False, True], ids=["of a running cluster", "after everything was killed"])
def test_down_leaves_nothing_behind(cluster: SecondCluster, killed: bool) -> None:
    before = snapshot(cluster)
    cluster.run("up", "--bare")
    image = cluster.image("fovea")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_sleeper(image)))
    until(lambda: _runs(cluster), seconds=120, what="a pod with a volume and a NodePort")
    during = snapshot(cluster)
    left_out = [kind for kind in before if during[kind] == before[kind]]
    assert left_out == [], "the snapshot does not see what a running cluster has"

    if killed:
        cluster.kill_everything()
    cluster.run("down")
    assert snapshot(cluster) == before
    assert not cluster.layout.state.exists()
    assert not cluster.layout.run.exists()


def test_down_of_a_cluster_that_is_not_there_is_fine(cluster: SecondCluster) -> None:
    before = snapshot(cluster)
    cluster.run("down")
    assert snapshot(cluster) == before


def snapshot(cluster: SecondCluster) -> dict[str, list[str]]:
    """Everything on the machine that the second cluster could have made. What the shared cluster has is left out."""
    return {
        "processes": _processes(cluster),
        "mounts": _mounts(),
        "cgroups": _cgroups(cluster),
        "interfaces": _inside(cluster, "ip", "-brief", "address"),
        "routes": _inside(cluster, "ip", "route"),
        "packet filter": _inside(cluster, "nft", "list", "ruleset"),
        "kernel settings": [_inside(cluster, "cat", str(setting_file(name)))[0] for name in KERNEL_SETTINGS],
        "address records": _names(Path("/var/lib/cni/results"), NETWORK.removeprefix("fovea-")),
        "log links": _links(Path("/var/log/containers"), cluster.layout.pod_logs),
    }


def _processes(cluster: SecondCluster) -> list[str]:
    """Processes of the cluster's network namespace, or with one of its folders in their command line."""
    namespace = (Path("/run/netns") / NETWORK).stat().st_ino
    folders = (f"{cluster.layout.state}/", f"{cluster.layout.run}/")
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            inside = (entry / "ns/net").stat().st_ino == namespace
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or nothing that root may look into: not of this cluster
        if inside or any(folder in command for folder in folders):
            found.append(command)
    return sorted(found)


def _mounts() -> list[str]:
    shared = Cluster(Cache.from_environment())
    folders = (f"{shared.run}/", f"{shared.state}/", f"{shared.containerd_root}/", f"{shared.cache.buildah}/")
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted(point for point in points if not point.startswith(folders))


def _cgroups(cluster: SecondCluster) -> list[str]:
    names = (cluster.layout.cgroup, "kubepods", "k8s.io")
    found = subprocess.run(["find", "/sys/fs/cgroup", "-type", "d"], capture_output=True, text=True, check=False).stdout
    shared = Cluster(Cache.from_environment()).cgroup
    return sorted(
        folder for folder in found.split() if set(names) & set(parts := folder.split("/")) and shared not in parts
    )


def _inside(cluster: SecondCluster, *command: str) -> list[str]:
    done = subprocess.run(cluster.command(*command), capture_output=True, text=True, check=True)
    return sorted(done.stdout.splitlines()) or [""]


def _names(folder: Path, network: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{network}-*")) if folder.is_dir() else []


def _links(folder: Path, target: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.is_symlink() and p.readlink().is_relative_to(target))


def _runs(cluster: SecondCluster) -> bool:
    return bool(cluster.get("pod", "sleeper").get("status", {}).get("phase") == "Running")


def _sleeper(image: str) -> dict[str, object]:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    container = {
        "name": "sleeper",
        "image": image,
        "command": ["python3", "-c", "import time; time.sleep(1000000)"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sleeper", "labels": {"app": "sleeper"}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sleeper"},
        "spec": {"type": "NodePort", "selector": {"app": "sleeper"}, "ports": [{"port": 80}]},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [claim, pod, service]}
