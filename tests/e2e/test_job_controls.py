"""What a user can tell a job before and while it runs, and what becomes of it: retries, limits, clean-up, suspend, cancel, delete."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import local_models
from support.jobs import condition, pod_name
from support.local_jobs import COUNT, DONE, FAIL_ONCE, NAMESPACE, STUBBORN, Jobs
from support.model_server import png
from support.polling import until

CANCEL_GRACE_SECONDS = 30
"""The chart's training.cancelGraceSeconds."""
END_OF_MODEL_JOB = "import os, shutil; shutil.copytree(os.environ['FOVEA_INPUT_DIR'] + '/model', os.environ['FOVEA_MODEL_DIR'], dirs_exist_ok=True)"
"""Hands over a SavedModel that was trained elsewhere."""


@pytest.fixture(scope="module")
def submitted(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    with Jobs.of(cluster) as made:
        try:
            made.submit("deaf", STUBBORN)
            _submit_with_models(made, tmp_path_factory.mktemp("models"))
            made.submit("code-75", FAIL_ONCE, "75", runPolicy={"cleanPodPolicy": "All"})
            made.submit("code-137", FAIL_ONCE, "137")
            made.submit("code-1", FAIL_ONCE, "1")
            policy = {"backoffLimit": 1, "cleanPodPolicy": "None"}
            made.submit("always-75", "import sys; sys.exit(75)", runPolicy=policy)
            made.submit("too-long", COUNT, "1000", "0.5", runPolicy={"maxRunningSeconds": 5})
            made.submit("short-lived", DONE, runPolicy={"ttlSecondsAfterFinished": 5})
            yield made
        finally:
            quiet = ("-n", NAMESPACE, "--ignore-not-found", "--wait=false")
            models = [made.name(end) for end in ENDS]
            cluster.kubectl("delete", "trainingjob", made.name("misspelt"), *quiet)
            cluster.kubectl("delete", "modeldeployment", *models, *quiet)
            cluster.kubectl("delete", "modelversion", *(f"{model}-v1" for model in models), *quiet)


ENDS = ("deleted", "expired")


def _submit_with_models(made: Jobs, folder: Path) -> None:
    local_models.save(folder / "model", bias=1.0)
    made.cluster.fovea("data", "upload", str(folder / "model"), made.word, "-n", NAMESPACE)
    for end in ENDS:
        inputs = {"model": f"s3://fovea/{NAMESPACE}/datasets/{made.word}"}
        model = {"name": made.name(end), "deploy": True}
        policy = {"ttlSecondsAfterFinished": 1} if end == "expired" else {}
        made.submit(end, END_OF_MODEL_JOB, inputs=inputs, model=model, runPolicy=policy)


def test_an_unknown_flag_is_a_condition_and_never_a_pod(submitted: Jobs, cluster: Any) -> None:
    job = {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": submitted.name("misspelt"), "namespace": NAMESPACE},
        "spec": {"trainer": {"recipe": "image-classifier"}, "args": {"lerning-rate": 0.1, "data": "/data"}},
    }
    cluster.apply(job)
    cluster.wait_for_state(submitted.name("misspelt"), "FAILED", seconds=30)
    told = cluster.get("trainingjob", submitted.name("misspelt"))
    admitted = condition(told, "Admitted")
    assert (admitted["status"], admitted["reason"]) == ("False", "InvalidSpec")
    assert "unknown flag --lerning-rate for image-classifier; did you mean --learning-rate?" in admitted["message"]
    assert submitted.pods(submitted.name("misspelt")) == []


def test_a_suspended_job_has_no_pod_and_goes_on_from_its_checkpoint(submitted: Jobs, cluster: Any) -> None:
    job = submitted.submit("suspended", COUNT, "24", "0.5", "6")
    published = until(
        lambda: cluster.status(job).get("checkpoint", {}).get("step", 0), seconds=180, what="a published checkpoint"
    )
    cluster.fovea("jobs", "suspend", job, "-n", NAMESPACE)
    suspended = until(
        lambda: condition(cluster.get("trainingjob", job), "Suspended").get("status") == "True",
        seconds=90,
        what="the condition Suspended",
    )
    assert suspended
    assert cluster.status(job)["state"] == "QUEUED"
    assert [pod for pod in submitted.pods(job) if pod["status"]["phase"] == "Running"] == []
    cluster.fovea("jobs", "resume", job, "-n", NAMESPACE)
    done = cluster.wait_for_state(job, "SUCCEEDED", "FAILED")
    assert (done["metrics"]["starts"], done["metrics"]["steps"]) == (2, 24)
    assert done["metrics"]["last_start"] >= published
    assert (done["attempts"], done.get("retries")) == ({"chief-0": 1}, None)


def test_a_cancelled_job_ends_soon_and_stays_cancelled(submitted: Jobs, cluster: Any) -> None:
    job = submitted.submit("cancelled", COUNT, "1000", "0.5")
    submitted.started(job)
    cluster.fovea("jobs", "cancel", job, "-n", NAMESPACE)
    status = cluster.wait_for_state(job, "CANCELLED", seconds=CANCEL_GRACE_SECONDS + 60)
    assert condition({"status": status}, "Failed")["reason"] == "Cancelled"
    assert "endTime" in status
    until(lambda: not submitted.pods(job), seconds=60, what="no pod of the cancelled job")
    with pytest.raises(AssertionError, match=r"spec\.cancel cannot be taken back"):
        submitted.patch(job, {"cancel": False})
    assert cluster.fovea("jobs", "wait", job, "-n", NAMESPACE, "--quiet", check=False).returncode == 3


def test_a_deleted_jobs_pod_is_told_to_end_within_the_grace_of_a_cancel(submitted: Jobs, cluster: Any) -> None:
    job = submitted.name("deaf")
    submitted.started(job)
    cluster.kubectl("delete", "trainingjob", job, "-n", NAMESPACE)

    def hurried() -> bool:
        # The garbage collector may tell it first, with the grace of the pod; the operator shortens that. When the pod
        # is gone is the kubelet's affair: one that has begun with a long grace does not look again (ADR 61).
        graces = [pod["metadata"].get("deletionGracePeriodSeconds", math.inf) for pod in submitted.pods(job)]
        return all(grace <= CANCEL_GRACE_SECONDS for grace in graces)

    until(hurried, seconds=CANCEL_GRACE_SECONDS, what="the pod has to end soon")


@pytest.mark.parametrize("code", [75, 137])
def test_an_exit_code_that_asks_for_a_restart_is_retried_from_the_checkpoint(
    submitted: Jobs, cluster: Any, code: int
) -> None:
    status = cluster.wait_for_state(submitted.name(f"code-{code}"), "SUCCEEDED", "FAILED")
    assert (status["state"], status["retries"], status["attempts"]) == ("SUCCEEDED", 1, {"chief-0": 1})
    assert (status["lastFailure"]["exitCode"], status["lastFailure"]["attempt"]) == (code, 0)


def test_an_ordinary_failure_of_the_program_is_final(submitted: Jobs, cluster: Any) -> None:
    status = cluster.wait_for_state(submitted.name("code-1"), "SUCCEEDED", "FAILED")
    assert (status["state"], status.get("retries"), status["attempts"]) == ("FAILED", None, {"chief-0": 0})
    assert condition({"status": status}, "Failed")["reason"] == "ProgramFailed"
    assert "exit code 1" in status["message"]
    assert f"fovea jobs stream-logs {submitted.name('code-1')}" in status["message"]


def test_more_failures_than_the_backoff_limit_end_the_job(submitted: Jobs, cluster: Any) -> None:
    status = cluster.wait_for_state(submitted.name("always-75"), "SUCCEEDED", "FAILED")
    assert (status["state"], status["retries"]) == ("FAILED", 1)
    assert condition({"status": status}, "Failed")["reason"] == "BackoffLimitExceeded"
    assert "Failed after 1 of 1 retries (runPolicy.backoffLimit)" in status["message"]


def test_a_program_that_runs_longer_than_it_may_is_stopped(submitted: Jobs, cluster: Any) -> None:
    job = submitted.name("too-long")
    status = cluster.wait_for_state(job, "SUCCEEDED", "FAILED")
    assert condition({"status": status}, "Failed")["reason"] == "MaxRunningSecondsExceeded"
    assert 5 <= status["runningSeconds"] <= 15
    running = "no running pod of the job"
    until(lambda: not [p for p in submitted.pods(job) if p["status"]["phase"] == "Running"], seconds=90, what=running)


def test_pods_of_an_ended_job_are_kept_or_cleaned_up_as_its_policy_says(submitted: Jobs, cluster: Any) -> None:
    for what in ("code-75", "code-137", "always-75"):
        cluster.wait_for_state(submitted.name(what), "SUCCEEDED", "FAILED")
    until(lambda: not submitted.pods(submitted.name("code-75")), seconds=60, what="cleanPodPolicy All leaves no pod")
    for what in ("code-137", "always-75"):
        kept = {pod["metadata"]["name"] for pod in submitted.pods(submitted.name(what))}
        assert kept == {pod_name(submitted.name(what), attempt) for attempt in (0, 1)}
    log = cluster.kubectl("logs", pod_name(submitted.name("code-137"), 1), "-n", NAMESPACE)
    assert log == "second attempt\n"


def test_an_ended_job_is_deleted_at_its_time_to_live_and_its_pods_with_it(submitted: Jobs, cluster: Any) -> None:
    job = submitted.name("short-lived")
    until(lambda: not cluster.get("trainingjob", job), seconds=180, what="the job is gone at its TTL")
    until(lambda: not submitted.pods(job), seconds=60, what="its pods are gone")


@pytest.mark.parametrize("end", ENDS)
def test_a_model_goes_on_serving_when_its_job_is_gone(submitted: Jobs, cluster: Any, tmp_path: Path, end: str) -> None:
    job = model = submitted.name(end)
    until(lambda: cluster.get("modelversion", f"{model}-v1"), seconds=180, what="the model is registered")
    if end == "deleted":
        cluster.wait_for_state(job, "SUCCEEDED")
        cluster.kubectl("delete", "trainingjob", job, "-n", NAMESPACE)
    until(lambda: not cluster.get("trainingjob", job), seconds=120, what="the job is gone")
    local_models.serves(cluster, model, 1)
    picture = tmp_path / "bright.png"
    picture.write_bytes(png(200))
    said = cluster.fovea("predict", "--model", model, "-n", NAMESPACE, "--format", "json", str(picture))
    assert "bright" in said.stdout
    # The files stay too: a pod that starts after the job went fetches them from the job's own prefix.
    pods = f"fovea.dev/model-deployment={model}"
    cluster.kubectl("delete", "pod", "-n", NAMESPACE, "-l", pods, "--grace-period=0", "--force")
    until(lambda: _answers(cluster, model), seconds=180, what="a new pod answers")


def _answers(cluster: Any, model: str) -> bool:
    status = cluster.get("modeldeployment", model)["status"]
    return local_models.place(status, "stable").get("readyReplicas", 0) >= 1 and local_models.ask(
        model, local_models.address(cluster, model), 4.0
    ) == (5.0, 1)
