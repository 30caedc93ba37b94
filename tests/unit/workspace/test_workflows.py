"""GitHub's workflows can't run here: what they name exists, and they may no more than they need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fovea_dev import images

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github/workflows"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def test_a_fork_has_tests_images_a_chart_and_releases() -> None:
    assert set(WORKFLOWS) == {"test.yaml", "images.yaml", "chart.yaml", "release.yaml"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_target_and_path_of_a_workflow_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for step in steps(WORKFLOWS[name]):
        words = [word for line in step.get("run", "").splitlines() for word in line.split()]
        if "make" in words:
            assert set(words[words.index("make") + 1 :]) & targets
            named = [
                w for line in step["run"].splitlines() if " make " in line for w in line.partition(" make ")[2].split()
            ]
            assert set(named) <= targets
        for word in words:
            if re.match(r"(api|wire|client|charts|dev)(/|$)", word):
                assert (ROOT / word).exists(), word


@pytest.mark.parametrize("job", ["build", "push"])
def test_a_fork_builds_and_pushes_all_of_fovea_s_images_that_with_cuda_included(job: str) -> None:
    built = {
        each["image"]: (each["folder"], {"VARIANT": each["variant"]} if "variant" in each else {})
        for each in WORKFLOWS["images.yaml"]["jobs"][job]["strategy"]["matrix"]["include"]
    }
    assert built == {
        image.name: (image.folder.name, dict(image.arguments))
        for image in images.ALL_IMAGES
        if image.name.startswith("fovea")
    }
    assert "fovea-tensorflow-gpu" in built


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_reads_only_and_a_job_names_what_it_writes(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 180
        writes = {scope for scope, level in job.get("permissions", {}).items() if level == "write"}
        assert writes <= {"packages", "id-token"}
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_major_version_or_digest(name: str) -> None:
    for step in steps(WORKFLOWS[name]):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d+|release/v\d+|[0-9a-f]{40})", step["uses"]), step["uses"]
