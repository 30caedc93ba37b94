"""A batch prediction with everything real but the kubelet: the operator, the Job controller, the store, the agent and the program."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import Client
from fovea_api.contract import storage
from fovea_dev.apiserver import ApiServer
from support.batch_node import Node
from support.batch_pod import brightness, lines
from support.batch_workers import Workers, prediction
from support.command_line import Run
from support.job_controller import api_server_with_jobs
from support.kube_apiserver import Cluster
from support.model_server import png, saved_model
from support.object_store import ObjectStore, object_store
from support.operator_process import OperatorProcess
from support.polling import until
from support.store_keys import make_secret, no_store_variables
from support.versions import model_version

__all__ = ["no_store_variables", "object_store", "saved_model"]

PICTURES = 1500
"""Six shards."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server_with_jobs(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def operator(cluster: Cluster, object_store: ObjectStore, tmp_path: Path) -> Iterator[OperatorProcess]:
    made = OperatorProcess(
        cluster.server, tmp_path, namespace=cluster.namespace, watch=(cluster.namespace,), BUCKET=object_store.bucket
    )
    made.environment["REPORT_URL"] = f"http://127.0.0.1:{made.report_port}"
    made.start().wait_ready()
    yield made
    made.kill()


@pytest.fixture
def node(cluster: Cluster, object_store: ObjectStore, saved_model: Path, tmp_path: Path) -> Iterator[Node]:
    make_secret(cluster, object_store, tmp_path / "keys")
    [keys] = (file.parent for file in (tmp_path / "keys").rglob("endpoint"))
    folder = tmp_path / "node"
    folder.mkdir()
    made = Node(cluster, Workers(cluster), keys, saved_model, folder)
    yield made
    made.stop()


def work(node: Node, done: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Let the node work until something is so of the status; the status."""

    def look() -> bool:
        node.look()
        status = node.workers.status
        return done(status) or status.get("state") in ("SUCCEEDED", "FAILED")

    until(look, seconds=240, what=what, every=0.2)
    status = node.workers.status
    assert done(status), status.get("message")
    return status


@pytest.mark.usefixtures("operator")
def test_a_thousand_pictures_are_each_answered_once_though_a_worker_is_lost(
    cluster: Cluster, object_store: ObjectStore, node: Node, run: Run, client: Client, tmp_path: Path
) -> None:
    folder = storage.dataset(cluster.namespace, "test")
    pictures = {f"{number}.png": number % 256 for number in range(PICTURES)}
    contents = [png(value) for value in range(256)]
    for name, value in pictures.items():
        object_store.put(f"{folder}/{name}", contents[value])
    object_store.put(f"{folder}/broken.png", b"no picture")
    cluster.create(model_version("digits", 1))
    uri = f"s3://{object_store.bucket}/{folder}"
    client.predictions.submit(prediction(input={"uri": uri, "format": "images"}, maxErrorRatio=0.001))

    work(node, lambda status: (status.get("progress") or {}).get("records", 0) > 0, "a shard is counted")
    lost = next(name for name in node.runs if name not in node.over)
    node.lose(lost)
    status = work(node, lambda status: status.get("state") == "SUCCEEDED", "the prediction succeeds")
    progress = status["progress"]
    assert (progress["records"], progress["errors"], progress["summary"]) == (PICTURES + 1, 1, "100%")
    assert "failures" not in status
    done = run("predictions", "download", "scores", tmp_path / "answers").ok()
    assert "Output of prediction scores" in done.out
    files = {path.name: path.read_bytes() for path in (tmp_path / "answers").iterdir()}
    found = brightness(files)
    assert len(found) == PICTURES
    assert dict(found) == pictures
    assert [line["record"] for line in lines(files, "errors.jsonl")] == ["broken.png"]
    assert len(node.runs) == 3


@pytest.mark.usefixtures("operator")
def test_an_input_that_is_not_there_ends_it_with_the_agent_s_words(
    cluster: Cluster, object_store: ObjectStore, node: Node
) -> None:
    cluster.create(model_version("digits", 1))
    uri = f"s3://{object_store.bucket}/{storage.dataset(cluster.namespace, 'nothing')}"
    cluster.create(prediction(input={"uri": uri, "format": "images"}, parallelism=1))
    status = work(node, lambda status: status.get("state") == "FAILED", "the prediction fails")
    assert uri in status["message"]
    assert status["lastFailure"]["reason"] == "InputMissing"
