"""`fovea jobs import` as a user types it: files, standard input, results and messages."""

import json
from pathlib import Path

import pytest
import yaml
from fovea.cli import job_import
from fovea.sdk.importing import options
from support.command_line import fovea
from support.imports import SOURCES
from support.pages import ROOT

EXAMPLE = ROOT / "examples/import/tfjob.yaml"


def test_the_manifest_goes_to_standard_output_and_the_report_to_standard_error() -> None:
    ran = fovea("jobs", "import", EXAMPLE).ok()
    (job,) = yaml.safe_load_all(ran.out)
    assert (job["kind"], job["metadata"]["name"]) == ("TrainingJob", "keras-digits")
    assert ran.err.startswith("TFJob -> TrainingJob keras-digits (Single: 1 chief). Fields: ")
    assert "What to do next:" in ran.err


def test_a_source_from_standard_input_becomes_a_manifest_that_can_be_submitted() -> None:
    made = fovea("jobs", "import", "-", "-n", "team", "--name", "mine", stdin=EXAMPLE.read_text()).ok().out
    submitted = fovea("jobs", "submit", "-", "--print", stdin=made).ok()
    assert yaml.safe_load(submitted.out) == yaml.safe_load(made)
    assert yaml.safe_load(made)["metadata"] == {"name": "mine", "namespace": "team", "labels": {"team": "vision"}}


def test_the_example_runs_the_program_that_the_examples_run() -> None:
    """`examples/programs.yaml` is trained on a real cluster; this example is to be the same program under a TFJob."""
    trained = next(
        job
        for job in yaml.safe_load_all((ROOT / "examples/programs.yaml").read_text())
        if job["metadata"]["name"] == "keras-digits"
    )
    made = yaml.safe_load(fovea("jobs", "import", EXAMPLE).ok().out)
    container = made["spec"]["trainer"]["container"]
    assert container == trained["spec"]["trainer"]["container"] | {
        "args": [f"--epochs={trained['spec']['args']['epochs']}"],
        "env": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"}],
        "runAsUser": 1000,
    }
    assert made["metadata"]["namespace"] == trained["metadata"]["namespace"]


def test_suggested_machine_types_are_further_documents() -> None:
    ran = fovea("jobs", "import", EXAMPLE, "--machine-types").ok()
    job, machine = yaml.safe_load_all(ran.out)
    assert machine["kind"] == "MachineType"
    assert job["spec"]["roles"]["chief"]["machineType"] == machine["metadata"]["name"]


def test_a_named_machine_type_is_not_suggested() -> None:
    ran = fovea("jobs", "import", EXAMPLE, "--machine-types", "--machine-type", "chief=standard").ok()
    (job,) = yaml.safe_load_all(ran.out)
    assert job["spec"]["roles"] == {"chief": {"machineType": "standard"}}
    assert "standard: you named it, and it stays as it is. Compare: kubectl get machinetype standard" in ran.err


@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_as_data_job_and_report_are_one_document(format_: str) -> None:
    ran = fovea("jobs", "import", EXAMPLE, "--format", format_, "--machine-types").ok()
    document = yaml.safe_load(ran.out) if format_ == "yaml" else json.loads(ran.out)
    assert ran.err == ""
    assert document["source"] == "TFJob"
    assert document["job"]["kind"] == "TrainingJob"
    assert [one["kind"] for one in document["machineTypes"]] == ["MachineType"]
    (deadline,) = [one for one in document["fields"] if one["field"] == "spec.runPolicy.activeDeadlineSeconds"]
    assert deadline == {
        "field": "spec.runPolicy.activeDeadlineSeconds",
        "value": 3600,
        "action": "changed",
        "target": "spec.runPolicy.maxRunningSeconds",
        "became": 3600,
        "why": "It counts while the program runs, in all attempts together, and not while the job waits for nodes.",
        "next": "",
    }


def test_the_manifest_goes_to_a_new_file_and_never_over_one_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    ran = fovea("jobs", "import", EXAMPLE, "-o", file).ok()
    assert ran.out == ""
    file.write_text("edited")
    again = fovea("jobs", "import", EXAMPLE, "-o", file)
    assert (again.code, file.read_text()) == (1, "edited")
    assert f"{file} exists already: choose another file or remove it" in again.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "standard input is empty"),
        ("kind: [", "standard input is no YAML"),
        ("a: 1\n---\nb: 2\n", "standard input holds 2 documents, one is expected"),
        ("scaleTier: BASIC\nscaleTier: CUSTOM\n", "line 1: the key scaleTier is there twice: remove one of them"),
        ('{"scaleTier": "BASIC", "scaleTier": "CUSTOM"}', "the key scaleTier is there twice"),
        ("just words", "standard input cannot be imported: it holds a str, not a TFJob"),
        ('{"a": ' + "[" * 100_000, "standard input is too deep: no job is"),
        (
            "kind: PyTorchJob\napiVersion: kubeflow.org/v1\n",
            "cannot be imported: it holds kind PyTorchJob of kubeflow.org",
        ),
        ("a: &a {b: *a}", "found unconstructable recursive node"),
    ],
)
def test_what_is_no_source_is_an_error_that_names_the_file(text: str, message: str) -> None:
    ran = fovea("jobs", "import", "-", stdin=text)
    assert ran.code == 1
    assert ran.out == ""
    assert message in ran.err
    assert ran.err.startswith("ERROR: ")


def test_json_with_tabs_is_read_which_no_yaml_is() -> None:
    assert "\t" in SOURCES["cloud-ml-image"].read_text()
    assert yaml.safe_load(fovea("jobs", "import", SOURCES["cloud-ml-image"]).ok().out)["metadata"]["name"].startswith(
        "pets-"
    )


def test_keys_and_dates_are_read_as_kubernetes_reads_them() -> None:
    text = EXAMPLE.read_text().replace("labels: {team: vision}", "labels: {2: two, on: 2023-04-12}")
    job = yaml.safe_load(fovea("jobs", "import", "-", stdin=text).ok().out)
    assert job["metadata"]["labels"] == {"2": "two", "on": "2023-04-12"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--machine-type", "boss=large"], "'boss' is no role: write chief, worker, ps"),
        (["--machine-type", "large"], "'large' is not name=value"),
        (["--name"], "requires an argument"),
    ],
)
def test_wrong_usage_ends_with_2(words: list[str], message: str) -> None:
    ran = fovea("jobs", "import", EXAMPLE, *words)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


def test_the_roles_of_the_flag_are_those_of_the_sdk() -> None:
    assert job_import.ROLES == options.ROLES
