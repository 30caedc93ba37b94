"""Versions of a model on a real cluster: from one to the next and back under load, and versions that must never be served."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_api.contract.signatures import WARMUP_FILE
from support import local_models
from support.jobs import condition
from support.local_jobs import machine_type
from support.local_models import Load, ask, place, register, save, serves
from support.polling import until

NAMESPACE = "vision"
DRAIN_SECONDS = 15
"""Longer than a connection to a model server lives (5 s on the cluster of `make up`, and a tenth)."""
BROKEN = {"garbage": 3, "fails its warm-up": 4}


class Models:
    """Models with their versions, and ModelDeployments that start together."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.folder, self.word = cluster, folder, f"t{uuid.uuid4().hex[:8]}"
        self.model, self.latest = f"{self.word}-m", f"{self.word}-latest"
        """A model with four versions, and one whose newest approved version is served."""
        self.pinned = f"{self.word}-pinned"
        self.broken = {what: f"{self.word}-broken-{number}" for what, number in BROKEN.items()}

    def register(self) -> None:
        """Versions 1 and 2 of both kinds of models are good; 3 is no SavedModel at all, 4 fails its warm-up."""
        good = save(self.folder / "1", bias=1.0)
        for number in (2, *BROKEN.values()):
            shutil.copytree(good, self.folder / str(number))
            (self.folder / str(number) / "number.txt").write_text(str(number))
        (self.folder / "3/saved_model.pb").write_bytes(b"this is no SavedModel")
        warm_up = self.folder / "4" / WARMUP_FILE
        warm_up.parent.mkdir(exist_ok=True)
        warm_up.write_bytes(b"these are no records of requests")
        for number in range(1, 5):
            assert register(self.cluster, self.model, self.folder / str(number)) == f"{self.model}-v{number}"
        register(self.cluster, self.latest, self.folder / "1")

    def deploy(self) -> None:
        """All start with version 1; those that are to break are sent on at once."""
        self.cluster.apply(machine_type(self.word, memory="1Gi"))
        rollout = {"drainSeconds": DRAIN_SECONDS}
        self._apply(self.latest, self.latest, rollout=rollout)
        hurried = {"drainSeconds": 0, "progressDeadlineSeconds": 60}
        self._apply(self.pinned, self.model, version=1, rollout=hurried)
        for name in self.broken.values():
            self._apply(name, self.model, version=1, rollout=hurried)
        for what, name in self.broken.items():
            serves(self.cluster, name, 1)
            self.patch(name, {"version": BROKEN[what]})

    def _apply(self, name: str, model: str, **spec: Any) -> None:
        self.cluster.apply(local_models.model_deployment(name, model, self.word, **spec))

    def patch(self, name: str, spec: dict[str, Any]) -> None:
        """kubectl patch."""
        merge = json.dumps({"spec": spec})
        self.cluster.kubectl("patch", "modeldeployment", name, "-n", NAMESPACE, "--type=merge", "-p", merge)

    def workloads(self, name: str) -> dict[str, dict[str, Any]]:
        """Deployments of a ModelDeployment by their version."""
        found = self.cluster.list("deployments", NAMESPACE, f"{labels.MODEL_DEPLOYMENT}={name}")
        return {workload["metadata"]["labels"][labels.VERSION]: workload for workload in found}

    def services(self, name: str) -> set[str]:
        """Names of the Services of a ModelDeployment."""
        found = self.cluster.list("services", NAMESPACE, f"{labels.MODEL_DEPLOYMENT}={name}")
        return {service["metadata"]["name"] for service in found}

    def address(self, name: str) -> str:
        """host:port on the node."""
        return local_models.address(self.cluster, name)

    def remove(self) -> None:
        """Delete what was made."""
        quiet = ("--ignore-not-found", "--wait=false")
        deployments = (self.latest, self.pinned, *self.broken.values())
        versions = [f"{model}-v{number}" for model in (self.model, self.latest) for number in range(1, 5)]
        self.cluster.kubectl("delete", "modeldeployment", *deployments, "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "modelversion", *versions, "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "machinetype", self.word, *quiet)


