"""From a succeeded job to a served model, and from one version to the next, the controllers played."""

from typing import Any

import pytest
from fovea_api.contract import labels
from support.jobs import condition, model_deployment, of_job, place_of, places_of, pod_name, training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import DIGEST, Kubelet
from support.operator_process import OperatorProcess
from support.versions import model_version, workload_of

pytestmark = pytest.mark.usefixtures("operator")


def train(cluster: Cluster, kubelet: Kubelet, job: str, **model: Any) -> dict[str, Any]:
    cluster.create(training_job(job, model=model))
    pod = pod_name(job)
    cluster.wait(f"pod {pod}", lambda: cluster.get("Pod", pod))
    kubelet.running(pod)
    kubelet.succeeded(pod, metrics={"accuracy": 0.97})
    return cluster.job_in(job, "SUCCEEDED")


def services_of(cluster: Cluster) -> set[str]:
    """Names of all Services of Fovea in the namespace."""
    return {service["metadata"]["name"] for service in cluster.list("Service", labels.MANAGED_SELECTOR)}


def selected(cluster: Cluster, name: str) -> str:
    """The version that the Service points at."""
    service = cluster.get("Service", name)
    return "" if service is None else str(service["spec"]["selector"][labels.VERSION])


def serves(cluster: Cluster, name: str, version: int) -> dict[str, Any]:
    return dict(
        cluster.wait(
            f"version {version} serves",
            lambda: (
                (md := cluster.get("ModelDeployment", name))
                and place_of(md, "stable").get("version") == version
                and condition(md, "Serving")["status"] == "True"
                and md
            ),
        )
    )


def test_a_succeeded_job_registers_its_model_and_keeps_it_deployed(cluster: Cluster, kubelet: Kubelet) -> None:
    job = train(cluster, kubelet, "digits-monday", name="digits", deploy=True)
    assert job["status"]["modelVersion"] == "digits-v1"
    version = cluster.get("ModelVersion", "digits-v1")
    assert version is not None
    assert version["spec"]["digest"] == DIGEST
    assert version["spec"]["metrics"] == {"accuracy": 0.97}
    assert version["spec"]["lineage"]["jobUid"] == job["metadata"]["uid"]
    assert "ownerReferences" not in version["metadata"]
    deployment = workload_of(cluster, 1)
    owner = cluster.wait("the ModelDeployment", lambda: cluster.get("ModelDeployment", "digits"))
    assert "ownerReferences" not in owner["metadata"]
    assert [r["uid"] for r in deployment["metadata"]["ownerReferences"]] == [owner["metadata"]["uid"]]
    kubelet.deployment_available(deployment["metadata"]["name"])
    served = serves(cluster, "digits", 1)
    service = cluster.get("Service", "digits")
    assert service is not None
    assert [r["uid"] for r in service["metadata"]["ownerReferences"]] == [owner["metadata"]["uid"]]
    assert sorted(port["port"] for port in service["spec"]["ports"]) == [8500, 8501]
    assert served["status"]["endpoint"]["grpc"].endswith(":8500")


def test_a_new_version_takes_over_only_when_it_answers_and_the_old_one_drains_and_goes(
    cluster: Cluster, kubelet: Kubelet
) -> None:
    cluster.create(model_deployment("digits", "digits", rollout={"drainSeconds": 2}))
    cluster.create(model_version("digits", 1))
    old = workload_of(cluster, 1)
    kubelet.deployment_available(old["metadata"]["name"])
    serves(cluster, "digits", 1)
    cluster.create(model_version("digits", 2))
    new = workload_of(cluster, 2)
    cluster.wait(
        "version 2 is the candidate",
        lambda: place_of(cluster.get("ModelDeployment", "digits"), "candidate").get("version") == 2,
    )
    assert selected(cluster, "digits") == "1"
    kubelet.deployment_available(new["metadata"]["name"])
    cluster.wait("the Service points at version 2", lambda: selected(cluster, "digits") == "2")
    switched = serves(cluster, "digits", 2)
    assert [(place["version"], place["weight"]) for place in switched["status"]["places"]] == [(2, 100), (1, 0)]
    assert services_of(cluster) == {"digits", old["metadata"]["name"], new["metadata"]["name"]}
    assert cluster.get("Deployment", old["metadata"]["name"]) is not None
    cluster.wait("the old Deployment is removed", lambda: cluster.get("Deployment", old["metadata"]["name"]) is None)
    cluster.wait(
        "nothing drains any more",
        lambda: not places_of(cluster.get("ModelDeployment", "digits"), "draining"),
    )
    cluster.wait(
        "the old version's Service is removed",
        lambda: services_of(cluster) == {"digits", new["metadata"]["name"]},
    )


