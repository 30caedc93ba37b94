"""A node is cordoned on a real API server: the model that has its only pod there gets a second one, and is held until then."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fovea_api.v1alpha1 import API_VERSION
from support.jobs import condition, model_deployment, place_of
from support.kube_apiserver import Cluster
from support.kubelet_player import DIGEST, Kubelet
from support.operator_process import OperatorProcess

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"


class Nodes:
    """Two nodes of this test alone."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.first, self.second = (f"n{number}-{uuid.uuid4().hex[:8]}" for number in (1, 2))
        for name in (self.first, self.second):
            cluster.api.request("POST", NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})

    def cordon(self, name: str, *, on: bool = True) -> None:
        """kubectl cordon, or uncordon."""
        self.cluster.api.request("PATCH", f"{NODES}/{name}", {"spec": {"unschedulable": on}}, MERGE)

    def heartbeat(self, name: str) -> None:
        """The kubelet writes its node's status."""
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": uuid.uuid4().hex}
        self.cluster.api.request("PATCH", f"{NODES}/{name}/status", {"status": {"conditions": [ready]}}, MERGE)

    def remove(self) -> None:
        """Delete both."""
        for name in (self.first, self.second):
            self.cluster.api.request("DELETE", f"{NODES}/{name}")


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[Nodes]:
    made = Nodes(cluster)
    yield made
    made.remove()


class Model:
    """A model with one version, whose pods the test makes, as controllers would."""

    def __init__(self, cluster: Cluster, **spec: Any) -> None:
        self.cluster, self.kubelet = cluster, Kubelet(cluster)
        version = {"model": "digits", "version": 1, "uri": "s3://fovea/team/digits/1", "digest": DIGEST}
        metadata = {"name": "digits-v1"}
        cluster.create({"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": metadata, "spec": version})
        cluster.create(model_deployment("digits", "digits", **spec))
        cluster.wait("the version's Deployment", lambda: cluster.list("Deployment"))

    @property
    def deployment(self) -> dict[str, Any]:
        [found] = self.cluster.list("Deployment")
        return dict(found)

    def pod(self, name: str, node: str, *, ready: bool) -> None:
        """A pod of the Deployment on a node."""
        template = self.deployment["spec"]["template"]
        metadata = {"name": name, "labels": template["metadata"]["labels"]}
        spec = {**template["spec"], "nodeName": node}
        self.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self.ready(name, ready=ready)

    def ready(self, name: str, *, ready: bool) -> None:
        """The kubelet says whether the pod answers; so does the Deployment's controller."""
        said = {"type": "Ready", "status": "True" if ready else "False"}
        self.cluster.patch("Pod", name, {"status": {"phase": "Running", "conditions": [said]}}, "status")

    def answers(self, pods: int) -> None:
        """The Deployment's controller says how many pods answer."""
        found = self.deployment
        counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas"), pods)
        status = {"observedGeneration": found["metadata"]["generation"], **counts}
        self.cluster.patch("Deployment", found["metadata"]["name"], {"status": status}, "status")

    def min_available(self) -> int | None:
        """What an eviction has to leave; None without a budget."""
        budget = self.cluster.get("PodDisruptionBudget", "digits")
        return None if budget is None else int(budget["spec"]["minAvailable"])

    def evacuation(self) -> dict[str, Any]:
        """What the status says of the stable version's second pod."""
        found: dict[str, Any] = place_of(self.cluster.get("ModelDeployment", "digits"), "stable").get("evacuation", {})
        return found

    def becomes(self, *, replicas: int, step: str | None, min_available: int) -> None:
        """Wait until that many pods are wanted, and the rest is so."""

        def is_so() -> bool:
            found = (self.deployment["spec"]["replicas"], self.evacuation().get("step"), self.min_available())
            return found == (replicas, step, min_available)

        self.cluster.wait(f"{replicas} replicas, {step}, {min_available} held", is_so)

    def events(self) -> set[str]:
        """Reasons of the Events."""
        return {event["reason"] for event in self.cluster.list("Event")}


def served(cluster: Cluster, nodes: Nodes, **spec: Any) -> Model:
    """One pod answers on the first node."""
    model = Model(cluster, **spec)
    model.pod("first", nodes.first, ready=True)
    model.answers(1)
    model.becomes(replicas=1, step=None, min_available=1)
    return model


def test_a_second_pod_is_wanted_while_the_first_is_on_a_cordoned_node_and_one_is_left(
    cluster: Cluster, nodes: Nodes, operator: OperatorProcess
) -> None:
    model = served(cluster, nodes)
    nodes.cordon(nodes.first)
    model.becomes(replicas=2, step="SecondPodStarting", min_available=1)
    assert model.evacuation()["node"] == nodes.first
    found = cluster.get("ModelDeployment", "digits") or {}
    assert f"Node {nodes.first} is cordoned: a second pod starts" in condition(found, "Serving")["message"]
    assert found["spec"].get("scaling", {}).get("minReplicas", 1) == 1
    nodes.heartbeat(nodes.first)
    model.pod("second", nodes.second, ready=False)
    model.ready("second", ready=True)
    model.answers(2)
    model.becomes(replicas=2, step="SecondPodReady", min_available=1)
    cluster.delete("Pod", "first", grace=0)
    model.becomes(replicas=1, step=None, min_available=1)
    cluster.wait("both Events", lambda: model.events() >= {"SecondPodStarting", "SecondPodReady"})


def test_an_uncordoned_node_is_cordoned_again_and_removed_with_its_pod(
    cluster: Cluster, nodes: Nodes, operator: OperatorProcess
) -> None:
    model = served(cluster, nodes)
    for _ in range(2):
        nodes.cordon(nodes.first)
        model.becomes(replicas=2, step="SecondPodStarting", min_available=1)
        nodes.cordon(nodes.first, on=False)
        model.becomes(replicas=2, step="SecondPodEnding", min_available=1)
    cluster.delete("Pod", "first", grace=0)
    model.becomes(replicas=1, step=None, min_available=1)


def test_an_operator_that_starts_in_the_middle_of_a_drain_goes_on_with_it(
    cluster: Cluster, nodes: Nodes, operator: OperatorProcess, start_operator: Callable[..., OperatorProcess]
) -> None:
    model = served(cluster, nodes)
    operator.kill()
    nodes.cordon(nodes.first)
    second = start_operator().wait_ready()
    model.becomes(replicas=2, step="SecondPodStarting", min_available=1)
    since = model.evacuation()["since"]
    second.kill()
    model.pod("second", nodes.second, ready=False)
    start_operator().wait_ready()
    cluster.wait("the operator has seen the pod", lambda: model.evacuation()["since"] == since)
    model.ready("second", ready=True)
    model.becomes(replicas=2, step="SecondPodReady", min_available=1)


def test_a_second_pod_that_is_late_holds_the_first_no_more(
    cluster: Cluster, nodes: Nodes, operator: OperatorProcess
) -> None:
    model = served(cluster, nodes, rollout={"progressDeadlineSeconds": 10})
    nodes.cordon(nodes.first)
    model.becomes(replicas=2, step="SecondPodLate", min_available=0)
    cluster.wait("the warning", lambda: "SecondPodLate" in model.events())
    model.pod("second", nodes.second, ready=True)
    model.becomes(replicas=2, step="SecondPodReady", min_available=1)
