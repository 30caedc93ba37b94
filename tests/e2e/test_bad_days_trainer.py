"""A trainer is killed in the middle: the next attempt goes on at the last published checkpoint as if nothing had been.

Three jobs of the real recipe with the same data and seed train at the same time: one is left alone, of one the trainer is
killed, of one the pod is deleted without a grace period.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import digits
import pytest
from fovea_agent.store import Store
from fovea_api.contract import names, storage
from fovea_api.contract.manifest import Manifest
from support.installed_store import port_forward, root_store
from support.node_shell import NodeShell
from support.polling import until
from support.team_jobs import TeamJobs, digests, manifest_at, published_steps, team_jobs

STEPS = 300
EVERY = 20
PICTURES_PER_CLASS = 16
VARIABLES = "variables/variables.data-00000-of-00001"


def recipe(name: str, data: str) -> dict[str, Any]:
    """A job small enough for a test, and long enough to be disturbed in its middle."""
    return {
        "trainer": {"recipe": "image-classifier"},
        "args": {
            "image-size": 64,
            "epochs": 1000,
            "max-steps": STEPS,
            "early-stopping": False,
            "batch-size": 32,
            "validation-ratio": 0.1,
            "test-ratio": 0.2,
            "seed": 7,
        },
        "inputs": {"data": data},
        "checkpoint": {"everySteps": EVERY, "keep": 3},
        "model": {"name": name},
        "runPolicy": {"backoffLimit": 2},
    }


def kill_trainer(team: TeamJobs, node: NodeShell, pod: str) -> None:
    node.kill(team.cluster.get("pod", pod, team.namespace), names.TRAINER_CONTAINER)


def delete_pod(team: TeamJobs, _: NodeShell, pod: str) -> None:
    team.cluster.kubectl("delete", "pod", pod, "-n", team.namespace, "--grace-period=0", "--force")


DISTURBANCES = {"killed": kill_trainer, "deleted": delete_pod}


@dataclass(frozen=True)
class Life:
    """What a job did, and what was in the store when its first attempt was over."""

    name: str
    status: dict[str, Any]
    prefix: str
    at_death: list[int]
    """Steps of the checkpoints that were published when the disturbed attempt had ended."""
    resumed: str
    """What the trainer of the last attempt said first about where it begins."""


@pytest.fixture(scope="module")
def prefix() -> str:
    """Beginning of all names."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def store(cluster: Any) -> Iterator[Store]:
    with port_forward(cluster.environment) as endpoint:
        yield root_store(cluster.kubectl, endpoint)


@pytest.fixture(scope="module")
def team(cluster: Any) -> Iterator[TeamJobs]:
    with team_jobs(cluster) as mine:
        yield mine


@pytest.fixture(scope="module")
def lives(
    cluster: Any, team: TeamJobs, store: Store, node: NodeShell, tmp_path_factory: pytest.TempPathFactory, prefix: str
) -> dict[str, Life]:
    """The three jobs, ended."""
    data = upload_pictures(cluster, prefix, tmp_path_factory.mktemp("pictures"))
    names_of = {what: f"{prefix}-{what}" for what in ("calm", *DISTURBANCES)}
    for name in names_of.values():
        team.submit(name, recipe(name, data))
    undisturbed = set(DISTURBANCES)

    def disturb() -> bool:
        for what in sorted(undisturbed):
            if published_steps(store, team.prefix(names_of[what])):
                undisturbed.remove(what)
                DISTURBANCES[what](team, node, team.pod(names_of[what], 0))
        return not undisturbed

    until(disturb, seconds=300, what="a published checkpoint of each job that is to be disturbed")
    at_death = until_next_attempts(team, store, {what: names_of[what] for what in DISTURBANCES})
    return {what: life(team, name, at_death.get(what, [])) for what, name in names_of.items()}


def upload_pictures(cluster: Any, name: str, folder: Path) -> str:
    """Some of the handwritten digits, in the store; returns their address."""
    digits.write(folder / "all")
    for klass in sorted((folder / "all/train").iterdir()):
        (folder / "some" / klass.name).mkdir(parents=True)
        for picture in sorted(klass.iterdir())[:PICTURES_PER_CLASS]:
            shutil.copy(picture, folder / "some" / klass.name)
    cluster.fovea("data", "upload", str(folder / "some"), name, "-n", "vision")
    return f"s3://{storage.BUCKET}/{storage.dataset('vision', name)}"


