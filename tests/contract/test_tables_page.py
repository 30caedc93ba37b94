"""The tutorial on tables as it stands there: its commands, and the figures that it says."""

import contextlib
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from fovea_api import catalogue
from fovea_api.contract import environment, exit_codes
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers.main import main
from support import pages

PAGE = "docs/tutorial/tables.md"
COMMANDS = [line for block in pages.blocks(PAGE)["console"] for line in block.splitlines()]
IN_CLONE, IN_CLUSTER = COMMANDS[:2], COMMANDS[-3:]
LOCAL = COMMANDS[2:-3]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each local command of the page printed, and where they ran: `fovea-train` in this process, which has TensorFlow."""
    folder = tmp_path_factory.mktemp("page")
    return folder, {command: printed(command, folder) for command in LOCAL}


def printed(command: str, folder: Path) -> str:
    if not command.startswith("fovea-train "):
        return pages.in_environment(command, folder)
    with contextlib.chdir(folder):
        assert main(shlex.split(command)[1:]) == exit_codes.OK, command
    return ""


def measured(folder: Path) -> dict[str, float]:
    return json.loads((folder / "output" / environment.EVALUATION_FILE).read_text())["metrics"]


def test_the_commands_are_those_of_a_clone_then_of_an_empty_folder_then_of_a_cluster():
    assert IN_CLONE == ["make setup", ". .venv/bin/activate"]
    assert [command.split()[0] for command in IN_CLUSTER] == ["fovea", "kubectl", "fovea"]
    assert {command.split()[0] for command in LOCAL} == {"fovea-train", "head", "mv"}


def test_a_network_is_better_than_the_linear_model_by_as_much_as_the_page_says(said):
    folder, _ = said
    text = (pages.ROOT / PAGE).read_text(encoding="utf-8")
    told = [float(number) for number in re.findall(r"^\| `--model=.*\| (0\.\d\d) \| 0\.\d\d \|$", text, re.MULTILINE)]
    linear = json.loads((folder / "linear/output/evaluation.json").read_text())["metrics"]["val_auc"]
    assert told[0] == pytest.approx(linear, abs=0.02)
    assert told[1] == pytest.approx(0.88, abs=0.02)
    assert told[1] - told[0] > 0.05


def test_every_row_of_the_file_has_a_prediction(said):
    folder, output = said
    (shown,) = (text for command, text in output.items() if command.startswith("head") and "predictions" in command)
    assert shown.splitlines()[0] == "file,row,truth,label,score -1,score 1"
    rows = (folder / "fovea-out/output/predictions.csv").read_text().splitlines()[1:]
    assert len(rows) == len((folder / "census/a8a.t").read_text().splitlines())
    right = [row.split(",")[2] == row.split(",")[3] for row in rows]
    assert sum(right) / len(right) == pytest.approx(0.86, abs=0.02)


def test_the_job_of_the_examples_is_the_page_s_command():
    job = yaml.safe_load((pages.ROOT / "examples/tables.yaml").read_text(encoding="utf-8"))
    TrainingJob.model_validate(job)
    arguments = job["spec"]["args"]
    assert catalogue.check("tabular", arguments) == []
    (command,) = (line for line in LOCAL if "--hidden" in line)
    words = [f"--{name}={value}" for name, value in arguments.items()]
    assert sorted(words) == sorted(word.replace("'", "") for word in command.split()[3:])
