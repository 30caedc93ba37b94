"""What programs printed, after their pods are gone: kubelet, API server, operator, sidecar and store in a row."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import REASON_NOTHING_TO_PUBLISH, REPORT_TOKEN_FILE
from support.command_line import Run
from support.jobs import training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.kubelet_server import KubeletServer, kubelet_server
from support.object_store import ObjectStore, object_store
from support.operator_process import OperatorProcess
from support.progress_reports import pod_token
from support.store_keys import make_secret, no_store_variables
from support.training_pod import TrainingPod

__all__ = ["no_store_variables", "object_store"]

SERVERS: dict[str, Any] = {"distribution": "ParameterServer", "roles": {"worker": {"count": 2}, "ps": {"count": 1}}}
Sidecar = Callable[[str, str, int, int], TrainingPod]


@pytest.fixture
def node(cluster: Cluster) -> Iterator[KubeletServer]:
    with kubelet_server(cluster.server, f"node-{uuid.uuid4().hex[:8]}") as running:
        yield running


@pytest.fixture
def keys(cluster: Cluster, object_store: ObjectStore, tmp_path: Path) -> Path:
    make_secret(cluster, object_store, tmp_path / "keys")
    return tmp_path / "keys" / cluster.namespace


@pytest.fixture
def sidecar(cluster: Cluster, operator: OperatorProcess, keys: Path, tmp_path: Path) -> Iterator[Sidecar]:
    """Starts the real sidecar of a pod that the operator made, beside the test."""
    started: list[TrainingPod] = []

    def start(job: str, role: str, index: int, attempt: int) -> TrainingPod:
        name = names.training_pod(job, role, index, attempt)
        pod, owner = cluster.get("Pod", name), cluster.get("TrainingJob", job)
        assert pod is not None
        assert owner is not None
        folder = tmp_path / name
        folder.mkdir()
        (folder / REPORT_TOKEN_FILE).write_text(pod_token(cluster, pod))
        plan = TrainingPlan(
            namespace=cluster.namespace,
            job=job,
            uid=owner["metadata"]["uid"],
            attempt=attempt,
            role=role,
            index=index,
            publish=role == names.ROLE_CHIEF,
            report_url=f"http://127.0.0.1:{operator.report_port}",
        )
        played = TrainingPod(plan, folder, keys)
        started.append(played)
        played.fetch()
        played.start_sync("--report-token", str(folder))
        return played

    yield start
    for played in started:
        played.kill_sync()


def test_logs_of_each_attempt_of_each_member_are_read_when_their_pods_are_gone(
    cluster: Cluster, kubelet: Kubelet, node: KubeletServer, run: Run, sidecar: Sidecar
) -> None:
    cluster.create(training_job("digits", **SERVERS))
    members = [("chief", 0), ("worker", 0), ("worker", 1), ("ps", 0)]
    for role, index in members:
        name = names.training_pod("digits", role, index, 0)
        cluster.wait(f"pod {name}", lambda name=name: cluster.get("Pod", name))
        kubelet.bind(name, node.name)
        kubelet.running(name)
        node.log(name).lines += [("2026-01-01T00:00:01.000000001Z", f"I am {role} {index}")]
        node.log(name).open = False
    cluster.job_in("digits", "RUNNING")
    worker = sidecar("digits", "worker", 1, 0)
    node.log("digits-worker-1-0").lines += [("2026-01-01T00:00:02.000000001Z", "out of memory ✗")]
    assert worker.sync_ended().termination.reason == REASON_NOTHING_TO_PUBLISH
    kubelet.ended("digits-worker-1-0", 137)
    cluster.wait("its next attempt", lambda: cluster.get("Pod", "digits-worker-1-1"))
    kubelet.vanish("digits-worker-1-0")

    ran = run("jobs", "stream-logs", "digits", "--task-name", "worker-1", "--attempt", 0, "--no-follow").ok()
    assert ran.out.splitlines() == ["[worker-1/0] I am worker 1", "[worker-1/0] out of memory ✗"]
    assert "The pod of worker-1, attempt 0, is gone: this is its published log." in ran.err
    # What has a pod is read from the pod, after what has none.
    both = run("jobs", "stream-logs", "digits", "--no-follow").ok().out.splitlines()
    assert both == [
        "[worker-1/0] I am worker 1",
        "[worker-1/0] out of memory ✗",
        "[chief-0/0] I am chief 0",
        "[ps-0/0] I am ps 0",
        "[worker-0/0] I am worker 0",
    ]


def test_the_log_of_a_job_of_one_pod_is_read_when_its_pod_is_gone(
    cluster: Cluster, kubelet: Kubelet, node: KubeletServer, run: Run, sidecar: Sidecar, tmp_path: Path
) -> None:
    cluster.create(training_job("digits", runPolicy={"cleanPodPolicy": "All"}))
    cluster.wait("the pod", lambda: cluster.get("Pod", "digits-chief-0-0"))
    kubelet.bind("digits-chief-0-0", node.name)
    kubelet.running("digits-chief-0-0")
    node.log("digits-chief-0-0").lines += [("2026-01-01T00:00:01.000000001Z", "a mistake")]
    node.log("digits-chief-0-0").open = False
    cluster.job_in("digits", "RUNNING")
    said = sidecar("digits", "chief", 0, 0).sync_ended().termination
    kubelet.ended("digits-chief-0-0", 1, sync=said)
    cluster.job_in("digits", "FAILED")

    def gone() -> bool:
        kubelet.finish_deletions()
        return cluster.get("Pod", "digits-chief-0-0") is None

    cluster.wait("the pod is deleted", gone)
    ran = run("jobs", "stream-logs", "digits").ok()
    assert ran.out.splitlines() == ["[chief-0/0] a mistake"]
    assert "The pod of chief-0, attempt 0, is gone: this is its published log." in ran.err
    empty = run("jobs", "stream-logs", "digits", "--container", "fovea-sync").ok()
    assert empty.out == ""

    run("jobs", "delete", "digits", "--yes").ok()
    run("jobs", "download", "digits@latest", "--what", "logs", str(tmp_path / "logs")).ok()
    assert (tmp_path / "logs/chief-0-0.log").read_text() == "a mistake\n", "also of a job that is deleted"


@pytest.mark.parametrize("lost", ["the kubelet does not answer", "the Node is deleted"])
def test_the_published_log_is_read_where_the_node_of_a_pod_is_lost(
    cluster: Cluster, kubelet: Kubelet, node: KubeletServer, run: Run, sidecar: Sidecar, lost: str
) -> None:
    cluster.create(training_job("digits"))
    cluster.wait("the pod", lambda: cluster.get("Pod", "digits-chief-0-0"))
    kubelet.bind("digits-chief-0-0", node.name)
    kubelet.running("digits-chief-0-0")
    node.log("digits-chief-0-0").lines += [("2026-01-01T00:00:01.000000001Z", "a mistake")]
    node.log("digits-chief-0-0").open = False
    cluster.job_in("digits", "RUNNING")
    said = sidecar("digits", "chief", 0, 0).sync_ended().termination
    kubelet.ended("digits-chief-0-0", 1, sync=said)
    cluster.job_in("digits", "FAILED")
    if lost == "the Node is deleted":
        cluster.server.client.request("DELETE", f"/api/v1/nodes/{node.name}")
    else:
        nobody = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}}
        path = f"/api/v1/nodes/{node.name}/status"
        cluster.server.client.request("PATCH", path, nobody, "application/merge-patch+json")

    for how in (["--no-follow"], []):
        ran = run("jobs", "stream-logs", "digits", *how).ok()
        assert ran.out.splitlines() == ["[chief-0/0] a mistake"]
        assert "The pod of chief-0, attempt 0, cannot be read: this is its published log." in ran.err
    assert cluster.get("Pod", "digits-chief-0-0") is not None


def test_a_pod_without_a_published_log_is_named(cluster: Cluster, run: Run, kubelet: Kubelet, keys: Path) -> None:
    cluster.create(training_job("digits"))
    cluster.patch("TrainingJob", "digits", {"status": {"state": "FAILED", "attempts": {"chief-0": 1}}}, "status")
    ran = run("jobs", "stream-logs", "digits").ok()
    for attempt in (0, 1):  # the second one may never have had a pod
        assert (
            f"There is no log of chief-0, attempt {attempt}: it has no pod, and no log of it was published." in ran.err
        )


def test_a_store_that_cannot_be_read_costs_no_log_of_a_pod(
    cluster: Cluster, kubelet: Kubelet, node: KubeletServer, operator: OperatorProcess, run: Run
) -> None:
    cluster.create(training_job("digits"))
    cluster.wait("the pod", lambda: cluster.get("Pod", "digits-chief-0-0"))
    kubelet.ended("digits-chief-0-0", 137)
    cluster.wait("its next attempt", lambda: cluster.get("Pod", "digits-chief-0-1"))
    kubelet.vanish("digits-chief-0-0")
    kubelet.bind("digits-chief-0-1", node.name)
    kubelet.running("digits-chief-0-1")
    node.log("digits-chief-0-1").lines += [("2026-01-01T00:00:01.000000001Z", "epoch 1")]
    node.log("digits-chief-0-1").open = False
    ran = run("jobs", "stream-logs", "digits", "--no-follow").ok()
    assert ran.out.splitlines() == ["[chief-0/1] epoch 1"]
    assert "Logs of attempts without a pod are in the object store, which cannot be read:" in ran.err
