"""Batch predictions on an API server with Kubernetes' own Job controller; the kubelet and the agents are played."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fovea_api.contract import labels, names
from fovea_api.contract.report import ProgressReport, Termination
from fovea_dev.apiserver import ApiServer
from support.batch_workers import OUTPUT, Workers, all_published, prediction
from support.command_line import Run
from support.job_controller import api_server_with_jobs
from support.kube_apiserver import Cluster
from support.kubelet_player import DIGEST
from support.operator_process import OperatorProcess
from support.progress_reports import pod_token, post_progress
from support.versions import model_version


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One of this file's own: the Job controller and the garbage collector would act on other tests' objects."""
    with api_server_with_jobs(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def workers(cluster: Cluster) -> Workers:
    return Workers(cluster)


def report(records: int, errors: int, shards: int) -> ProgressReport:
    """What a worker's sidecar posts."""
    counts = {"records": records, "errors": errors, "shards": shards, "shards_total": 4}
    return ProgressReport(step=records, metrics={name: float(value) for name, value in counts.items()})


def test_a_prediction_from_its_submission_to_its_output(
    cluster: Cluster, operator: OperatorProcess, workers: Workers, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "scores.yaml"
    file.write_text(yaml.safe_dump(prediction()))
    run("predictions", "submit", file).ok()
    cluster.wait("the prediction waits", lambda: "no approved version" in workers.status.get("message", ""))
    assert workers.jobs() == []
    cluster.create(model_version("digits", 1))
    first, second = workers.run(0), workers.run(1)
    started = workers.in_state("RUNNING")
    assert (started["version"], started["digest"]) == (1, DIGEST)
    assert post_progress(operator, pod_token(cluster, first), report(100, 1, 1)).status == 204
    assert post_progress(operator, pod_token(cluster, second), report(100, 0, 1)).status == 204
    cluster.wait("the sum of the reports", lambda: (workers.status.get("progress") or {}).get("records") == 200)
    assert workers.status["progress"]["summary"] == "50%"
    assert " 50% " in run("predictions", "list").ok().out

    # A version that comes now changes nothing, and a worker that runs out of memory is replaced.
    cluster.create(model_version("digits", 2))
    workers.end(second, 137, reason="OOMKilled")
    cluster.wait("the retry is counted", lambda: workers.status.get("failures") == {"1": 1})
    again = workers.run(1, but=second["metadata"]["name"])
    assert again["metadata"]["labels"][labels.VERSION] == "1"
    assert again["metadata"]["annotations"][labels.INDEX_FAILURES] == "1", "its attempt, for stream-logs"
    # It begins with what its number has answered: that counts once.
    assert post_progress(operator, pod_token(cluster, again), report(150, 0, 2)).status == 204
    cluster.wait("its report", lambda: workers.status["progress"]["shards"]["done"] == 3)
    assert workers.status["progress"]["records"] == 250

    workers.end(first)
    workers.end(again, said=all_published(400, 3))
    ended = workers.in_state("SUCCEEDED")
    assert ended["output"] == {"uri": OUTPUT.uri, "digest": OUTPUT.digest, "bytes": 1 << 20, "files": 3}
    assert (ended["progress"]["records"], ended["progress"]["errors"]) == (400, 3)
    assert run("predictions", "wait", "scores").ok().out == "Prediction scores SUCCEEDED.\n"
    assert workers.jobs() == [names.prediction_job("scores", 0)]


@pytest.mark.usefixtures("operator")
def test_what_is_not_transient_ends_it_and_the_pod_stays_for_its_log(
    cluster: Cluster, workers: Workers, run: Run
) -> None:
    cluster.create(model_version("digits", 1))
    cluster.create(prediction())
    first, second = workers.run(0), workers.run(1)
    workers.end(first, 1, words="ValueError: no signature")
    ended = workers.in_state("FAILED")
    assert "Worker 0 failed: the program ended with exit code 1: ValueError: no signature" in ended["message"]
    cluster.wait("the other worker is stopped", lambda: second["metadata"]["name"] in workers.finish_deletions())
    cluster.wait(
        "its pod goes", lambda: [pod["metadata"]["name"] for pod in workers.pods()] == [first["metadata"]["name"]]
    )
    job = cluster.get("Job", names.prediction_job("scores", 0))
    assert job is not None
    assert job["spec"]["suspend"] is True
    assert run("predictions", "wait", "scores").code == 1


@pytest.mark.usefixtures("operator")
def test_an_agent_s_word_ends_it(cluster: Cluster, workers: Workers) -> None:
    cluster.create(model_version("digits", 1))
    cluster.create(prediction())
    workers.end(workers.run(0), 66, Termination("InputReplaced", "object a.jpg was replaced"))
    ended = workers.in_state("FAILED")
    [failed] = [each for each in ended["conditions"] if each["type"] == "Failed"]
    assert failed["reason"] == "InputReplaced"
    assert "object a.jpg was replaced" in failed["message"]


@pytest.mark.usefixtures("operator")
def test_too_many_errors_fail_it_and_the_output_is_there(cluster: Cluster, workers: Workers) -> None:
    cluster.create(model_version("digits", 1))
    cluster.create(prediction(parallelism=1))
    workers.end(workers.run(0), said=all_published(100, 11))
    ended = workers.in_state("FAILED")
    assert ended["output"]["uri"] == OUTPUT.uri
    assert "11 of 100 records have no answer" in ended["message"]


@pytest.mark.usefixtures("operator")
def test_a_cancelled_prediction_leaves_no_pods(cluster: Cluster, workers: Workers, run: Run) -> None:
    cluster.create(model_version("digits", 1))
    cluster.create(prediction())
    workers.run(0), workers.run(1)
    workers.in_state("RUNNING")
    run("predictions", "cancel", "scores").ok()
    workers.in_state("CANCELLING")
    cluster.wait("the Job is deleted", lambda: workers.jobs() == [])
    cluster.wait("its pods are deleted", lambda: workers.finish_deletions() or not workers.pods())
    assert workers.in_state("CANCELLED")["endTime"]
    assert run("predictions", "wait", "scores").code == 3
    assert "has ended already (CANCELLED)" in run("predictions", "cancel", "scores").err


@pytest.mark.usefixtures("operator")
def test_a_drained_worker_is_replaced_and_is_no_retry(cluster: Cluster, workers: Workers) -> None:
    cluster.create(model_version("digits", 1))
    cluster.create(prediction(parallelism=1, runPolicy={"backoffLimit": 0}))
    drained = workers.run(0)
    workers.in_state("RUNNING")
    workers.evict(drained)
    workers.end(workers.run(0, but=drained["metadata"]["name"]), said=all_published(10))
    ended = workers.in_state("SUCCEEDED")
    assert "failures" not in ended


def test_an_operator_that_is_killed_and_comes_back_makes_no_second_job_and_keeps_the_version(
    cluster: Cluster, start_operator: Callable[..., OperatorProcess], workers: Workers
) -> None:
    operator = start_operator().wait_ready()
    cluster.create(model_version("digits", 1))
    cluster.create(prediction(parallelism=1))
    pod = workers.run(0)
    operator.kill()
    cluster.create(model_version("digits", 2))
    # Even without its status: the Job says which version answers.
    cluster.patch("BatchPrediction", "scores", {"status": None}, "status")
    operator.start().wait_ready()
    assert workers.in_state("RUNNING")["version"] == 1
    workers.end(pod, said=all_published(10))
    assert workers.in_state("SUCCEEDED")["version"] == 1
    assert workers.jobs() == [names.prediction_job("scores", 0)]


def test_a_word_that_no_operator_has_heard_is_said_again_by_other_workers(
    cluster: Cluster, start_operator: Callable[..., OperatorProcess], workers: Workers
) -> None:
    operator = start_operator().wait_ready()
    cluster.create(model_version("digits", 1))
    cluster.create(prediction(parallelism=1))
    pod = workers.run(0)
    workers.in_state("RUNNING")
    operator.kill()
    workers.end(pod, said=all_published(10))

    def completed() -> Any:
        job = cluster.get("Job", names.prediction_job("scores", 0)) or {}
        return [each for each in job.get("status", {}).get("conditions", ()) if each["type"] == "Complete"]

    cluster.wait("the Job is complete", completed)
    cluster.delete("Pod", pod["metadata"]["name"], grace=0)
    operator.start().wait_ready()
    cluster.wait("the workers are made again", lambda: workers.jobs() == [names.prediction_job("scores", 1)])
    assert workers.status["reruns"] == 1
    workers.end(workers.run(0), said=all_published(10))
    assert workers.in_state("SUCCEEDED")["progress"]["records"] == 10


@pytest.mark.usefixtures("operator")
def test_at_its_ttl_a_prediction_goes_with_its_job(cluster: Cluster, workers: Workers) -> None:
    cluster.create(model_version("digits", 1))
    cluster.create(prediction(parallelism=1, runPolicy={"ttlSecondsAfterFinished": 1}))
    workers.end(workers.run(0), said=all_published(10))
    cluster.wait("the prediction is deleted", lambda: cluster.get("BatchPrediction", "scores") is None)
    cluster.wait("its Job and pods are deleted", lambda: not workers.jobs() and not workers.pods(), seconds=60)
