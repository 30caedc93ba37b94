"""A TrainingJob's life against a real API server, the kubelet played: retries, deadlines, suspension, clean-up."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from fovea_api.contract import exit_codes
from fovea_api.contract.report import REASON_ALREADY_COMPLETE, Termination
from fovea_dev.apiserver import ApiServer
from support.jobs import condition, of_job, pod_name, training_job
from support.kube_apiserver import Cluster, machine_type, make_namespace
from support.kubelet_player import Kubelet, published
from support.operator_process import OperatorProcess


@pytest.fixture(scope="module")
def cluster(server: ApiServer) -> Cluster:
    """One namespace and one operator for all tests of this file; their jobs have names of their own."""
    return make_namespace(server)


@pytest.fixture(scope="module")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    folder = tmp_path_factory.mktemp("operator")
    running = OperatorProcess(
        cluster.server, folder, namespace=cluster.namespace, watch=(cluster.namespace,), LEASE_SECONDS="30"
    )
    yield running.start().wait_ready()
    running.kill()


@pytest.fixture
def digits() -> str:
    """Name of this test's job."""
    return f"digits-{uuid.uuid4().hex[:6]}"


def message(cluster: Cluster, job: str) -> str:
    return str((cluster.get("TrainingJob", job) or {}).get("status", {}).get("message", ""))


pytestmark = pytest.mark.usefixtures("operator")


def submit(cluster: Cluster, name: str, **spec: Any) -> dict[str, Any]:
    return cluster.create(training_job(name, **spec))


def pod_of(cluster: Cluster, job: str, attempt: int = 0) -> str:
    name = pod_name(job, attempt)
    cluster.wait(f"pod {name}", lambda: cluster.get("Pod", name))
    return name


