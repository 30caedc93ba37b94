"""Jobs in queues, against the real definitions of Kueue; Kueue's controllers and the kubelet are played."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fovea_api.v1alpha1 import API_VERSION
from fovea_dev.apiserver import ApiServer
from support.jobs import of_job, training_job
from support.kube_apiserver import Cluster, machine_type, make_namespace
from support.kubelet_player import Kubelet
from support.kueue_player import Kueue, install
from support.operator_process import OperatorProcess


@pytest.fixture(scope="module")
def with_kueue(server: ApiServer) -> None:
    install(server)
    player = Kueue(make_namespace(server))
    player.flavor("a100", nodeLabels={"pool": "a100"}, tolerations=[{"key": "gpu", "operator": "Exists"}])
    player.priority("high", 1000)


@pytest.fixture
def kueue(with_kueue: None, cluster: Cluster, start_operator: Callable[..., OperatorProcess]) -> Kueue:
    """Kueue's player, with an operator that found its kinds at its start."""
    start_operator().wait_ready()
    return Kueue(cluster)


@pytest.fixture
def digits() -> str:
    return f"digits-{uuid.uuid4().hex[:6]}"


def queued(name: str, **spec: Any) -> dict[str, Any]:
    return training_job(name, scheduling={"queue": "team-a", "priority": "high"}, **spec)


def pods(cluster: Cluster, job: str) -> list[dict[str, Any]]:
    return cluster.list("Pod", of_job(job))


def runs(cluster: Cluster, kubelet: Kubelet, pod: str) -> dict[str, Any]:
    """Step a pod until its program runs; the pod as it was made."""
    made: dict[str, Any] = cluster.wait(f"pod {pod}", lambda: cluster.get("Pod", pod))
    kubelet.bind(pod)
    kubelet.running(pod)
    return made


def status(cluster: Cluster, job: str) -> dict[str, Any]:
    return dict((cluster.get("TrainingJob", job) or {}).get("status") or {})


def says(cluster: Cluster, job: str, text: str) -> None:
    cluster.wait(f"{job} says {text!r}", lambda: text in (status(cluster, job).get("message") or ""))


def test_a_job_has_pods_only_once_its_queue_admits_it_and_frees_its_quota_at_its_end(
    cluster: Cluster, kubelet: Kubelet, kueue: Kueue, digits: str
) -> None:
    cluster.create(queued(digits))
    made = kueue.workload(digits)
    assert (made["spec"]["queueName"], made["spec"]["priority"]) == ("team-a", 1000)
    assert [one["name"] for one in made["spec"]["podSets"]] == ["chief"]
    kueue.pending(digits, "insufficient unused quota for cpu in flavor a100, 2 more needed")
    says(cluster, digits, "insufficient unused quota for cpu in flavor a100, 2 more needed")
    assert not pods(cluster, digits)
    kueue.admit(digits, "a100")
    pod = runs(cluster, kubelet, f"{digits}-chief-0-0")
    assert pod["spec"]["nodeSelector"] == {"pool": "a100"}
    assert "gpu" in [one.get("key") for one in pod["spec"]["tolerations"]]
    cluster.wait("the queue hears that the pod runs", lambda: kueue.says(digits, "PodsReady") == "True")
    assert kueue.says(digits, "Finished") == ""
    kubelet.succeeded(f"{digits}-chief-0-0")
    cluster.job_in(digits, "SUCCEEDED")
    cluster.wait("the quota is free", lambda: kueue.says(digits, "Finished") == "True")


def test_a_preempted_job_ends_its_pod_gives_the_quota_back_and_goes_on_when_it_is_its_turn(
    cluster: Cluster, kubelet: Kubelet, kueue: Kueue, digits: str
) -> None:
    cluster.create(queued(digits))
    kueue.admit(digits, "a100")
    runs(cluster, kubelet, f"{digits}-chief-0-0")
    cluster.job_in(digits, "RUNNING")
    kueue.preempt(digits)

    def deleted() -> bool:
        return any(pod["metadata"].get("deletionTimestamp") for pod in pods(cluster, digits))

    cluster.wait("the pod is deleted", deleted)
    assert kueue.says(digits, "QuotaReserved") == "True", "the pod may still use what the quota stands for"
    kubelet.ended(f"{digits}-chief-0-0", 75)
    kubelet.finish_deletions()
    cluster.wait("the quota is given back", lambda: kueue.says(digits, "QuotaReserved") == "False")
    assert "admission" not in kueue.workload(digits)["status"]
    assert kueue.says(digits, "Requeued") == "True"
    says(cluster, digits, "Preempted to accommodate a workload of higher priority")
    found = status(cluster, digits)
    assert (found["state"], found["attempts"], found["disruptions"]) == ("QUEUED", {"chief-0": 1}, 1)
    assert "retries" not in found
    kueue.admit(digits, "a100")
    runs(cluster, kubelet, f"{digits}-chief-0-1")
    cluster.job_in(digits, "RUNNING")


