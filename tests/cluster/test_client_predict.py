"""How `fovea predict` finds a model's server: by its ModelDeployment, a node port, or a port-forward."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import Client, NotFoundError, Predictor, UnreachableError, rollout
from fovea.sdk.endpoints import resolve
from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment
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
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    path.write_bytes(b"a dog")
    return path


def predict(cluster: Cluster, *words: object) -> Ran:
    return fovea(
        "predict", "--kubeconfig", cluster.server.kubeconfig, "-n", cluster.namespace, "--format", "json", *words
    )


def stable(name: str, version: int) -> dict[str, Any]:
    """The place of a version that is served."""
    return {
        "version": version,
        "revision": "abc",
        "deployment": f"{name}-v{version}-abc",
        "role": "stable",
        "step": "Serving",
    }


def deploy(cluster: Cluster, model: str, version: int, name: str = "", **endpoint: Any) -> None:
    name = name or model
    cluster.create(model_deployment(name, model))
    status = {
        "places": [stable(name, version)],
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
        resolve(client.cluster, "pets", rollout_timeout=0)


def progressing(status: str, message: str) -> dict[str, Any]:
    condition = {"type": "Progressing", "status": status, "reason": "Said", "message": message}
    condition |= {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    return {"message": message, "conditions": [condition]}


def test_a_first_version_that_is_coming_up_is_waited_for(
    client: Client, cluster: Cluster, pets: PredictionServer, picture: Path
) -> None:
    cluster.create(model_deployment("pets", "pets"))
    said: list[str] = []
    steps = [
        progressing("True", "version 3 is starting"),
        {"places": [stable("pets", 3)], "endpoint": {"nodePortGrpc": pets.port}},
    ]

    def notice(text: str) -> None:
        said.append(text)
        cluster.patch("ModelDeployment", "pets", {"status": steps.pop(0)}, "status")

    with Predictor("pets", cluster=client.cluster, notice=notice) as predictor:
        assert predictor.classify([picture])[0].label == "dog"
    assert said == [
        "Waiting for ModelDeployment pets: the operator has not looked at it yet",
        "Waiting for ModelDeployment pets: version 3 is starting",
    ]


def test_a_version_that_cannot_come_is_not_waited_for(cluster: Cluster, picture: Path) -> None:
    cluster.create(model_deployment("pets", "pets"))
    status = progressing("False", "Version 3 is given up: its files do not match their digest.")
    cluster.patch("ModelDeployment", "pets", {"status": status}, "status")
    for more in ((), ("--rest",), ("--version", 3)):
        ran = predict(cluster, "--model", "pets", picture, *more)
        assert ran.code == 1
        assert ran.err.startswith("ERROR: ModelDeployment pets serves nothing yet (Version 3 is given up: its files do")
        assert f"`fovea models describe pets -n {cluster.namespace}` says where it stands" in ran.err


def test_what_is_waited_for_is_said_and_for_how_long_can_be_chosen(cluster: Cluster, picture: Path) -> None:
    cluster.create(model_deployment("pets", "pets"))
    cluster.patch("ModelDeployment", "pets", {"status": progressing("True", "version 3 is starting")}, "status")
    ran = predict(cluster, "--model", "pets", picture, "--rollout-timeout", "1s")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Waiting for ModelDeployment pets: version 3 is starting\nERROR: ModelDeployment pets")


def test_what_was_said_of_an_earlier_spec_does_not_end_the_wait() -> None:
    document = model_deployment("pets", "pets") | {"status": progressing("False", "no version 7")}
    document["metadata"]["generation"] = 1
    assert rollout.cannot_come(ModelDeployment.model_validate(document))
    document["metadata"]["generation"] = 2
    assert not rollout.cannot_come(ModelDeployment.model_validate(document))
