"""A job that cannot have its pod yet: it says why in the words of the component that refuses it, and goes on or ends as its spec says."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from fovea_api.contract import names
from support.jobs import condition, of_job, pod_name
from support.local_jobs import DONE, machine_type, program_job
from support.polling import until

NAMESPACE = "vision"
WAIT_SECONDS = 25


class Waiting:
    """Jobs, submitted together since each of them waits for something."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.word = cluster, f"t{uuid.uuid4().hex[:8]}"
        self.image: str = cluster.deployment.images()["fovea"]
        self.resource = f"e2e.fovea.dev/{self.word}"
        self.unpullable, self.too_large, self.late, self.over_quota = (
            f"{self.word}-{what}" for what in ("unpullable", "too-large", "late", "over-quota")
        )
        self.machine, self.huge, self.special = (f"{self.word}-{what}" for what in ("small", "huge", "special"))

    def machine_types(self) -> list[dict[str, Any]]:
        """All but the one that comes late."""
        gpus = {"count": 1, "resource": self.resource}
        return [
            machine_type(self.machine),
            machine_type(self.huge, memory="900Gi"),
            machine_type(self.special, gpus=gpus),
        ]

    def submit(self) -> None:
        """Create what they need and what they miss, then the jobs."""
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": self.word, "namespace": NAMESPACE},
            "spec": {"hard": {f"requests.{self.resource}": "0"}},
        }
        for manifest in (*self.machine_types(), quota):
            self.cluster.apply(manifest)
        self._advertise("add", "1")
        used = f"the quota {self.word} is counted"
        until(lambda: self.cluster.get("resourcequota", self.word).get("status", {}).get("used"), seconds=60, what=used)
        impatient = {"maxWaitSeconds": WAIT_SECONDS}
        absent = self.image.rpartition(":")[0] + ":never-built"
        for job in (
            program_job(self.unpullable, absent, self.machine, DONE, runPolicy=impatient),
            program_job(self.too_large, self.image, self.huge, DONE, runPolicy=impatient),
            program_job(self.late, self.image, self.late, DONE),
        ):
            self.cluster.apply(job)

    def says(self, job: str, *parts: str, seconds: float = 60) -> dict[str, Any]:
        """The job's status once its message has all these parts; fails at once when the job has ended otherwise."""

        def probe() -> dict[str, Any] | None:
            status: dict[str, Any] = self.cluster.status(job)
            if all(part in status.get("message", "") for part in parts):
                return status
            assert "endTime" not in status, status
            return None

        return until(probe, seconds=seconds, what=f"message of {job} with {parts}")

    def remove(self) -> None:
        """Delete what was made; its pods go with the jobs."""
        jobs = (self.unpullable, self.too_large, self.late, self.over_quota)
        quiet = ("--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", "trainingjob", *jobs, "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "resourcequota", self.word, "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "machinetype", self.machine, self.huge, self.special, self.late, *quiet)
        self._advertise("remove", None)

    def _advertise(self, operation: str, value: str | None) -> None:
        """The node has one piece of a resource of our own, as its administrator may say (or none any more)."""
        node = self.cluster.list("nodes", "default")[0]["metadata"]["name"]
        path = "/status/capacity/" + self.resource.replace("/", "~1")
        patch = [{"op": operation, "path": path, **({} if value is None else {"value": value})}]
        self.cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(patch))


@pytest.fixture(scope="module")
def waiting(cluster: Any) -> Iterator[Waiting]:
    made = Waiting(cluster)
    try:
        made.submit()
        yield made
    finally:
        made.remove()


def test_an_image_that_cannot_be_pulled_is_said_by_its_name(waiting: Waiting) -> None:
    status = waiting.says(waiting.unpullable, f"image of container {names.TRAINER_CONTAINER} cannot be pulled")
    assert status["state"] == "PREPARING"
    assert "never-built" in status["message"]
    assert "correct spec.trainer.container and submit a new job" in status["message"]


def test_a_pod_that_no_node_takes_keeps_its_job_queued_with_the_schedulers_words(waiting: Waiting) -> None:
    status = waiting.says(waiting.too_large, "Insufficient memory")
    if status["state"] == "QUEUED":  # on a slow machine it may have waited too long already, which is the next test
        assert condition({"status": status}, "Running")["reason"] == "Unschedulable"
        assert status["message"].startswith("No node takes the pod: 0/")
        assert "submit the job with another machine type" in status["message"]


def test_a_missing_machine_type_is_waited_for(waiting: Waiting, cluster: Any) -> None:
    status = waiting.says(waiting.late, f"There is no MachineType {waiting.late!r}")
    assert status["state"] == "QUEUED"
    assert condition({"status": status}, "Admitted")["reason"] == "MachineTypeMissing"
    assert cluster.list("pods", NAMESPACE, of_job(waiting.late)) == []
    cluster.apply(machine_type(waiting.late))
    cluster.wait_for_state(waiting.late, "SUCCEEDED")


def test_a_pod_that_the_quota_refuses_is_tried_again_until_the_quota_allows_it(waiting: Waiting, cluster: Any) -> None:
    # Not with the others: the longer it waits, the rarer it is tried again.
    cluster.apply(program_job(waiting.over_quota, waiting.image, waiting.special, DONE))
    status = waiting.says(waiting.over_quota, "exceeded quota", waiting.word)
    assert status["state"] == "QUEUED"
    assert condition({"status": status}, "Running")["reason"] == "PodRefused"
    assert "wait until other pods have ended" in status["message"]
    more = {"spec": {"hard": {f"requests.{waiting.resource}": "1"}}}
    cluster.kubectl("patch", "resourcequota", waiting.word, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(more))
    done = cluster.wait_for_state(waiting.over_quota, "SUCCEEDED")
    assert done.get("retries") is None, "a pod that was never made is no failed attempt"


@pytest.mark.parametrize(
    ("which", "why"),
    [("unpullable", "cannot be pulled"), ("too_large", "Insufficient memory")],
)
def test_a_job_that_waits_longer_than_it_may_is_cancelled_and_says_what_it_waited_for(
    waiting: Waiting, cluster: Any, which: str, why: str
) -> None:
    job = getattr(waiting, which)
    status = cluster.wait_for_state(job, "CANCELLED", "SUCCEEDED", "FAILED", seconds=WAIT_SECONDS + 60)
    assert status["state"] == "CANCELLED"
    assert f"waited longer than runPolicy.maxWaitSeconds ({WAIT_SECONDS})" in status["message"]
    assert why in status["message"]
    assert condition({"status": status}, "Failed")["reason"] == "MaxWaitSecondsExceeded"
    gone = f"pod {pod_name(job)} is gone"
    until(lambda: not cluster.get("pod", pod_name(job)), seconds=60, what=gone)
