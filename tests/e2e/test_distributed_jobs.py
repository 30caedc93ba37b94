"""Recipes on several pods of the local cluster, each way; and a worker that is killed in the middle."""

from collections.abc import Iterator
from typing import Any

import pytest
from fovea_agent.store import Store
from fovea_api.contract import labels, names
from fovea_trainers.main import main
from support.local_jobs import machine_type
from support.node_shell import NodeShell
from support.polling import until
from support.team_jobs import TeamJobs, published_steps, team_jobs

MACHINE = "distributed"
EPOCHS = 3
SERVERS = {"distribution": "ParameterServer", "roles": {"worker": 2, "ps": 1}}
WAYS: dict[str, dict[str, Any]] = {
    "asynchronous": SERVERS,
    "synchronous": {**SERVERS, "sync": True},
    "mirrored": {"distribution": "MultiWorkerMirrored", "roles": {"worker": 1}},
}


def spec_of(way: dict[str, Any], **args: Any) -> dict[str, Any]:
    """A job of tabular, whose pods need little."""
    roles = {role: {"count": count, "machineType": MACHINE} for role, count in way["roles"].items()}
    return {
        "trainer": {"recipe": "tabular"},
        "args": {"hidden": "16", "epochs": EPOCHS, "learning-rate": 0.1, "validation-files": "*.t", **args},
        "inputs": {"data": "s3://fovea/vision/datasets/distributed-a8a"},
        **way,
        "roles": {"chief": {"machineType": MACHINE}, **roles},
    }


@pytest.fixture(scope="module")
def team(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamJobs]:
    data = tmp_path_factory.mktemp("distributed") / "a8a"
    assert main(["make-dataset", "a8a", str(data), "--count=1000"]) == 0
    cluster.fovea("data", "upload", str(data), "distributed-a8a", "-n", "vision")
    cluster.apply(machine_type(MACHINE, cpu="100m", memory="1Gi"))
    with team_jobs(cluster) as jobs:
        yield jobs
    cluster.kubectl("delete", "machinetype", MACHINE, "--wait=false")


@pytest.mark.parametrize("way", WAYS)
def test_a_job_of_several_pods_trains_every_step_once_and_leaves_no_pod_running(
    cluster: Any, team: TeamJobs, way: str
) -> None:
    spec = spec_of(WAYS[way])
    job = team.submit(f"distributed-{way}", {**spec, "model": {"name": f"distributed-{way}"}})
    status = team.ended(job, seconds=300)
    assert status["progress"]["step"] == status["progress"]["steps"]
    assert status["progress"]["epoch"] == EPOCHS
    assert status["metrics"]["auc"] > 0.68, "one process reaches .71"
    assert "retries" not in status
    assert status["modelVersion"] == f"distributed-{way}-v1"

    def rest() -> bool:
        return all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in team.pods(job))

    until(rest, seconds=60, what="no pod of the job runs on")


@pytest.mark.wide
def test_a_scale_tier_of_eight_pods_trains(cluster: Any, team: TeamJobs) -> None:
    """STANDARD_1 as it is, on the small machine types of this cluster."""
    spec = spec_of(SERVERS)
    del spec["roles"]
    job = team.submit("distributed-tier", {**spec, "scaleTier": "STANDARD_1"})
    seen: set[str] = set()

    def over() -> bool:
        seen.update(
            pod["metadata"]["labels"][labels.ROLE] + pod["metadata"]["labels"][labels.INDEX] for pod in team.pods(job)
        )
        return cluster.status(job).get("state") in ("SUCCEEDED", "FAILED", "CANCELLED")

    until(over, seconds=900, what="the job of eight pods ends")
    status = team.ended(job)
    assert len(seen) == 8
    assert status["progress"]["step"] == status["progress"]["steps"]
    assert "retries" not in status


def test_an_asynchronous_worker_that_is_killed_begins_again_while_the_others_train(
    cluster: Any, team: TeamJobs, node: NodeShell
) -> None:
    job = team.submit("distributed-killed", spec_of(SERVERS, epochs=60))
    team.runs(job)
    worker = names.training_pod(job, "worker", 0, 0)

    def steps() -> int:
        return int(cluster.get("trainingjob", job)["status"].get("progress", {}).get("step", 0))

    until(lambda: steps() > 0, seconds=180, what="the job trains")
    node.kill(cluster.get("pod", worker), names.TRAINER_CONTAINER)
    status = team.ended(job, seconds=420)
    assert status["attempts"] == {"chief-0": 0, "worker-0": 1}
    assert (status["retries"], status["lastFailure"]["member"]) == (1, "worker-0")
    assert status["progress"]["step"] == status["progress"]["steps"]
    chiefs = [pod["metadata"]["name"] for pod in team.pods(job) if "-chief-" in pod["metadata"]["name"]]
    assert chiefs == [names.training_pod(job, "chief", 0, 0)], "the chief did not begin again"


def test_an_evaluator_names_the_best_checkpoint_and_it_stays(cluster: Any, team: TeamJobs, root: Store) -> None:
    spec = spec_of({"roles": {"evaluator": 1}}, epochs=5000)
    job = team.submit("distributed-evaluated", {**spec, "checkpoint": {"everySteps": 200, "keep": 1}})
    until(lambda: cluster.status(job).get("bestCheckpoint"), seconds=180, what="the best checkpoint is named")
    cluster.fovea("jobs", "cancel", job, "-n", "vision")
    status = team.ended(job, "CANCELLED")
    best = status["bestCheckpoint"]
    assert best["value"] > 0
    assert best["step"] in published_steps(root, team.prefix(job))
    assert status["attempts"] == {"chief-0": 0}
