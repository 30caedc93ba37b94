"""Jobs of several pods against a real API server, the kubelet played: who is made, who begins again, who goes."""

import json
import uuid
from typing import Any

import pytest
from fovea_api.v1alpha1 import API_VERSION
from support.jobs import of_job, training_job
from support.kube_apiserver import Cluster, machine_type
from support.kubelet_player import Kubelet

SERVERS: dict[str, Any] = {"distribution": "ParameterServer", "roles": {"worker": {"count": 2}, "ps": {"count": 1}}}
FIRST = ("chief-0", "worker-0", "worker-1", "ps-0")


@pytest.fixture
def digits() -> str:
    return f"digits-{uuid.uuid4().hex[:6]}"


pytestmark = pytest.mark.usefixtures("operator")


def pods_of(cluster: Cluster, job: str) -> dict[str, dict[str, Any]]:
    return {pod["metadata"]["name"].removeprefix(f"{job}-"): pod for pod in cluster.list("Pod", of_job(job))}


def made(cluster: Cluster, job: str, *wanted: str, kubelet: Kubelet | None = None) -> dict[str, dict[str, Any]]:
    """Wait until just these pods are there; a kubelet ends those that are deleted meanwhile."""

    def probe() -> dict[str, dict[str, Any]] | None:
        if kubelet is not None:
            kubelet.finish_deletions()
        found = pods_of(cluster, job)
        return found if found.keys() == set(wanted) else None

    there: dict[str, dict[str, Any]] = cluster.wait(f"pods {', '.join(sorted(wanted))} of {job}", probe)
    return there


def all_run(cluster: Cluster, kubelet: Kubelet, job: str, members: tuple[str, ...] = FIRST) -> None:
    names = [f"{member}-0" for member in members]
    made(cluster, job, *names)
    for name in names:
        kubelet.bind(f"{job}-{name}")
        kubelet.running(f"{job}-{name}")
    cluster.job_in(job, "RUNNING")


def test_a_distributed_job_runs_and_its_chiefs_success_ends_it(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    cluster.create(training_job(digits, **SERVERS))
    pods = made(cluster, digits, *(f"{member}-0" for member in FIRST))
    service = cluster.get("Service", f"{digits}-pods")
    assert service is not None
    assert service["spec"]["clusterIP"] == "None"
    policy = cluster.get("NetworkPolicy", f"{digits}-pods")
    assert policy is not None
    marks = policy["spec"]["podSelector"]["matchLabels"]
    assert all(marks.items() <= pod["metadata"]["labels"].items() for pod in pods.values())
    variables = {each["name"]: each.get("value") for each in pods["ps-0-0"]["spec"]["containers"][0]["env"]}
    assert json.loads(str(variables["TF_CONFIG"]))["task"] == {"type": "ps", "index": 0}
    all_run(cluster, kubelet, digits)
    running = cluster.get("TrainingJob", digits) or {}
    assert running["status"]["attempts"] == {"chief-0": 0}, "members at 0 are not listed"
    kubelet.succeeded(f"{digits}-chief-0-0")
    done = cluster.job_in(digits, "SUCCEEDED")
    assert done["status"]["roles"]["worker"] == {"pending": 0, "active": 0, "succeeded": 0, "failed": 0}
    made(cluster, digits, "chief-0-0", kubelet=kubelet)


def test_the_pods_of_a_distributed_job_are_a_gang_of_the_scheduler(cluster: Cluster, digits: str) -> None:
    cluster.create(training_job(digits, **SERVERS))
    pods = made(cluster, digits, *(f"{member}-0" for member in FIRST))
    group = cluster.get("PodGroup", f"trainingjob-{digits}") or {}
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 4}}
    assert group["metadata"]["ownerReferences"][0]["name"] == digits
    for pod in pods.values():
        assert pod["spec"]["schedulingGroup"] == {"podGroupName": f"trainingjob-{digits}"}


