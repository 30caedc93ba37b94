"""Two caches on one machine: the machine belongs to one cluster at a time, what lies on disk to the cache it lies in."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fovea_dev import network, owner, teardown
from fovea_dev.layout import Cache, Cluster
from fovea_dev.processes import Processes, Program
from fovea_dev.progress import Progress, StepFailed


@dataclass(frozen=True)
class Beside(Cluster):
    """A cluster whose sockets and pid files are not in this machine's /run."""

    @property
    def run(self) -> Path:
        return self.cache.root.parent / "run"


class Machine:
    """Two caches, one folder of pid files, and whose remains were cleared from the machine."""

    def __init__(self, folder: Path) -> None:
        self.one, self.other = (Beside(Cache(folder / name)) for name in ("a", "b"))
        self.processes = Processes(self.one.pids, folder / "logs")
        self.progress = Progress(io.StringIO())
        self.cleared: list[Path] = []

    def claim(self, cluster: Cluster) -> None:
        owner.claim(cluster, self.processes, self.progress)

    def brought_up(self, cluster: Cluster) -> None:
        """As after `up`: claimed, with keys and data on disk, and a process."""
        self.claim(cluster)
        for path in (cluster.pki / "ca.crt", cluster.state / "etcd/member", cluster.volumes / "pvc-1/file"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("content")
        self.processes.ensure(Program("etcd", ["sleep", "1000"]))

    def kill(self) -> None:
        identity = self.processes.identity("etcd")
        assert identity is not None
        os.kill(identity.pid, 9)
        os.waitpid(identity.pid, 0)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path)
    monkeypatch.setattr(teardown, "clear_pods", lambda cluster: made.cleared.append(cluster.kubelet_root))
    monkeypatch.setattr(teardown, "_remove_containers", lambda *_: True)
    monkeypatch.setattr(teardown, "_FOREIGN_FOLDERS", ())
    monkeypatch.setattr(network, "take_down", lambda _cluster: None)
    yield made
    for name in made.processes.names():
        made.processes.stop(name, grace=0)


def test_a_killed_clusters_machine_is_cleared_for_another_cache_and_its_data_stay(machine: Machine) -> None:
    machine.brought_up(machine.one)
    machine.kill()
    machine.claim(machine.other)
    assert machine.cleared == [machine.one.kubelet_root]
    assert (machine.one.state / "etcd/member").read_text() == "content"
    assert (machine.one.volumes / "pvc-1/file").read_text() == "content"
    assert (machine.other.run / "cache").read_text().strip() == str(machine.other.cache.root)


def test_down_with_another_cache_clears_what_the_killed_cluster_left_too(machine: Machine) -> None:
    machine.brought_up(machine.one)
    machine.kill()
    owner.clear_other(machine.other, machine.processes, machine.progress)
    teardown.take_down(machine.other, machine.processes, machine.progress)
    assert machine.cleared == [machine.one.kubelet_root, machine.other.kubelet_root]
    assert (machine.one.state / "etcd/member").exists()
    assert not machine.one.run.exists()


def test_a_cluster_that_runs_is_left_alone_and_the_command_is_named(machine: Machine) -> None:
    machine.brought_up(machine.one)
    for act in (machine.claim, lambda cluster: owner.clear_other(cluster, machine.processes, machine.progress)):
        with pytest.raises(StepFailed, match=f"first FOVEA_CACHE={machine.one.cache.root} make down"):
            act(machine.other)
    assert machine.cleared == []
    assert machine.processes.identity("etcd") is not None


def test_a_cluster_whose_cache_was_deleted_is_ended_even_if_a_mount_kept_some_of_it(machine: Machine) -> None:
    machine.brought_up(machine.one)
    (machine.one.pki / "ca.crt").unlink()
    machine.one.pki.rmdir()
    machine.claim(machine.other)
    assert machine.processes.identity("etcd") is None
    assert machine.cleared == [machine.one.kubelet_root]
    assert not machine.one.state.exists()


def test_down_removes_the_clusters_own_data(machine: Machine) -> None:
    machine.brought_up(machine.one)
    teardown.take_down(machine.one, machine.processes, machine.progress)
    assert not machine.one.state.exists()
    assert not machine.one.run.exists()
    assert machine.processes.identity("etcd") is None