def until_next_attempts(team: TeamJobs, store: Store, jobs: dict[str, str]) -> dict[str, list[int]]:
    """Steps that were published when each job's second attempt got its pod, which is the back-off after the first's end."""
    seen: dict[str, list[int]] = {}
    waiting = set(jobs)

    def next_pods() -> bool:
        for what in sorted(waiting):
            steps = published_steps(store, team.prefix(jobs[what]))
            if team.cluster.get("pod", team.pod(jobs[what], 1), team.namespace):
                waiting.remove(what)
            else:
                seen[what] = steps
        return not waiting

    until(next_pods, seconds=180, what="the second attempts")
    return seen


def life(team: TeamJobs, name: str, at_death: list[int]) -> Life:
    status = team.ended(name, seconds=400)
    log = team.log(team.pod(name, status["attempts"]["chief-0"]), names.TRAINER_CONTAINER)
    resumed = next(line for line in log.splitlines() if "training from scratch" in line or "checkpoint" in line)
    return Life(name, status, team.prefix(name), at_death, resumed)


def last_checkpoint(store: Store, life: Life) -> Manifest:
    return manifest_at(store, f"s3://{storage.BUCKET}/{storage.checkpoint(life.prefix, STEPS)}")


def state(store: Store, life: Life) -> dict[str, Any]:
    """Position in the last checkpoint, without the time it took."""
    key = f"{storage.checkpoint(life.prefix, STEPS)}"
    entry = next(one for one in last_checkpoint(store, life).entries if one.path == "state.json")
    position: dict[str, Any] = json.loads(store.read(f"{key}/{entry.key}"))["position"]
    position.pop("seconds")
    return position


def test_the_undisturbed_job_needs_one_attempt(lives: dict[str, Life]) -> None:
    calm = lives["calm"]
    assert calm.status["attempts"] == {"chief-0": 0}
    assert "from scratch" in calm.resumed


@pytest.mark.parametrize("what", list(DISTURBANCES))
def test_the_next_attempt_resumes_at_the_last_published_checkpoint(lives: dict[str, Life], what: str) -> None:
    disturbed = lives[what]
    assert disturbed.status["attempts"] == {"chief-0": 1}
    counted = "retries" if what == "killed" else "disruptions"
    assert {key: disturbed.status.get(key) for key in ("retries", "disruptions")} == {
        "retries": None,
        "disruptions": None,
    } | {counted: 1}
    assert 0 < disturbed.at_death[-1] < STEPS
    assert f"resumed own checkpoint {disturbed.at_death[-1]}:" in disturbed.resumed


@pytest.mark.parametrize(
    ("what", "reason", "word"), [("killed", "ProgramFailed", "137"), ("deleted", "PodLost", "the pod is gone")]
)
def test_the_status_says_what_became_of_the_first_attempt(
    lives: dict[str, Life], what: str, reason: str, word: str
) -> None:
    failure = lives[what].status["lastFailure"]
    assert (failure["attempt"], failure["reason"]) == (0, reason)
    assert word in failure["message"]


@pytest.mark.parametrize("what", ["calm", *DISTURBANCES])
def test_the_number_of_steps_is_exact(lives: dict[str, Life], store: Store, what: str) -> None:
    status = lives[what].status
    assert (status["progress"]["step"], status["progress"]["steps"], status["checkpoint"]["step"]) == (STEPS,) * 3
    assert state(store, lives[what])["step"] == STEPS
    assert published_steps(store, lives[what].prefix) == [STEPS - 2 * EVERY, STEPS - EVERY, STEPS]


@pytest.mark.parametrize("what", list(DISTURBANCES))
def test_weights_curves_and_metrics_are_bitwise_those_of_the_undisturbed_job(
    lives: dict[str, Life], store: Store, what: str
) -> None:
    calm, disturbed = lives["calm"], lives[what]
    served = [digests(manifest_at(store, one.status["model"]["uri"]))[VARIABLES] for one in (calm, disturbed)]
    assert served[0] == served[1]
    trained = [
        {path: sha for path, sha in digests(last_checkpoint(store, one)).items() if path != "state.json"}
        for one in (calm, disturbed)
    ]
    assert trained[0] == trained[1]
    assert state(store, calm) == state(store, disturbed)
    assert calm.status["metrics"] == disturbed.status["metrics"]


@pytest.mark.parametrize("what", list(DISTURBANCES))
def test_the_disturbed_job_registers_one_version_of_its_model(lives: dict[str, Life], cluster: Any, what: str) -> None:
    status = lives[what].status
    assert status["modelVersion"] == f"{lives[what].name}-v1"
    version = cluster.get("modelversion", status["modelVersion"])["spec"]
    assert version["digest"] == status["model"]["digest"]
    assert version["uri"] == status["model"]["uri"]
    assert cluster.get("modelversion", f"{lives[what].name}-v2") == {}
