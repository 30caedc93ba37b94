"""`kubectl drain` of the node that has the only pod of a model, with requests in flight.

The local cluster has one node, so the model's pods tolerate the cordon: the second pod starts on the same node. Everything
else is real: the cordon, the PodDisruptionBudget, the evictions that are refused and tried again, the Service.
"""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fovea_api.contract import labels
from support.local_jobs import machine_type
from support.local_models import Load, address, model_deployment, register, save, serves
from support.polling import until

NAMESPACE = "vision"
TOLERATED = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}


class Pods(dict[str, dict[str, Any]]):
    """The pods of a model at one moment, by name."""

    @property
    def staying(self) -> set[str]:
        """Those that are not ending."""
        return {name for name, pod in self.items() if "deletionTimestamp" not in pod["metadata"]}

    @property
    def ready(self) -> dict[str, datetime]:
        """Those of them that answer, and since when."""
        said = {
            name: each["lastTransitionTime"]
            for name in self.staying
            for each in self[name]["status"].get("conditions", ())
            if (each["type"], each["status"]) == ("Ready", "True")
        }
        return {name: datetime.fromisoformat(time) for name, time in said.items()}

    def evicted_at(self, name: str) -> datetime:
        """When a pod that is ending was deleted."""
        metadata = self[name]["metadata"]
        grace = timedelta(seconds=metadata["deletionGracePeriodSeconds"])
        return datetime.fromisoformat(metadata["deletionTimestamp"]) - grace


class Model:
    """One version, served by one pod."""

    def __init__(self, cluster: Any, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.node = str(cluster.list("nodes", "default")[0]["metadata"]["name"])

    def deploy(self, folder: Path) -> None:
        """Register and serve it."""
        register(self.cluster, self.name, save(folder / "1", bias=1.0))
        self.cluster.apply(machine_type(self.name, memory="1Gi", tolerations=[TOLERATED]))
        self.cluster.apply(model_deployment(self.name, self.name, self.name))
        serves(self.cluster, self.name, 1)

    @property
    def status(self) -> dict[str, Any]:
        """Of the ModelDeployment."""
        found: dict[str, Any] = self.cluster.get("modeldeployment", self.name)["status"]
        return found

    def pods(self) -> "Pods":
        """All of them, now."""
        found = self.cluster.list("pods", NAMESPACE, f"{labels.MODEL_DEPLOYMENT}={self.name}")
        return Pods({pod["metadata"]["name"]: pod for pod in found})

    def drain(self) -> subprocess.CompletedProcess[str]:
        """kubectl drain, of this model's pods only: the node has all others, too."""
        selector = f"{labels.MODEL_DEPLOYMENT}={self.name}"
        flags = (f"--pod-selector={selector}", "--delete-emptydir-data", "--timeout=300s")
        done: subprocess.CompletedProcess[str] = self.cluster.run("kubectl", "drain", self.node, *flags)
        return done

    def uncordon(self) -> None:
        """kubectl uncordon."""
        self.cluster.kubectl("uncordon", self.node)

    def events(self) -> set[str]:
        """Reasons of the Events about it."""
        of = f"involvedObject.kind=ModelDeployment,involvedObject.name={self.name}"
        said = json.loads(self.cluster.kubectl("get", "events", "-n", NAMESPACE, "--field-selector", of, "-o", "json"))
        return {event["reason"] for event in said["items"]}

    def remove(self) -> None:
        """Delete what was made."""
        quiet = ("--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", "modeldeployment", self.name, "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "modelversion", f"{self.name}-v1", "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "machinetype", self.name, *quiet)


@pytest.fixture
def model(cluster: Any, unique: str, tmp_path: Path) -> Iterator[Model]:
    made = Model(cluster, unique)
    try:
        made.deploy(tmp_path)
        yield made
    finally:
        made.uncordon()
        made.remove()


def test_the_only_pod_of_a_model_is_drained_under_load_and_no_request_fails(model: Model, cluster: Any) -> None:
    [first] = until(lambda: len(pods := model.pods().ready) == 1 and pods, seconds=60, what="one pod")
    budget = cluster.get("poddisruptionbudget", model.name)
    assert budget["spec"]["minAvailable"] == 1
    seen: list[Pods] = []

    def watched(drained: Future[Any]) -> bool:
        seen.append(model.pods())
        return drained.done()

    with Load(model.name, address(cluster, model.name), longest_seconds=600) as load, ThreadPoolExecutor(1) as beside:
        until(lambda: load.answers.get(1, 0) > 50, seconds=60, what="answers")
        drained = beside.submit(model.drain)
        until(lambda: watched(drained), seconds=360, what="the end of the drain")
        assert "disruption budget" in drained.result().stderr, "the drain had to wait"
        assert first not in model.pods()
        assert all(pods.ready for pods in seen), "a pod answers at all times"
        ending = next(pods for pods in seen if first not in pods.staying)
        assert min(ending.ready.values()) <= ending.evicted_at(first), "it is evicted after the second pod is ready"
        before = load.answers[1]
        until(lambda: load.answers[1] > before + 50, seconds=60, what="answers of the second pod")
        model.uncordon()
        until(lambda: len(pods := model.pods()) == 1 and pods.ready, seconds=300, what="one pod again")
        until(lambda: "evacuation" not in model.status["places"][0], seconds=60, what="nothing is moved any more")
        before = load.answers[1]
        until(lambda: load.answers[1] > before + 50, seconds=60, what="answers of the one pod")
    assert load.failures == []
    until(lambda: model.events() >= {"SecondPodStarting", "SecondPodReady"}, seconds=30, what="both Events")
    print(f"{sum(load.answers.values())} requests, the slowest took {load.slowest_seconds:.2f} s")