def test_a_job_that_is_half_placed_gives_its_nodes_back_and_tries_again(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    cluster.create(training_job(digits, scheduling={"gangTimeoutSeconds": 10}, **SERVERS))
    made(cluster, digits, *(f"{member}-0" for member in FIRST))
    kubelet.bind(f"{digits}-chief-0-0")
    kubelet.unschedulable(f"{digits}-ps-0-0", "0/1 nodes are available: 1 Insufficient cpu.")

    def again() -> bool:
        kubelet.finish_deletions()
        return {f"{member}-1" for member in FIRST} == pods_of(cluster, digits).keys()

    cluster.wait("all pods are made again", again, seconds=90)
    status = (cluster.get("TrainingJob", digits) or {})["status"]
    assert status["attempts"] == dict.fromkeys(FIRST, 1)
    assert "retries" not in status


def test_a_worker_that_is_killed_begins_again_alone(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    cluster.create(training_job(digits, **SERVERS))
    all_run(cluster, kubelet, digits)
    kubelet.ended(f"{digits}-worker-1-0", 137)
    pods = made(cluster, digits, *(f"{member}-0" for member in FIRST), "worker-1-1")
    assert not [name for name, pod in pods.items() if pod["metadata"].get("deletionTimestamp")]
    status = (cluster.get("TrainingJob", digits) or {})["status"]
    assert (status["state"], status["retries"], status["attempts"]) == ("RUNNING", 1, {"chief-0": 0, "worker-1": 1})
    assert status["lastFailure"]["member"] == "worker-1"


def test_an_evaluator_that_is_killed_begins_again_alone_and_costs_the_job_nothing(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    everyone = (*FIRST, "evaluator-0")
    cluster.create(training_job(digits, **{**SERVERS, "roles": {**SERVERS["roles"], "evaluator": {}}}))
    all_run(cluster, kubelet, digits, everyone)
    kubelet.ended(f"{digits}-evaluator-0-0", 137)
    made(cluster, digits, *(f"{member}-0" for member in everyone), "evaluator-0-1")
    status = (cluster.get("TrainingJob", digits) or {})["status"]
    assert (status["state"], status["evaluatorFailures"]) == ("RUNNING", 1)
    assert status["attempts"] == {"chief-0": 0, "evaluator-0": 1}
    assert "retries" not in status
    kubelet.succeeded(f"{digits}-chief-0-0")
    cluster.job_in(digits, "SUCCEEDED")


def test_a_drained_parameter_server_restarts_all_and_is_no_retry(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    cluster.create(training_job(digits, **SERVERS))
    all_run(cluster, kubelet, digits)
    cluster.delete("Pod", f"{digits}-ps-0-0", grace=30)
    for member in ("chief-0", "worker-0", "worker-1"):
        kubelet.ended(f"{digits}-{member}-0", 75)
    cluster.wait("a disruption", lambda: (cluster.get("TrainingJob", digits) or {})["status"].get("disruptions"))

    def began_again() -> bool:
        kubelet.finish_deletions()
        there = pods_of(cluster, digits).keys()
        return {f"{member}-1" for member in FIRST} <= there

    cluster.wait("the next attempt of all", began_again)
    status = (cluster.get("TrainingJob", digits) or {})["status"]
    assert "retries" not in status
    assert status["lastFailure"]["member"] == "ps-0"


def test_31_pods_are_made_run_and_end(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    for name in ("complex-model-m", "large-model"):
        cluster.server.client.apply(f"/apis/{API_VERSION}/machinetypes/{name}", machine_type(name))
    cluster.create(training_job(digits, distribution="ParameterServer", scaleTier="PREMIUM_1"))
    members = ("chief-0", *(f"worker-{index}" for index in range(19)), *(f"ps-{index}" for index in range(11)))
    all_run(cluster, kubelet, digits, members)
    wanted = {"chief": 1, "worker": 19, "ps": 11}

    def active() -> bool:
        roles = (cluster.get("TrainingJob", digits) or {})["status"]["roles"]
        return {role: counts["active"] for role, counts in roles.items()} == wanted

    cluster.wait("all pods are counted", active)
    kubelet.succeeded(f"{digits}-chief-0-0")
    cluster.job_in(digits, "SUCCEEDED")
    made(cluster, digits, "chief-0-0", kubelet=kubelet)
