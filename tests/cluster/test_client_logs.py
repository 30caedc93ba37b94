"""Logs and port-forwards through a real API server; the kubelet behind it is the test's."""

import select
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fovea.sdk import Client, NotFoundError, UnreachableError, port_forward
from fovea.sdk.port_forward import PortForward, to_pods
from fovea_api.contract import labels, names
from support.command_line import fovea
from support.jobs import pod_name, training_job
from support.kube_apiserver import Cluster
from support.kubelet_server import KubeletServer, kubelet_server
from support.polling import until


@pytest.fixture
def node(cluster: Cluster) -> Iterator[KubeletServer]:
    with kubelet_server(cluster.server, f"node-{uuid.uuid4().hex[:8]}") as running:
        yield running


def make_pod(cluster: Cluster, node: KubeletServer, name: str, marks: dict[str, str], port: int | None = None) -> None:
    container: dict[str, Any] = {"name": names.TRAINER_CONTAINER, "image": "registry.invalid/trainer:1"}
    if port is not None:
        container["ports"] = [{"containerPort": port, "name": "api"}]
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": marks},
            "spec": {"nodeName": node.name, "containers": [container]},
        }
    )


def attempt(cluster: Cluster, node: KubeletServer, job: str, number: int) -> str:
    name = pod_name(job, number)
    make_pod(cluster, node, name, labels.of_training_pod(job, "chief", 0, number))
    return name


def step(cluster: Cluster, pod: str, state: dict[str, Any], phase: str = "Running") -> None:
    entry = {"name": "trainer", "state": state, "ready": False, "restartCount": 0, "image": "x", "imageID": "x"}
    conditions = [{"type": "Ready", "status": "True" if phase == "Running" else "False"}]
    cluster.patch(
        "Pod", pod, {"status": {"phase": phase, "containerStatuses": [entry], "conditions": conditions}}, "status"
    )


RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}}


