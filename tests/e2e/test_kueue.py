"""Jobs in queues of Kueue itself, on the local cluster: order, gangs, and preemption with a checkpoint."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.installed_kueue import QUEUE, kueue
from support.local_jobs import COUNT, machine_type
from support.polling import until
from support.team_jobs import TeamJobs, team_jobs

pytestmark = pytest.mark.wide
MACHINE = "queued"
POD_CPU = 150
"""Millicores of a pod: the program and the sidecar beside it."""


@pytest.fixture(scope="module")
def team(cluster: Any) -> Iterator[TeamJobs]:
    """A queue with room for two pods."""
    cluster.apply(machine_type(MACHINE, cpu="100m", memory="128Mi"))
    with kueue(cluster, "vision", f"{2 * POD_CPU + 20}m"), team_jobs(cluster) as jobs:
        yield jobs
    cluster.kubectl("delete", "machinetype", MACHINE, "--wait=false")


def counting(images: dict[str, str], steps: int, *, pause: float = 0.1, hold: int = 0, **spec: Any) -> dict[str, Any]:
    """A job that counts, in the queue."""
    arguments = [str(steps), str(pause), *([str(hold)] if hold else [])]
    container = {"image": images["fovea"], "command": ["python3", "-c", COUNT, *arguments]}
    known = {"scheduling": {"queue": QUEUE, "priority": "low"}, "scaleTier": "CUSTOM"}
    return {"trainer": {"container": container}, **known, "roles": {"chief": {"machineType": MACHINE}}, **spec}


def says(cluster: Any, job: str, text: str) -> dict[str, Any]:
    def probe() -> dict[str, Any] | None:
        status: dict[str, Any] = cluster.status(job)
        return status if text in (status.get("message") or "") else None

    return until(probe, seconds=120, what=f"{job} says {text!r}")


def a_second_after(cluster: Any, job: str) -> None:
    """Kueue goes by the second in which a Workload was made: two of the same second come in any order."""
    made = datetime.fromisoformat(
        cluster.get("workload.kueue.x-k8s.io", f"trainingjob-{job}")["metadata"]["creationTimestamp"]
    )
    until(lambda: datetime.now(UTC) - made >= timedelta(seconds=1), seconds=10, what=f"the second of {job} is over")


def test_jobs_wait_with_their_place_and_run_in_their_order(
    cluster: Any, team: TeamJobs, images: dict[str, str], unique: str
) -> None:
    first, second, third, fourth = (f"{unique}-{number}" for number in ("first", "second", "third", "fourth"))
    for job in (first, second):
        team.submit(job, counting(images, 3, hold=2))
        team.runs(job)
    team.submit(third, counting(images, 2))
    says(cluster, third, "insufficient unused quota for cpu")
    a_second_after(cluster, third)
    team.submit(fourth, counting(images, 2))
    assert says(cluster, fourth, "Place 2 in the queue.")["queuePosition"] == 2
    assert not team.pods(third)
    for job in (first, second):
        cluster.kubectl("patch", "trainingjob", job, "-n", "vision", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    ends = [team.ended(job)["endTime"] for job in (third, fourth)]
    assert ends == sorted(ends)
    for job in (first, second, third, fourth):

        def finished(job: str = job) -> bool:
            status = cluster.get("workload.kueue.x-k8s.io", f"trainingjob-{job}").get("status", {})
            return any(one["type"] == "Finished" and one["status"] == "True" for one in status.get("conditions", ()))

        until(finished, seconds=60, what=f"the quota of {job} is free")


def test_a_distributed_job_gets_quota_for_all_of_its_pods_or_for_none(
    cluster: Any, team: TeamJobs, images: dict[str, str], unique: str
) -> None:
    alone, gang = f"{unique}-alone", f"{unique}-gang"
    team.submit(alone, counting(images, 3, hold=2))
    team.runs(alone)
    roles = {"chief": {"machineType": MACHINE}, "worker": {"count": 1, "machineType": MACHINE}}
    team.submit(gang, counting(images, 2, distribution="MultiWorkerMirrored", roles=roles))
    says(cluster, gang, "insufficient unused quota for cpu")
    assert not team.pods(gang), "one of its two pods would have room"
    cluster.kubectl("patch", "trainingjob", alone, "-n", "vision", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    team.ended(gang)


def test_a_preempted_job_goes_on_from_its_checkpoint_after_the_one_that_came_before_it(
    cluster: Any, team: TeamJobs, images: dict[str, str], unique: str
) -> None:
    low, high = f"{unique}-low", f"{unique}-high"
    team.submit(low, counting(images, 12, hold=5))
    team.runs(low)
    until(
        lambda: cluster.status(low).get("checkpoint", {}).get("step") == 5, seconds=120, what="a checkpoint at step 5"
    )
    roles = {"chief": {"machineType": MACHINE}, "worker": {"count": 1, "machineType": MACHINE}}
    scheduling = {"queue": QUEUE, "priority": "high"}
    team.submit(high, counting(images, 2, distribution="MultiWorkerMirrored", roles=roles, scheduling=scheduling))
    stopped = says(cluster, low, "took the job's quota back")
    assert stopped["state"] in ("RUNNING", "QUEUED")
    first, last = team.ended(high), team.ended(low)
    assert first["endTime"] < last["endTime"]
    assert (last["attempts"], last["disruptions"]) == ({"chief-0": 1}, 1)
    assert "retries" not in last
    assert last["metrics"] == {"starts": 2, "last_start": 5, "steps": 12}
