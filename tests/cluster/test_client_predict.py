"""How `fovea predict` finds a model's server: by its ModelDeployment, a node port, or a port-forward."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import Client, NotFoundError, UnreachableError
from fovea.sdk.endpoints import resolve
from fovea_api.contract import labels, names
from support.command_line import Ran, fovea
from support.jobs import model_deployment
from support.kube_apiserver import Cluster
from support.kubelet_server import KubeletServer, kubelet_server
from support.prediction_server import PredictionServer


@pytest.fixture
def pets() -> Iterator[PredictionServer]:
    running = PredictionServer()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def node(cluster: Cluster) -> Iterator[KubeletServer]:
    with kubelet_server(cluster.server, f"node-{cluster.namespace}") as running:
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return Client(kubeconfig=str(cluster.server.kubeconfig), namespace=cluster.namespace)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    path.write_bytes(b"a dog")
    return path


def predict(cluster: Cluster, *words: object) -> Ran:
    return fovea(
        "predict", "--kubeconfig", cluster.server.kubeconfig, "-n", cluster.namespace, "--format", "json", *words
    )


def deploy(cluster: Cluster, model: str, version: int, name: str = "", **endpoint: Any) -> None:
    name = name or model
    cluster.create(model_deployment(name, model))
    status = {
        "stable": {"version": version, "deployment": f"{name}-v{version}"},
        "endpoint": {"grpc": f"{name}.{cluster.namespace}.svc:8500", "rest": f"http://{name}.svc:8501", **endpoint},
    }
    cluster.patch("ModelDeployment", name, {"status": status}, "status")


def make_server_pod(cluster: Cluster, node: KubeletServer, pets: PredictionServer, name: str, version: int) -> None:
    pod = f"{name}-v{version}-pod"
    container = {"name": names.MODEL_SERVER_CONTAINER, "image": "x"}
    marks = labels.of_model_server(name, "pets", version, "abc")
    spec = {"nodeName": node.name, "containers": [container]}
    cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "labels": marks}, "spec": spec})
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    cluster.patch("Pod", pod, {"status": ready}, "status")
    node.ports[pod, names.GRPC_PORT] = ("127.0.0.1", pets.port)


def test_from_outside_a_port_forward_leads_to_a_ready_pod(
    cluster: Cluster, node: KubeletServer, pets: PredictionServer, picture: Path
) -> None:
    deploy(cluster, "pets", 3)
    make_server_pod(cluster, node, pets, "pets", 3)
    answer = predict(cluster, "--model", "pets", picture).ok().json()[0]
    assert (answer["label"], answer["version"]) == ("dog", 3)


def test_a_node_port_is_used_where_it_can_be_reached(
    cluster: Cluster, pets: PredictionServer, client: Client, picture: Path
) -> None:
    deploy(cluster, "pets", 3, nodePortGrpc=pets.port)
    assert predict(cluster, "--model", "pets", picture).ok().json()[0]["label"] == "dog"
    with client.predictor("pets") as predictor:
        assert predictor.how == "a node port"
        assert predictor.classify([picture])[0].label == "dog"


def test_another_version_is_asked_at_its_own_pods(
    cluster: Cluster, node: KubeletServer, pets: PredictionServer, picture: Path
) -> None:
    deploy(cluster, "pets", 3, nodePortGrpc=1)
    make_server_pod(cluster, node, pets, "pets", 2)
    assert predict(cluster, "--model", "pets", "--version", 2, picture).ok().json()[0]["version"] == 2


def test_the_deployment_of_the_models_own_name_comes_first(client: Client, cluster: Cluster) -> None:
    deploy(cluster, "pets", 1, name="pets-canary", nodePortGrpc=1)
    deploy(cluster, "pets", 2, nodePortGrpc=1)
    with pytest.raises(NotFoundError, match="version 2 of ModelDeployment pets has no ready pod"):
        resolve(client.cluster, "pets")


def test_a_model_that_is_not_deployed_and_one_that_does_not_serve_yet_are_told_apart(
    client: Client, cluster: Cluster, picture: Path
) -> None:
    ran = predict(cluster, "--model", "pets", picture)
    assert ran.code == 1
    assert f"model pets has no ModelDeployment in namespace {cluster.namespace}: serve it with" in ran.err
    cluster.create(model_deployment("pets", "pets"))
    cluster.patch("ModelDeployment", "pets", {"status": {"message": "no version of pets"}}, "status")
    with pytest.raises(UnreachableError, match=r"ModelDeployment pets serves nothing yet \(no version of pets\)"):
        resolve(client.cluster, "pets")
