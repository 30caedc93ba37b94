"""The programs of examples/programs run as jobs, as the page on programs of one's own says, and one of them is served."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from digits import write
from support.local_jobs import machine_type
from support.team_jobs import TeamJobs, team_jobs

ROOT = Path(__file__).parents[2]
EXAMPLES = [job for job in yaml.safe_load_all((ROOT / "examples/programs.yaml").read_text()) if job]
FLOOR, MACHINE = 0.93, "example-programs"


@pytest.fixture(scope="module")
def jobs(cluster: Any, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamJobs]:
    """The three jobs, submitted side by side, on the images of this cluster."""
    folder = tmp_path_factory.mktemp("digits")
    write(folder)
    built = subprocess.run(
        [sys.executable, "-m", "fovea_dev", "images", "example-programs", "--json"],
        env={**cluster.environment, "PYTHONPATH": str(ROOT / "dev")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    programs = json.loads(built.stdout)["example-programs"]["reference"]
    cluster.fovea("data", "upload", str(folder / "train"), "example-digits", "-n", "vision")
    create = ("create", "configmap", "programs", "--from-file=examples/programs/keras_digits.py", "-n", "vision")
    cluster.kubectl(*create)
    cluster.apply(machine_type(MACHINE, memory="1536Mi"))
    with team_jobs(cluster) as submitted:
        for example in EXAMPLES:
            spec = example["spec"]
            container = spec["trainer"]["container"]
            container["image"] = images["fovea-tensorflow"] if "tensorflow" in container["image"] else programs
            inputs = {"data": "s3://fovea/vision/datasets/example-digits"}
            roles = {"scaleTier": "CUSTOM", "roles": {"chief": {"machineType": MACHINE}}}
            submitted.submit(example["metadata"]["name"], spec | {"inputs": inputs} | roles)
        yield submitted
    cluster.kubectl("delete", "configmap", "programs", "-n", "vision")
    cluster.kubectl("delete", "machinetype", MACHINE, "--wait=false")


@pytest.mark.parametrize("name", [example["metadata"]["name"] for example in EXAMPLES])
def test_a_program_of_the_examples_becomes_a_version_of_its_model(cluster: Any, jobs: TeamJobs, name: str) -> None:
    status = jobs.ended(name)
    assert status["metrics"]["accuracy"] > FLOOR
    assert status["mainMetric"] == "accuracy"
    assert status["progress"]["step"] == status["checkpoint"]["step"] == status["progress"]["steps"]
    version = cluster.get("modelversion", status["modelVersion"])["spec"]
    assert version["mainMetric"] == {"name": "accuracy", "value": status["metrics"]["accuracy"]}
    assert ("format" in version) == (name != "keras-digits")


def test_the_keras_program_is_served(cluster: Any, jobs: TeamJobs, tmp_path: Path) -> None:
    jobs.ended("keras-digits")
    cluster.kubectl("wait", "modeldeployment/keras-digits", "-n", "vision", "--for=condition=Serving", "--timeout=180s")
    write(tmp_path)
    held_out = sorted((tmp_path / "held-out").glob("*.png"))
    said = cluster.fovea("predict", "-n", "vision", "--model", "keras-digits", "--format", "json", *map(str, held_out))
    answers = json.loads(said.stdout)
    assert [answer["label"] for answer in answers] == [path.name[0] for path in held_out]
    cluster.kubectl("delete", "modeldeployment", "keras-digits", "-n", "vision")
