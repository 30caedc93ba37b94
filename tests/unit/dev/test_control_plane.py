from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fovea_dev import control_plane
from fovea_dev.layout import Cache, Cluster
from fovea_dev.processes import Processes, Program
from fovea_dev.progress import StepFailed


class SlowApiServer(Processes):
    """Notes what is started; the API server is not ready before it was waited for."""

    def __init__(self, folder: Path, *, gets_ready: bool = True) -> None:
        super().__init__(folder / "pids", folder / "logs")
        self.gets_ready = gets_ready
        self.happened: list[str] = []

    def ensure(self, program: Program, *, configuration: str = "") -> bool:
        assert configuration
        self.happened.append(program.name)
        return True

    def wait(
        self,
        name: str,
        ready: Callable[[], bool],
        seconds: float,
        what: str,
        *,
        needs: Sequence[str] = (),
        diagnosis: Callable[[], str] = str,
    ) -> None:
        del ready, seconds, diagnosis
        self.happened.append(f"{name} is {what.partition(' ')[0]}")
        if not self.gets_ready:
            raise StepFailed("not ready")


def up(folder: Path, processes: Processes) -> list[str]:
    cluster = Cluster(Cache(folder))
    plane = control_plane.of_cluster(cluster, lambda name: Path("/bin") / name)
    plane.make_keys()
    notes: list[str] = []
    control_plane.bring_up(cluster, plane, processes, notes)
    return notes


def test_what_ends_without_an_api_server_is_started_when_that_is_ready(tmp_path: Path) -> None:
    processes = SlowApiServer(tmp_path)
    notes = up(tmp_path, processes)
    servers, clients = ["etcd", "kube-apiserver"], ["kube-controller-manager", "kube-scheduler"]
    assert processes.happened == [*servers, "kube-apiserver is ready", *clients]
    assert notes == ["started etcd kube-apiserver kube-controller-manager kube-scheduler"]


def test_nothing_is_started_beside_an_api_server_that_does_not_get_ready(tmp_path: Path) -> None:
    processes = SlowApiServer(tmp_path, gets_ready=False)
    with pytest.raises(StepFailed):
        up(tmp_path, processes)
    assert processes.happened == ["etcd", "kube-apiserver", "kube-apiserver is ready"]