def test_a_job_becomes_a_pod_runs_and_succeeds_with_the_digest_of_its_output(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    job = submit(cluster, digits)
    name = pod_of(cluster, digits)
    pod = cluster.get("Pod", name)
    assert pod is not None
    assert pod["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "fovea.dev/v1alpha1",
            "kind": "TrainingJob",
            "name": digits,
            "uid": job["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": pod["metadata"]["ownerReferences"][0]["blockOwnerDeletion"],
        }
    ]
    assert pod["spec"]["restartPolicy"] == "Never"
    kubelet.bind(name)
    kubelet.preparing(name)
    cluster.job_in(digits, "PREPARING")
    kubelet.running(name)
    running = cluster.job_in(digits, "RUNNING")
    assert condition(running, "Running")["status"] == "True"
    kubelet.succeeded(name, metrics={"accuracy": 0.97})
    done = cluster.job_in(digits, "SUCCEEDED")
    assert condition(done, "Complete")["status"] == "True"
    assert done["status"]["output"]["digest"] == published("x").digest
    assert done["status"]["metrics"] == {"accuracy": 0.97}
    assert [p["metadata"]["name"] for p in cluster.list("Pod", of_job(digits))] == [name]


def test_exit_0_without_a_digest_is_not_believed(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    submit(cluster, digits, runPolicy={"backoffLimit": 0})
    name = pod_of(cluster, digits)
    kubelet.running(name)
    kubelet.ended(name, 0, sync=Termination("Interrupted", "the store did not answer"))
    failed = cluster.job_in(digits, "FAILED")
    assert condition(failed, "Failed")["status"] == "True"


def test_an_output_found_complete_in_the_store_is_success(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    submit(cluster, digits)
    name = pod_of(cluster, digits)
    said = Termination(REASON_ALREADY_COMPLETE, "the output is published already", output=published("output"))
    kubelet.fetch_failed(name, exit_codes.ALREADY_COMPLETE, said)
    done = cluster.job_in(digits, "SUCCEEDED")
    assert done["status"]["output"]["digest"] == published("x").digest


@pytest.mark.parametrize("code", [exit_codes.RESTART, 137])
def test_a_retryable_exit_code_gets_a_new_pod_of_the_next_attempt(
    cluster: Cluster, kubelet: Kubelet, digits: str, code: int
) -> None:
    submit(cluster, digits)
    first = pod_of(cluster, digits)
    kubelet.running(first)
    kubelet.ended(first, code)
    second = pod_of(cluster, digits, attempt=1)
    kubelet.running(second)
    kubelet.succeeded(second)
    done = cluster.job_in(digits, "SUCCEEDED")
    assert done["status"]["retries"] == 1
    assert done["status"]["attempts"] == {"chief-0": 1}


def test_a_permanent_exit_code_fails_the_job_at_once(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    submit(cluster, digits)
    name = pod_of(cluster, digits)
    kubelet.running(name)
    kubelet.ended(name, 1)
    failed = cluster.job_in(digits, "FAILED")
    assert condition(failed, "Failed")["reason"] == "ProgramFailed"
    assert failed["status"]["lastFailure"]["exitCode"] == 1
    assert cluster.get("Pod", pod_name(digits, 1)) is None


def test_backoff_limit_ends_the_retries(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    submit(cluster, digits, runPolicy={"backoffLimit": 1})
    for attempt in (0, 1):
        name = pod_of(cluster, digits, attempt=attempt)
        kubelet.running(name)
        kubelet.ended(name, 137)
    failed = cluster.job_in(digits, "FAILED")
    assert condition(failed, "Failed")["reason"] == "BackoffLimitExceeded"
    assert len(cluster.list("Pod", of_job(digits))) == 2


def test_suspend_ends_the_pod_and_resume_starts_the_next_attempt(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    submit(cluster, digits)
    first = pod_of(cluster, digits)
    kubelet.bind(first)
    kubelet.running(first)
    cluster.job_in(digits, "RUNNING")
    cluster.patch("TrainingJob", digits, {"spec": {"suspend": True}})
    cluster.wait("the pod is being deleted", kubelet.finish_deletions)
    suspended = cluster.wait(
        "the job says that it is suspended",
        lambda: (
            (job := cluster.get("TrainingJob", digits)) and condition(job, "Suspended").get("status") == "True" and job
        ),
    )
    assert suspended["status"]["state"] == "QUEUED"
    cluster.patch("TrainingJob", digits, {"spec": {"suspend": False}})
    second = cluster.wait("a new pod", lambda: cluster.list("Pod", of_job(digits)))[0]["metadata"]["name"]
    assert second != first
    kubelet.running(second)
    kubelet.succeeded(second)
    done = cluster.job_in(digits, "SUCCEEDED")
    assert done["status"].get("retries", 0) == 0
    assert condition(done, "Suspended")["status"] == "False"


def test_cancel_ends_the_pod_and_then_the_job(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    submit(cluster, digits)
    name = pod_of(cluster, digits)
    kubelet.bind(name)
    kubelet.running(name)
    cluster.job_in(digits, "RUNNING")
    cluster.patch("TrainingJob", digits, {"spec": {"cancel": True}})
    cluster.job_in(digits, "CANCELLING")
    cluster.wait("the pod is being deleted", kubelet.finish_deletions)
    cancelled = cluster.job_in(digits, "CANCELLED")
    assert condition(cancelled, "Failed")["reason"] == "Cancelled"
    assert cluster.list("Pod", of_job(digits)) == []


def test_a_job_that_no_node_can_take_says_why_and_is_cancelled_at_max_wait_seconds(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    submit(cluster, digits, runPolicy={"maxWaitSeconds": 3})
    name = pod_of(cluster, digits)
    kubelet.unschedulable(name, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    cluster.wait(
        "the scheduler's reason in the message",
        lambda: "Insufficient nvidia.com/gpu" in message(cluster, digits),
        seconds=3,
    )
    cancelled = cluster.job_in(digits, "CANCELLED")
    assert condition(cancelled, "Failed")["reason"] == "MaxWaitSecondsExceeded"


def test_a_job_that_runs_too_long_fails_and_its_pod_ends(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    submit(cluster, digits, runPolicy={"maxRunningSeconds": 2})
    name = pod_of(cluster, digits)
    kubelet.bind(name)
    kubelet.running(name)
    failed = cluster.job_in(digits, "FAILED")
    assert condition(failed, "Failed")["reason"] == "MaxRunningSecondsExceeded"
    cluster.wait("the pod is being deleted", kubelet.finish_deletions)


def test_an_ended_job_goes_after_its_ttl(cluster: Cluster, kubelet: Kubelet, digits: str) -> None:
    submit(cluster, digits, runPolicy={"ttlSecondsAfterFinished": 1})
    name = pod_of(cluster, digits)
    kubelet.running(name)
    kubelet.succeeded(name)
    cluster.wait("the job is gone", lambda: cluster.get("TrainingJob", digits) is None)


@pytest.mark.parametrize(("policy", "left"), [("None", 1), ("Running", 1), ("All", 0)])
def test_clean_pod_policy_says_which_ended_pods_stay(
    cluster: Cluster, kubelet: Kubelet, digits: str, policy: str, left: int
) -> None:
    submit(cluster, digits, runPolicy={"cleanPodPolicy": policy})
    name = pod_of(cluster, digits)
    kubelet.running(name)
    kubelet.succeeded(name)
    cluster.job_in(digits, "SUCCEEDED")
    cluster.wait(f"{left} pods", lambda: len(cluster.list("Pod", of_job(digits))) == left)


def test_an_unknown_flag_of_a_recipe_is_told_within_a_second_and_no_pod_is_made(cluster: Cluster, digits: str) -> None:
    manifest = training_job(digits, args={"lerning-rate": 0.1})
    manifest["spec"]["trainer"] = {"recipe": "image-classifier"}
    cluster.create(manifest)
    job = cluster.job_in(digits, "FAILED", seconds=1)
    assert "--lerning-rate" in job["status"]["message"]
    assert "--learning-rate" in job["status"]["message"]
    assert cluster.list("Pod", of_job(digits)) == []


def test_a_pod_stuck_without_its_image_says_what_the_kubelet_says(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    submit(cluster, digits)
    name = pod_of(cluster, digits)
    cluster.patch(
        "Pod",
        name,
        {
            "status": {
                "phase": "Pending",
                "containerStatuses": [
                    {
                        "name": "trainer",
                        "image": "x",
                        "imageID": "",
                        "ready": False,
                        "restartCount": 0,
                        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}},
                    }
                ],
            }
        },
        "status",
    )
    cluster.wait(
        "the kubelet's words in the job's message",
        lambda: "Back-off pulling image" in message(cluster, digits),
    )


def test_a_waiting_job_starts_when_the_job_whose_output_it_reads_has_ended(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    submit(cluster, f"{digits}-b", inputs={"data": f"job://{digits}/output"})
    cluster.wait(
        "the second job waits",
        lambda: digits in message(cluster, f"{digits}-b"),
    )
    submit(cluster, digits)
    name = pod_of(cluster, digits)
    kubelet.running(name)
    assert cluster.get("Pod", pod_name(f"{digits}-b")) is None
    kubelet.succeeded(name)
    pod_of(cluster, f"{digits}-b")


def test_a_retry_reads_what_the_first_attempt_read_though_that_job_is_gone(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    submit(cluster, digits)
    kubelet.running(pod_of(cluster, digits))
    kubelet.succeeded(pod_of(cluster, digits))
    cluster.job_in(digits, "SUCCEEDED")
    reader = f"{digits}-b"
    submit(cluster, reader, inputs={"data": f"job://{digits}/output"}, checkpoint={"from": f"job://{digits}"})
    first = pod_of(cluster, reader)
    cluster.delete("TrainingJob", digits)
    kubelet.running(first)
    kubelet.ended(first, exit_codes.RESTART)
    second = pod_of(cluster, reader, attempt=1)

    def sources(pod: str) -> tuple[Any, Any]:
        containers = (cluster.get("Pod", pod) or {})["spec"]["initContainers"]
        plan = json.loads(containers[0]["env"][0]["value"])
        return plan["inputs"], plan["checkpoint_from"]

    assert sources(second) == sources(first)
    job = cluster.get("TrainingJob", reader)
    assert job is not None
    assert [each["name"] for each in job["status"]["resolvedInputs"]] == ["data", "checkpoint.from"]


def test_a_container_of_which_no_pod_can_be_made_fails_its_job(cluster: Cluster, digits: str) -> None:
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nonsense"}}}]
    submit(cluster, digits, trainer={"container": {"image": "registry.invalid/trainer:1", "env": env}})
    failed = cluster.job_in(digits, "FAILED")
    assert condition(failed, "Failed")["reason"] == "InvalidSpec"
    assert "metadata.nonsense" in failed["status"]["message"]


def test_an_edit_of_an_ended_job_leaves_no_condition_of_an_older_generation(
    cluster: Cluster, kubelet: Kubelet, digits: str
) -> None:
    submit(cluster, digits)
    name = pod_of(cluster, digits)
    kubelet.running(name)
    kubelet.succeeded(name)
    cluster.job_in(digits, "SUCCEEDED")
    cluster.patch("TrainingJob", digits, {"spec": {"runPolicy": {"ttlSecondsAfterFinished": 86_400}}})

    def generations() -> set[int]:
        job = cluster.get("TrainingJob", digits) or {}
        said = [job["status"], *job["status"]["conditions"]]
        return {each["observedGeneration"] for each in said} ^ {job["metadata"]["generation"]}

    cluster.wait("all conditions are of the newest generation", lambda: generations() == set())


def test_a_job_waits_for_its_machine_type(cluster: Cluster, digits: str, operator: OperatorProcess) -> None:
    kind = f"late-{cluster.namespace[-8:]}"
    submit(cluster, digits, scaleTier="CUSTOM", roles={"chief": {"machineType": kind}})
    cluster.wait(
        "the job names the machine type",
        lambda: kind in message(cluster, digits),
    )
    path = f"/apis/fovea.dev/v1alpha1/machinetypes/{kind}"
    cluster.api.apply(path, machine_type(kind))
    pod_of(cluster, digits)
    cluster.api.delete(path)