def test_a_status_of_the_release_before_places_stops_no_model(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    cluster.create(model_deployment("digits", "digits"))
    cluster.create(model_version("digits", 1))
    served = workload_of(cluster, 1)["metadata"]
    kubelet.deployment_available(served["name"])
    serves(cluster, "digits", 1)
    operator.stop()
    cluster.patch("ModelDeployment", "digits", {"status": {"places": None}}, "status")
    cluster.delete("Service", served["name"])
    operator.start()
    serves(cluster, "digits", 1)
    cluster.wait("the version's own Service", lambda: services_of(cluster) == {"digits", served["name"]})
    assert workload_of(cluster, 1)["metadata"]["uid"] == served["uid"]


def test_a_first_version_that_is_late_is_served_when_it_answers(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.create(model_deployment("digits", "digits", rollout={"progressDeadlineSeconds": 10}))
    cluster.create(model_version("digits", 1))
    made = workload_of(cluster, 1)

    def late() -> dict[str, Any] | None:
        told = condition(cluster.get("ModelDeployment", "digits") or {}, "Progressing")
        return told if told.get("reason") == "ProgressDeadlineExceeded" else None

    told = cluster.wait("version 1 is late", late)
    assert told["status"] == "False"
    assert "its pods were not ready within 10 s (rollout.progressDeadlineSeconds); nothing is served" in told["message"]
    assert workload_of(cluster, 1)["metadata"]["uid"] == made["metadata"]["uid"]
    kubelet.deployment_available(made["metadata"]["name"])
    assert not place_of(serves(cluster, "digits", 1), "failed")


def test_a_model_keeps_serving_when_its_job_is_deleted(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    train(cluster, kubelet, "digits", name="digits", deploy=True)
    kubelet.deployment_available(workload_of(cluster, 1)["metadata"]["name"])
    serves(cluster, "digits", 1)
    cluster.delete("TrainingJob", "digits")
    cluster.wait("the job's pod is deleted", lambda: not cluster.list("Pod", of_job("digits")))
    serves(cluster, "digits", 1)
    assert cluster.get("ModelVersion", "digits-v1") is not None
    assert selected(cluster, "digits") == "1"


def test_a_rejected_version_goes_back_to_the_newest_approved_one(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.create(model_deployment("digits", "digits", rollout={"drainSeconds": 0}))
    cluster.create(model_version("digits", 1))
    cluster.create(model_version("digits", 2))
    newest = workload_of(cluster, 2)
    kubelet.deployment_available(newest["metadata"]["name"])
    serves(cluster, "digits", 2)
    cluster.patch("ModelVersion", "digits-v2", {"spec": {"approval": "Rejected"}})
    kubelet.deployment_available(workload_of(cluster, 1)["metadata"]["name"])
    serves(cluster, "digits", 1)


def test_the_last_place_that_goes_leaves_an_empty_list(cluster: Cluster) -> None:
    """A status without the list would be taken for one that was lost."""
    cluster.create(model_deployment("digits", "digits"))
    cluster.create(model_version("digits", 1))
    cluster.wait("a candidate", lambda: place_of(cluster.get("ModelDeployment", "digits"), "candidate"))
    cluster.patch("ModelVersion", "digits-v1", {"spec": {"approval": "Rejected"}})
    cluster.wait(
        "no place", lambda: (cluster.get("ModelDeployment", "digits") or {}).get("status", {}).get("places") == []
    )
    cluster.wait("no Deployment", lambda: not cluster.list("Deployment"))


def test_scaling_changes_the_replicas_and_nothing_else_of_a_deployment(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.create(model_deployment("digits", "digits"))
    cluster.create(model_version("digits", 1))
    before = workload_of(cluster, 1)
    cluster.patch("ModelDeployment", "digits", {"spec": {"scaling": {"minReplicas": 3}}})
    cluster.wait("three replicas", lambda: workload_of(cluster, 1)["spec"]["replicas"] == 3)
    after = workload_of(cluster, 1)
    assert after["spec"]["template"] == before["spec"]["template"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_service_that_somebody_edited_is_put_right(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.create(model_deployment("digits", "digits"))
    cluster.create(model_version("digits", 1))
    kubelet.deployment_available(workload_of(cluster, 1)["metadata"]["name"])
    serves(cluster, "digits", 1)
    made = cluster.get("Service", "digits")
    assert made is not None
    ports = [port | {"targetPort": 9} for port in made["spec"]["ports"]]
    cluster.patch("Service", "digits", {"metadata": {"labels": {labels.MODEL: "cats"}}, "spec": {"ports": ports}})

    def is_right() -> bool:
        now = cluster.get("Service", "digits") or made
        edited = int(now["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
        return bool(
            edited
            and now["spec"]["ports"] == made["spec"]["ports"]
            and now["metadata"]["labels"] == made["metadata"]["labels"]
        )

    cluster.wait("the Service is as it was", is_right)


def test_two_jobs_that_end_together_register_two_versions(cluster: Cluster, kubelet: Kubelet) -> None:
    for name in ("one", "two"):
        cluster.create(training_job(name, model={"name": "digits"}))
    for name in ("one", "two"):
        cluster.wait(f"pod of {name}", lambda name=name: cluster.get("Pod", pod_name(name)))
        kubelet.running(pod_name(name))
    for name in ("one", "two"):
        kubelet.succeeded(pod_name(name))
    versions = {cluster.job_in(name, "SUCCEEDED")["status"]["modelVersion"] for name in ("one", "two")}
    assert versions == {"digits-v1", "digits-v2"}
    assert {version["metadata"]["name"] for version in cluster.list("ModelVersion")} == versions


def test_a_service_of_someone_else_is_not_taken_over(cluster: Cluster, kubelet: Kubelet) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "digits"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    cluster.create(theirs)
    cluster.create(model_deployment("digits", "digits"))
    cluster.create(model_version("digits", 1))
    cluster.wait(
        "the ModelDeployment says whose Service stands in its way",
        lambda: (
            "not made by Fovea" in (cluster.get("ModelDeployment", "digits") or {}).get("status", {}).get("message", "")
        ),
    )
    service = cluster.get("Service", "digits")
    assert service is not None
    assert service["spec"]["selector"] == {"app": "theirs"}