@pytest.fixture(scope="module")
def models(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    made = Models(cluster, tmp_path_factory.mktemp("models"))
    try:
        made.register()
        made.deploy()
        yield made
    finally:
        made.remove()


def test_a_new_version_and_the_way_back_lose_no_request(models: Models, cluster: Any) -> None:
    name = models.latest
    serves(cluster, name, 1)
    row = cluster.kubectl("get", "md", name, "-n", NAMESPACE, "--no-headers").split()
    assert row[:4] == [name, name, "1", "1"], "name, model, the version that serves, its pods"
    with Load(name, models.address(name)) as load:
        until(lambda: load.answers.get(1, 0) > 50, seconds=60, what="answers of version 1")
        register(cluster, name, models.folder / "2")
        serves(cluster, name, 2)
        until(lambda: load.answers.get(2, 0) > 50, seconds=60, what="answers of version 2")
        both = models.workloads(name)
        assert set(both) == {"1", "2"}, "version 1 finishes its connections"
        own = {workload["metadata"]["name"] for workload in both.values()}
        assert models.services(name) == {name, *own}, "each version has a Service of its own"
        until(lambda: set(models.workloads(name)) == {"2"}, seconds=DRAIN_SECONDS + 60, what="version 1 is gone")
        until(lambda: not _pods(cluster, name, 1), seconds=90, what="the pods of version 1 are gone")
        [left] = models.workloads(name).values()
        assert models.services(name) == {name, left["metadata"]["name"]}
        cluster.fovea("versions", "reject", f"{name}-v2", "-n", NAMESPACE)
        serves(cluster, name, 1)
        before = load.answers[1]
        until(lambda: load.answers[1] > before + 50, seconds=60, what="answers of version 1 again")
    assert load.failures == []
    assert set(load.answers) == {1, 2}
    print(f"{sum(load.answers.values())} requests, the slowest took {load.slowest_seconds:.2f} s")


def _pods(cluster: Any, name: str, version: int) -> list[dict[str, Any]]:
    selector = f"{labels.MODEL_DEPLOYMENT}={name},{labels.VERSION}={version}"
    found: list[dict[str, Any]] = cluster.list("pods", NAMESPACE, selector)
    return found


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_version_that_cannot_be_served_never_gets_a_request_and_the_status_says_why(
    models: Models, cluster: Any, what: str
) -> None:
    name, number = models.broken[what], BROKEN[what]
    given_up = until(
        lambda: place((md := cluster.get("modeldeployment", name))["status"], "failed") and md,
        seconds=180,
        what=f"version {number} is given up",
    )
    status = given_up["status"]
    assert (place(status, "failed")["version"], place(status, "stable")["version"]) == (number, 1)
    progressing = condition(given_up, "Progressing")
    assert progressing["status"] == "False"
    assert f"Version {number} is given up" in progressing["message"]
    assert "version 1 keeps serving" in progressing["message"]
    assert "the model server of pod" in progressing["message"], "it says that the server ended, and with what"
    assert condition(given_up, "Serving")["status"] == "True"
    service = cluster.get("service", name)
    assert service["spec"]["selector"][labels.VERSION] == "1"
    assert ask(models.model, models.address(name), 4.0) == (5.0, 1)
    until(lambda: set(models.workloads(name)) == {"1"}, seconds=60, what="its Deployment is gone")


def test_a_deployment_pinned_to_a_number_serves_that_and_moves_when_the_number_changes(
    models: Models, cluster: Any
) -> None:
    name = models.pinned
    status = serves(cluster, name, 1)
    assert not place(status, "candidate"), "newer versions are registered, but not asked for"
    assert ask(models.model, models.address(name), 4.0) == (5.0, 1)
    models.patch(name, {"version": 2})
    serves(cluster, name, 2)
    until(lambda: set(models.workloads(name)) == {"2"}, seconds=60, what="only version 2")
    until(lambda: ask(models.model, models.address(name), 4.0) == (5.0, 2), seconds=30, what="an answer of version 2")


def test_kubectl_scale_changes_the_pods_of_the_serving_version(models: Models, cluster: Any) -> None:
    name = models.pinned
    until(lambda: len(models.workloads(name)) == 1, seconds=60, what="no rollout under way")
    template = next(iter(models.workloads(name).values()))["spec"]["template"]
    cluster.kubectl("scale", "md", name, "-n", NAMESPACE, "--replicas=2")
    both = until(
        lambda: (md := cluster.get("modeldeployment", name))["status"].get("replicas") == 2 and md,
        seconds=120,
        what="two ready pods",
    )
    assert both["spec"]["scaling"]["minReplicas"] == 2
    assert "answers on 2 of 2 pods" in both["status"]["message"]
    cluster.kubectl("scale", "md", name, "-n", NAMESPACE, "--replicas=1")
    until(
        lambda: [w["status"].get("replicas") for w in models.workloads(name).values()] == [1],
        seconds=120,
        what="one pod again",
    )
    assert next(iter(models.workloads(name).values()))["spec"]["template"] == template


def test_an_upgrade_of_fovea_touches_no_model_that_is_served(models: Models, cluster: Any) -> None:
    def seen() -> dict[str, tuple[int, list[str]]]:
        found = {}
        for name in (models.latest, models.pinned, *models.broken.values()):
            for workload in models.workloads(name).values():
                pods = cluster.list("pods", NAMESPACE, f"{labels.MODEL_DEPLOYMENT}={name}")
                metadata = workload["metadata"]
                found[metadata["name"]] = (metadata["generation"], sorted(pod["metadata"]["uid"] for pod in pods))
        return found

    for name in (models.latest, models.pinned, *models.broken.values()):
        until(lambda name=name: len(models.workloads(name)) == 1, seconds=150, what=f"no rollout of {name} under way")
        until(lambda name=name: len(_alive(cluster, name)) == 1, seconds=150, what=f"one pod of {name}")
    before, operator = seen(), _operator(cluster)
    namespaces = ("vision", "speech")
    # Also what a new model server would be started with is another: those that serve keep what they were made with.
    command = "serving.command={fovea-model-server,--rest_api_timeout_in_ms=29999}"
    try:
        cluster.deployment.install("operator.logLevel=debug", command, namespaces=namespaces)
        assert _operator(cluster) != operator
        models.patch(models.pinned, {"rollout": {"drainSeconds": 1}})
        reconciled = "the new operator has looked at a deployment"
        until(lambda: _is_observed(cluster, models.pinned), seconds=60, what=reconciled)
        assert seen() == before
    finally:
        cluster.deployment.install(namespaces=namespaces)
    assert seen() == before


def _alive(cluster: Any, name: str) -> list[dict[str, Any]]:
    found = cluster.list("pods", NAMESPACE, f"{labels.MODEL_DEPLOYMENT}={name}")
    return found if all("deletionTimestamp" not in pod["metadata"] for pod in found) else []


def _operator(cluster: Any) -> int:
    found = cluster.list("deployments", "fovea-system", "app.kubernetes.io/component=operator")
    return int(found[0]["metadata"]["generation"])


def _is_observed(cluster: Any, name: str) -> bool:
    found = cluster.get("modeldeployment", name)
    return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])


def test_a_deleted_deployment_takes_its_deployments_and_service_along_and_leaves_the_model(
    models: Models, cluster: Any
) -> None:
    name = models.pinned
    cluster.kubectl("delete", "modeldeployment", name, "-n", NAMESPACE)
    until(lambda: not models.workloads(name), seconds=90, what="no Deployment is left")
    until(lambda: not models.services(name), seconds=60, what="no Service is left")
    until(
        lambda: not cluster.list("pods", NAMESPACE, f"{labels.MODEL_DEPLOYMENT}={name}"),
        seconds=120,
        what="no pod is left",
    )
    assert cluster.get("modelversion", f"{models.model}-v1")
