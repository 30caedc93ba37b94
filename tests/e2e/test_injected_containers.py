"""A namespace whose pods get a container of a service mesh: jobs end, and what they leave and say arrives."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.injector import CONTAINER, injector
from support.polling import until
from support.team_jobs import TeamJobs, program, team_jobs

NAMESPACE = "speech"
PROXY = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(3600)"
LEAVES_AN_EVALUATION = """
(output / "evaluation.json").write_text(json.dumps({"metrics": {"accuracy 🤗": 0.5}}))
"""
FAILS = """
raise SystemExit("model failed 🤗")
"""


@pytest.fixture(scope="module")
def jobs(cluster: Any) -> Iterator[TeamJobs]:
    image = cluster.deployment.images()["fovea"]
    made = injector(NAMESPACE, image, ["python3", "-c", PROXY]).values()
    for manifest in made:
        cluster.apply(manifest)
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": NAMESPACE}}
    probe |= {"spec": {"containers": [{"name": "main", "image": image}]}}

    def injects() -> bool:
        answer = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(probe))
        return len(json.loads(answer)["spec"]["containers"]) == 2

    try:
        until(injects, seconds=60, what="the injector works")
        with team_jobs(cluster, NAMESPACE) as mine:
            yield mine
    finally:
        for manifest in made:
            cluster.kubectl("delete", manifest["kind"], manifest["metadata"]["name"], "--ignore-not-found")


def test_a_program_beside_a_container_that_outlives_it_succeeds(
    jobs: TeamJobs, images: dict[str, str], small_machine: str, unique: str
) -> None:
    status = jobs.ended(jobs.submit(unique, program(images["fovea"], small_machine, LEAVES_AN_EVALUATION)))
    assert status["metrics"] == {"accuracy 🤗": 0.5}
    assert status["output"]["files"] == 1
    assert "retries" not in status


def test_the_exit_code_and_the_last_words_of_a_program_beside_such_a_container_count(
    jobs: TeamJobs, cluster: Any, images: dict[str, str], small_machine: str, unique: str
) -> None:
    status = jobs.ended(jobs.submit(unique, program(images["fovea"], small_machine, FAILS)), "FAILED")
    assert status["lastFailure"]["exitCode"] == 1
    assert "model failed 🤗" in status["message"]
    events = cluster.list("events", NAMESPACE)
    told = [one["message"] for one in events if (one["involvedObject"]["name"], one["reason"]) == (unique, "EndingPod")]
    assert CONTAINER in "".join(told)