def test_a_suspended_job_leaves_its_queue_and_joins_it_again(
    cluster: Cluster, kubelet: Kubelet, kueue: Kueue, digits: str
) -> None:
    cluster.create(queued(digits))
    kueue.admit(digits, "a100")
    runs(cluster, kubelet, f"{digits}-chief-0-0")
    cluster.job_in(digits, "RUNNING")
    before = kueue.workload(digits)["metadata"]["uid"]
    cluster.patch("TrainingJob", digits, {"spec": {"suspend": True}})

    def has_left() -> bool:
        for pod in pods(cluster, digits):
            if pod["metadata"].get("deletionTimestamp"):
                kubelet.ended(pod["metadata"]["name"], 75)
        kubelet.finish_deletions()
        return cluster.get("Workload", f"trainingjob-{digits}") is None

    cluster.wait("the Workload is gone", has_left)
    cluster.patch("TrainingJob", digits, {"spec": {"suspend": False}})
    cluster.wait("a new Workload", lambda: kueue.workload(digits)["metadata"]["uid"] != before)
    assert not pods(cluster, digits)
    kueue.admit(digits, "a100")
    runs(cluster, kubelet, f"{digits}-chief-0-1")


def test_a_machine_type_that_is_edited_while_the_job_waits_changes_what_it_asks_for(
    cluster: Cluster, kueue: Kueue, digits: str
) -> None:
    path = f"/apis/{API_VERSION}/machinetypes/{digits}"
    cluster.api.apply(path, machine_type(digits, cpu="1"))
    cluster.create(queued(digits, scaleTier="CUSTOM", roles={"chief": {"machineType": digits}}))

    def asks_for() -> str:
        template = kueue.workload(digits)["spec"]["podSets"][0]["template"]
        return str(template["spec"]["containers"][0]["resources"]["requests"]["cpu"])

    assert asks_for() == "1"
    cluster.api.apply(path, machine_type(digits, cpu="2"))
    cluster.wait("the Workload asks for more", lambda: asks_for() == "2")


def test_a_distributed_job_asks_for_all_of_its_pods_at_once(cluster: Cluster, kueue: Kueue, digits: str) -> None:
    roles = {"worker": {"count": 3}, "ps": {"count": 2}}
    cluster.create(queued(digits, distribution="ParameterServer", roles=roles))
    counts = {one["name"]: one["count"] for one in kueue.workload(digits)["spec"]["podSets"]}
    assert counts == {"chief": 1, "worker": 3, "ps": 2}
    assert not pods(cluster, digits)
    kueue.admit(digits, "a100")
    cluster.wait("all pods", lambda: len(pods(cluster, digits)) == 6)


def test_a_restarted_operator_frees_the_quota_of_a_job_that_ended_before(
    cluster: Cluster,
    kubelet: Kubelet,
    with_kueue: None,
    start_operator: Callable[..., OperatorProcess],
    digits: str,
) -> None:
    kueue = Kueue(cluster)
    operator = start_operator().wait_ready()
    cluster.create(queued(digits))
    kueue.admit(digits, "a100")
    runs(cluster, kubelet, f"{digits}-chief-0-0")
    cluster.job_in(digits, "RUNNING")
    operator.kill()
    ended = {"status": {"state": "CANCELLED", "endTime": "2026-11-21T10:00:00Z", "message": "m"}}
    cluster.patch("TrainingJob", digits, ended, "status")
    kubelet.ended(f"{digits}-chief-0-0", 0)
    start_operator().wait_ready()
    cluster.wait("the quota is free", lambda: kueue.says(digits, "Finished") == "True")
