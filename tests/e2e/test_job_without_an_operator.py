"""A job whose operator ends, and one whose time ends while no operator runs. These tests take the operator from all others."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from support.jobs import condition, pod_name
from support.local_jobs import COUNT, NAMESPACE, Jobs
from support.polling import until

SYSTEM = "fovea-system"


@pytest.fixture(scope="module")
def submitted(cluster: Any) -> Iterator[Jobs]:
    with Jobs.of(cluster) as made:
        yield made


def test_a_job_outlives_its_operator_and_a_pod_object_that_vanished_meanwhile(submitted: Jobs, cluster: Any) -> None:
    job = submitted.submit("outlives", COUNT, "20", "0.5", "6")
    published = until(
        lambda: cluster.status(job).get("checkpoint", {}).get("step", 0), seconds=180, what="a published checkpoint"
    )
    now = ("--grace-period=0", "--force", "--wait=false")
    system = ("-n", SYSTEM)
    selector = ("-l", "app.kubernetes.io/component=operator")
    before = cluster.kubectl("get", "pods", *system, *selector, "-o", "name").split()
    assert before, "the operator's pod was not found"
    cluster.kubectl("delete", "pod", *system, *selector, *now)
    cluster.kubectl("delete", "pod", pod_name(job), "-n", NAMESPACE, *now)
    done = cluster.wait_for_state(job, "SUCCEEDED", "FAILED", seconds=240)
    assert (done["state"], done["disruptions"], done["metrics"]["starts"]) == ("SUCCEEDED", 1, 2)
    assert "retries" not in done
    assert done["lastFailure"]["reason"] in ("PodLost", "Disrupted")
    assert done["metrics"]["last_start"] >= published
    after = cluster.kubectl("get", "pods", *system, *selector, "-o", "name").split()
    assert not set(after) & set(before)


def test_a_job_s_time_ends_while_no_operator_runs(submitted: Jobs, cluster: Any) -> None:
    seconds = 30
    job = submitted.submit("leaderless", COUNT, "1000", "0.5", runPolicy={"maxRunningSeconds": seconds})
    submitted.started(job)
    pod = pod_name(job)
    until(
        lambda: cluster.get("pod", pod)["spec"].get("activeDeadlineSeconds"), seconds=15, what="the kubelet's deadline"
    )
    system, selector = ("-n", SYSTEM), ("-l", "app.kubernetes.io/component=operator")
    replicas = cluster.kubectl("get", "deployment", *system, *selector, "-o", "jsonpath={.items[0].spec.replicas}")
    try:
        cluster.kubectl("scale", "deployment", *system, *selector, "--replicas=0")
        gone = "no operator runs"
        until(lambda: not cluster.kubectl("get", "pods", *system, *selector, "-o", "name"), seconds=60, what=gone)
        assert cluster.get("pod", pod)["status"]["phase"] == "Running", "the operator went before the deadline"
        # The sidecar asks the operator for the log for 20 s, in vain.
        ended = until(lambda: _ended(cluster, pod), seconds=seconds + 60, what="the kubelet ended the pod")
    finally:
        cluster.kubectl("scale", "deployment", *system, *selector, f"--replicas={replicas}")
    began, finished = (datetime.fromisoformat(ended["trainer"][time]) for time in ("startedAt", "finishedAt"))
    assert seconds <= (finished - began).total_seconds() <= seconds + 3
    status = cluster.wait_for_state(job, "SUCCEEDED", "FAILED", seconds=120)
    assert condition({"status": status}, "Failed")["reason"] == "MaxRunningSecondsExceeded"
    assert (status["attempts"], status.get("retries"), status.get("disruptions")) == ({"chief-0": 0}, None, None)
    assert status["checkpoint"]["step"] > 0, "what it saved is published"


def _ended(cluster: Any, pod: str) -> dict[str, dict[str, Any]]:
    """How the containers of a pod ended, by name; empty before all have."""
    status = cluster.get("pod", pod)["status"]
    if status.get("reason") != "DeadlineExceeded":
        return {}
    return {each["name"]: each["state"]["terminated"] for each in status["containerStatuses"]}
