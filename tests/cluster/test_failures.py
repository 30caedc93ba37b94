"""Rows of docs/reference/failures.md about members of a distributed job: who begins again, what counts, what is said."""

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from support.jobs import of_job, training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet

SERVERS: dict[str, Any] = {"distribution": "ParameterServer", "roles": {"worker": {"count": 2}, "ps": {"count": 1}}}
MEMBERS = ("chief-0", "worker-0", "worker-1", "ps-0")
ALL_AGAIN = dict.fromkeys(MEMBERS, 1)
ONE_AGAIN = {"chief-0": 0, "worker-1": 1}


@dataclass(frozen=True)
class Case:
    """How a member ends, and what the job's status says of it then."""

    member: str
    code: int
    attempts: dict[str, int]
    reason: str = "ProgramFailed"
    retries: int | None = 1
    disruptions: int | None = None
    ended_as: str = ""
    """Reason of its container."""
    evicted: bool = False
    fails: bool = False


CASES = {
    "killed-worker": Case("worker-1", 137, ONE_AGAIN),
    "killed-ps": Case("ps-0", 137, ALL_AGAIN),
    "killed-chief": Case("chief-0", 137, ALL_AGAIN),
    "full-memory": Case("worker-1", 137, ONE_AGAIN, "OutOfMemory", ended_as="OOMKilled"),
    "restart-asked": Case("worker-1", 75, ONE_AGAIN),
    "mistake": Case("worker-1", 1, {"chief-0": 0}, retries=None, fails=True),
    "evicted-ps": Case("ps-0", 143, ALL_AGAIN, "Disrupted", retries=None, disruptions=1, evicted=True),
    "evicted-worker": Case("worker-1", 143, ONE_AGAIN, "Disrupted", retries=None, disruptions=1, evicted=True),
}


def run_all(cluster: Cluster, kubelet: Kubelet, job: str) -> None:
    wanted = {f"{job}-{member}-0" for member in MEMBERS}
    cluster.wait(
        f"pods of {job}", lambda: {pod["metadata"]["name"] for pod in cluster.list("Pod", of_job(job))} >= wanted
    )
    for name in sorted(wanted):
        kubelet.bind(name)
        kubelet.running(name)
    cluster.job_in(job, "RUNNING")


@pytest.mark.usefixtures("operator")
def test_the_failure_of_a_member_counts_and_restarts_what_the_page_says(cluster: Cluster, kubelet: Kubelet) -> None:
    jobs = {f"{name}-{uuid.uuid4().hex[:4]}": case for name, case in CASES.items()}
    for job in jobs:
        cluster.create(training_job(job, **SERVERS))
    for job, case in jobs.items():
        run_all(cluster, kubelet, job)
        kubelet.ended(f"{job}-{case.member}-0", case.code, reason=case.ended_as, evicted=case.evicted)
    for job, case in jobs.items():
        status = cluster.wait(
            f"{job}: its failure in the status",
            lambda job=job: (status := (cluster.get("TrainingJob", job) or {})["status"]).get("lastFailure") and status,
        )
        found = (status["lastFailure"]["member"], status["lastFailure"]["reason"], status["attempts"])
        assert found == (case.member, case.reason, case.attempts), job
        assert (status.get("retries"), status.get("disruptions")) == (case.retries, case.disruptions), job
        goes_on = "QUEUED" if case.attempts == ALL_AGAIN else "RUNNING"
        assert status["state"] in (("FAILED",) if case.fails else (goes_on, "PREPARING", "RUNNING")), job


@pytest.mark.usefixtures("operator")
def test_a_program_that_fails_at_the_same_step_three_times_is_said_to(cluster: Cluster, kubelet: Kubelet) -> None:
    job = f"digits-{uuid.uuid4().hex[:6]}"
    cluster.create(training_job(job, runPolicy={"backoffLimit": 2}))
    for attempt in range(3):
        name = f"{job}-chief-0-{attempt}"
        cluster.wait(f"pod {name}", lambda name=name: cluster.get("Pod", name))
        kubelet.running(name)
        cluster.job_in(job, "RUNNING")
        kubelet.ended(name, 137)
    failed = cluster.job_in(job, "FAILED")["status"]
    said = "The job failed before the first step for the third time in a row (no checkpoint)."
    assert said in failed["message"]
    assert said in failed["lastFailure"]["message"]
    assert failed["failingStep"] == {"failures": 3}