def stamp(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000{second:03d}Z"


def test_the_log_is_followed_across_attempts_until_the_job_has_ended(cluster: Cluster, node: KubeletServer) -> None:
    cluster.create(training_job("digits"))

    def play() -> None:
        first = attempt(cluster, node, "digits", 0)
        node.log(first).lines += [(stamp(1), "epoch 1"), (stamp(2), "killed")]
        step(cluster, first, RUNNING)
        node.log(first).open = False
        step(cluster, first, ended(137), "Failed")
        second = attempt(cluster, node, "digits", 1)
        step(cluster, second, {"waiting": {"reason": "PodInitializing"}}, "Pending")
        node.log(second).lines += [(stamp(3), "epoch 1 again"), (stamp(4), ""), (stamp(5), "done ✓")]
        step(cluster, second, RUNNING)
        node.log(second).open = False
        step(cluster, second, ended(0), "Succeeded")
        cluster.patch("TrainingJob", "digits", {"status": {"state": "SUCCEEDED"}}, "status")

    player = threading.Thread(target=play, daemon=True)
    player.start()
    ran = fovea(
        "jobs", "stream-logs", "digits", "-n", cluster.namespace, "--kubeconfig", cluster.server.kubeconfig
    ).ok()
    player.join(30)
    assert ran.out.splitlines() == [
        "[chief-0/0] epoch 1",
        "[chief-0/0] killed",
        "[chief-0/1] epoch 1 again",
        "[chief-0/1] ",
        "[chief-0/1] done ✓",
    ]
    assert ran.err.splitlines()[0] == "digits: QUEUED"
    assert ran.err.splitlines()[-1] == "digits: SUCCEEDED"


def test_the_log_of_an_attempt_that_was_there_before_comes_first(cluster: Cluster, node: KubeletServer) -> None:
    cluster.create(training_job("digits"))
    long = [f"epoch {number}" for number in range(2000)]
    for number, (lines, code, phase) in enumerate([(long, 137, "Failed"), (["done"], 0, "Succeeded")]):
        pod = attempt(cluster, node, "digits", number)
        node.log(pod).lines += [(stamp(1), line) for line in lines]
        node.log(pod).open = False
        step(cluster, pod, ended(code), phase)
    cluster.patch("TrainingJob", "digits", {"status": {"state": "SUCCEEDED"}}, "status")
    ran = fovea(
        "jobs", "stream-logs", "digits", "-n", cluster.namespace, "--kubeconfig", cluster.server.kubeconfig
    ).ok()
    assert ran.out.splitlines() == [*(f"[chief-0/0] {line}" for line in long), "[chief-0/1] done"]


def test_a_broken_connection_loses_and_repeats_no_line(client: Client, cluster: Cluster, node: KubeletServer) -> None:
    cluster.create(training_job("digits"))
    pod = attempt(cluster, node, "digits", 0)
    log = node.log(pod)
    # Several lines of one second: the server can only be asked for whole seconds.
    log.lines += [(f"2026-01-01T00:00:07.{n:09d}Z", f"line {n}") for n in range(20)]
    log.cut_after = 7
    step(cluster, pod, RUNNING)

    def followed() -> int:
        return sum("follow=true" in request for request in node.requests)

    def end() -> None:
        until(lambda: followed() >= 2, seconds=60, what="the stream is asked for again after the cut")
        log.lines += [(stamp(9), "last")]
        log.open = False
        step(cluster, pod, ended(0), "Succeeded")
        cluster.patch("TrainingJob", "digits", {"status": {"state": "SUCCEEDED"}}, "status")

    with ThreadPoolExecutor(1) as beside:
        ended_when_cut = beside.submit(end)
        texts = [line.text for line in client.jobs.stream_logs("digits")]
        ended_when_cut.result()
    assert texts == [*(f"line {n}" for n in range(20)), "last"]


def test_without_follow_what_there_is_is_printed(client: Client, cluster: Cluster, node: KubeletServer) -> None:
    cluster.create(training_job("digits"))
    pod = attempt(cluster, node, "digits", 0)
    node.log(pod).lines += [(stamp(1), "epoch 1")]
    step(cluster, pod, RUNNING)
    lines = list(client.jobs.stream_logs("digits", follow=False))
    assert [(line.task, line.attempt, line.text) for line in lines] == [("chief-0", 0, "epoch 1")]


def test_a_job_that_failed_without_a_pod_has_an_empty_log(client: Client, cluster: Cluster) -> None:
    cluster.create(training_job("digits"))
    cluster.patch("TrainingJob", "digits", {"status": {"state": "FAILED"}}, "status")
    assert list(client.jobs.stream_logs("digits")) == []
    ran = fovea("jobs", "stream-logs", "digits", "-n", cluster.namespace, "--kubeconfig", cluster.server.kubeconfig)
    assert "No log of container trainer: it has not started" in ran.ok().err


def test_describe_shows_the_pods_of_all_attempts(client: Client, cluster: Cluster, node: KubeletServer) -> None:
    cluster.create(training_job("digits"))
    first = attempt(cluster, node, "digits", 0)
    step(cluster, first, ended(137), "Failed")
    attempt(cluster, node, "digits", 1)
    pods = client.jobs.get("digits").pods()
    assert [(pod.task, pod.attempt, pod.summary) for pod in pods] == [
        ("chief-0", 0, "Failed (exit code 137)"),
        ("chief-0", 1, "Pending"),
    ]


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A TCP server that sends everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    def answer(peer: socket.socket) -> None:
        with peer:
            while data := peer.recv(65536):
                peer.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()
    listener.close()


def test_a_port_forward_carries_many_connections_and_much_data(
    client: Client, cluster: Cluster, node: KubeletServer, echo: tuple[str, int]
) -> None:
    make_pod(cluster, node, "server", {"app": "server"}, port=8500)
    step(cluster, "server", RUNNING)
    node.ports["server", 8500] = echo
    payload = bytes(range(256)) * 8192  # 2 MiB
    with to_pods(client.cluster, cluster.namespace, "app=server", "api", what="the server") as forward:
        host, port = forward.address.split(":")

        def talk(results: list[bytes]) -> None:
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                sender = threading.Thread(target=connection.sendall, args=(payload,), daemon=True)
                sender.start()
                received = b""
                while len(received) < len(payload):
                    received += connection.recv(65536)
                results.append(received)

        results: list[bytes] = []
        threads = [threading.Thread(target=talk, args=(results,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [result == payload for result in results] == [True] * 4


def test_a_connection_that_is_dropped_unread_ends_quietly(
    client: Client, cluster: Cluster, node: KubeletServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pod(cluster, node, "server", {"app": "server"})
    step(cluster, "server", RUNNING)
    listener = socket.create_server(("127.0.0.1", 0))
    gone = threading.Event()

    def greet() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"welcome" * 1000)
                while peer.recv(1024):
                    pass
                gone.set()

    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    threading.Thread(target=greet, daemon=True).start()
    node.ports["server", 8500] = listener.getsockname()
    with PortForward(client.cluster, cluster.namespace, "server", 8500) as forward:
        remote = forward._connect()
        assert select.select([remote], [], [], 30)[0], "the greeting did not arrive"
        port_forward._finish(remote)
        assert gone.wait(30), "the server was not told that its peer is gone"
        host, port = forward.address.split(":")
        gone.clear()
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            assert connection.recv(1) == b"w"
        assert gone.wait(30), "the server was not told that its peer is gone"
    listener.close()
    proxies = [thread for thread in threading.enumerate() if thread.name.startswith("Kubernetes port forward proxy")]
    for proxy in proxies:
        proxy.join(30)
    assert failures == []


def test_a_port_forward_that_cannot_be_is_explained(client: Client, cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match=r"the server has no ready pod in namespace .* see `kubectl get pods"):
        to_pods(client.cluster, cluster.namespace, "app=server", 8500, what="the server")
    with (
        PortForward(client.cluster, cluster.namespace, "no-such-pod", 8500) as forward,
        pytest.raises(UnreachableError, match="cannot forward a port to pod no-such-pod"),
    ):
        forward.check()
