"""Pods into which something else puts a container, and pods that can never start, on a real API server."""

from collections.abc import Callable, Iterator

import pytest
from fovea_api.contract.report import REASON_PUBLISHED, ProgressAnswer, ProgressReport, Termination
from support.injector import CONTAINER, injector
from support.jobs import condition, pod_name, training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet, published
from support.operator_process import OperatorProcess
from support.progress_reports import pod_token, post_progress

PUBLISHED = Termination(REASON_PUBLISHED, "published the output", output=published("output"))


@pytest.fixture
def mesh(cluster: Cluster) -> Iterator[None]:
    made = injector(cluster.namespace, "registry.invalid/mesh:1", ["run"])
    for path, manifest in made.items():
        cluster.api.request("POST", path, manifest)
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "probe-", "namespace": cluster.namespace}}
    probe["spec"] = {"containers": [{"name": "main", "image": "registry.invalid/a:1"}]}  # type: ignore[assignment]

    def injects() -> bool:
        answer = cluster.api.request("POST", f"{cluster.path('Pod')}?dryRun=All", probe)
        return len(answer["spec"]["containers"]) == 2

    cluster.wait("the injector works", injects)
    yield
    for path, manifest in made.items():
        cluster.api.delete(f"{path}/{manifest['metadata']['name']}")


@pytest.mark.usefixtures("mesh")
def test_a_job_in_a_namespace_with_an_injector_ends_and_its_exit_code_is_believed(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    cluster.create(training_job())
    name = pod_name("digits")
    pod = cluster.wait("the pod", lambda: cluster.get("Pod", name))
    assert {container["name"] for container in pod["spec"]["containers"]} == {"trainer", CONTAINER}
    kubelet.bind(name)
    kubelet.running(name)
    cluster.job_in("digits", "RUNNING")
    kubelet.outlived(name, 0, CONTAINER)
    ending = cluster.wait(
        "the pod gets SIGTERM", lambda: (cluster.get("Pod", name) or {})["metadata"].get("deletionTimestamp") and pod
    )
    assert ending["spec"]["terminationGracePeriodSeconds"] == 600
    job = cluster.get("TrainingJob", "digits")
    assert job is not None
    assert condition(job, "Running")["reason"] == "EndingPod"
    assert CONTAINER in job["status"]["message"]
    grace = (cluster.get("Pod", name) or {})["metadata"]["deletionGracePeriodSeconds"]
    assert grace == 600, "the sidecar publishes in the pod's own grace period"
    kubelet.ended(name, 0, sync=PUBLISHED)
    kubelet.finish_deletions()
    done = cluster.job_in("digits", "SUCCEEDED")["status"]
    assert done["output"]["digest"] == published("output").digest
    assert "retries" not in done


@pytest.mark.usefixtures("mesh")
def test_a_pod_with_a_container_that_ignores_sigterm_is_deleted_when_its_sidecar_has_published_all(
    cluster: Cluster, kubelet: Kubelet, start_operator: Callable[..., OperatorProcess]
) -> None:
    operator = start_operator(REPORT_URL="http://fovea-operator.fovea-system.svc:8080").wait_ready()
    cluster.create(training_job())
    name = pod_name("digits")
    pod = cluster.wait("the pod", lambda: cluster.get("Pod", name))
    kubelet.bind(name)
    kubelet.running(name)
    cluster.job_in("digits", "RUNNING")
    token = pod_token(cluster, pod)

    def hears(report: ProgressReport) -> ProgressAnswer:
        answer = post_progress(operator, token, report)
        assert answer.status in (200, 204)
        return answer.said

    assert hears(ProgressReport(step=1)) == ProgressAnswer()
    kubelet.outlived(name, 0, CONTAINER)
    cluster.wait("the sidecar learns it", lambda: hears(ProgressReport(step=1)).program_ended)
    hears(ProgressReport(step=1, publishing=True))
    waiting = cluster.wait(
        "the status names the container",
        lambda: (
            (job := cluster.get("TrainingJob", "digits"))
            and condition(job, "Running")["reason"] == "EndingPod"
            and job["status"]["message"]
        ),
    )
    assert "once that is done, the pod is deleted" in waiting
    assert "deletionTimestamp" not in (cluster.get("Pod", name) or {})["metadata"]
    hears(ProgressReport(step=1, publishing=True, last_words=PUBLISHED.to_json()))
    done = cluster.job_in("digits", "SUCCEEDED")["status"]
    assert done["output"]["digest"] == published("output").digest
    assert "retries" not in done
    metadata = cluster.wait(
        "the pod is deleted",
        lambda: (found := (cluster.get("Pod", name) or {})["metadata"]).get("deletionTimestamp") and found,
    )
    assert metadata["deletionGracePeriodSeconds"] == 30, "no more is needed: all is published"
    kubelet.finish_deletions()


@pytest.mark.usefixtures("mesh")
def test_an_operator_that_starts_anew_while_the_pod_ends_still_believes_the_program(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    cluster.create(training_job())
    name = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", name))
    kubelet.bind(name)
    kubelet.running(name)
    kubelet.outlived(name, 0, CONTAINER)
    cluster.wait("the pod ends", lambda: (cluster.get("Pod", name) or {})["metadata"].get("deletionTimestamp"))
    operator.kill()
    kubelet.ended(name, 0, sync=PUBLISHED)
    operator.start().wait_ready()
    cluster.job_in("digits", "SUCCEEDED")
    kubelet.finish_deletions()


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        ("InvalidImageName", "couldn't parse image name: invalid reference format", "has an invalid name"),
        ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root", "runAsUser"),
    ],
)
def test_a_container_that_can_never_start_fails_its_job_and_its_pod_goes(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorProcess, reason: str, message: str, said: str
) -> None:
    cluster.create(training_job())
    name = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", name))
    kubelet.bind(name)
    kubelet.waiting(name, reason, message)
    failed = cluster.job_in("digits", "FAILED")
    assert said in failed["status"]["message"]
    cluster.wait("the pod gets SIGTERM", lambda: kubelet.finish_deletions() or cluster.get("Pod", name) is None)
