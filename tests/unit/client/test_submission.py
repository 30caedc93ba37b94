"""From the command line's words to a TrainingJob's manifest."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fovea.sdk import InvalidError, submission
from fovea.sdk.submission import Submission
from fovea_api.v1alpha1 import TrainingJob
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import fovea
from support.jobs import training_job

JOB = "kind: TrainingJob\napiVersion: fovea.dev/v1alpha1"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--epochs=10"], {"epochs": 10}),
        (["--epochs", "10", "--rate", "0.5"], {"epochs": 10, "rate": 0.5}),
        (["epochs=10", "name=x"], {"epochs": 10, "name": "x"}),
        (["--verbose"], {"verbose": True}),
        (["--verbose", "--epochs=1"], {"verbose": True, "epochs": 1}),
        (["--early-stopping=false"], {"early-stopping": False}),
        (["--offset", "-3"], {"offset": -3}),
        (["--text=a=b"], {"text": "a=b"}),
        (["--empty="], {"empty": ""}),
    ],
)
def test_user_arguments_are_read_as_a_program_reads_its_flags(words: list[str], expected: dict[str, Any]) -> None:
    assert submission.arguments(words) == expected


@pytest.mark.parametrize("words", [["epochs"], ["--=3"], ["---x=1"], ["--a b=1"]])
def test_a_word_that_is_no_argument_is_named(words: list[str]) -> None:
    with pytest.raises(InvalidError, match="is not --name=value"):
        submission.arguments(words)


@given(st.text(max_size=20))
def test_a_value_reads_back_as_it_was_typed(text: str) -> None:
    value = submission.scalar(text)
    assert (str(value).lower() if isinstance(value, bool) else str(value)) == text


@pytest.mark.parametrize(("text", "kind"), [("10", int), ("-1", int), ("0.01", float), ("true", bool), ("1.10", str)])
def test_numbers_are_typed_unless_that_would_change_them(text: str, kind: type) -> None:
    assert type(submission.scalar(text)) is kind


def test_the_manifest_holds_what_was_said_and_nothing_else() -> None:
    assert Submission(name="a", recipe="image-classifier").manifest()["spec"] == {
        "trainer": {"recipe": "image-classifier"}
    }


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"recipe": "image-classifier"}, {"early-stopping": False, "no-such": True, "epochs": 3}),
        ({"image": "registry.example.com/train:1"}, {"no-early-stopping": True, "no-such": True, "epochs": 3}),
    ],
    ids=["a recipe's switch is off", "an own program's flag is its own"],
)
def test_a_switch_of_a_recipe_is_turned_off_as_its_help_says(recipe: dict[str, Any], expected: dict[str, Any]) -> None:
    args = submission.arguments(["--no-early-stopping", "--no-such", "--epochs=3"])
    assert Submission(name="a", args=args, **recipe).manifest()["spec"]["args"] == expected


def test_every_word_has_its_place_in_the_spec() -> None:
    manifest = Submission(
        name="digits",
        image="registry.example.com/train:1",
        command=("python", "-m", "train"),
        args={"epochs": 3},
        inputs={"data": "s3://fovea/vision/datasets/digits"},
        input_modes={"data": "Stream"},
        scale_tier="CUSTOM",
        machine_type="standard-gpu",
        model="digits",
        deploy=True,
        cache="features",
        checkpoint_from="job://monday",
        checkpoint_every_steps=50,
        backoff_limit=1,
        max_running_seconds=3600,
        max_wait_seconds=60,
        labels={"team": "vision"},
        suspend=True,
    ).manifest()
    assert manifest["metadata"] == {"name": "digits", "labels": {"team": "vision"}}
    assert manifest["spec"] == {
        "trainer": {"container": {"image": "registry.example.com/train:1", "command": ["python", "-m", "train"]}},
        "args": {"epochs": 3},
        "inputs": {"data": "s3://fovea/vision/datasets/digits"},
        "inputModes": {"data": "Stream"},
        "scaleTier": "CUSTOM",
        "roles": {"chief": {"machineType": "standard-gpu"}},
        "checkpoint": {"from": "job://monday", "everySteps": 50},
        "cache": {"name": "features"},
        "model": {"name": "digits", "deploy": True},
        "runPolicy": {"backoffLimit": 1, "maxRunningSeconds": 3600, "maxWaitSeconds": 60},
        "suspend": True,
    }
    # Every field is one that the API knows: nothing is lost when it is read.
    read = TrainingJob.model_validate(manifest).dump()["spec"]
    for field, value in manifest["spec"].items():
        assert read[field] == value or read[field].items() >= value.items()


def test_the_roles_of_a_distributed_job_are_merged_into_those_of_the_file() -> None:
    base = {"spec": {"trainer": {"recipe": "tabular"}, "roles": {"ps": {"machineType": "large"}, "chief": {}}}}
    wanted = Submission(
        name="a",
        base=base,
        distribution="ParameterServer",
        sync=True,
        workers=4,
        worker_machine_type="gpu",
        parameter_servers=2,
        evaluator=True,
    )
    spec = wanted.manifest()["spec"]
    assert (spec["distribution"], spec["sync"]) == ("ParameterServer", True)
    assert spec["roles"] == {
        "chief": {},
        "worker": {"count": 4, "machineType": "gpu"},
        "ps": {"count": 2, "machineType": "large"},
        "evaluator": {},
    }
    TrainingJob.model_validate(wanted.manifest())


def test_flags_win_over_the_base_and_leave_the_rest(tmp_path: Path) -> None:
    base = {
        "metadata": {"name": "old", "namespace": "vision", "labels": {"a": "1"}},
        "spec": {"trainer": {"recipe": "image-classifier"}, "args": {"epochs": 10, "seed": 1}, "suspend": False},
    }
    manifest = Submission(name="new", base=base, args={"epochs": 20}, labels={"b": "2"}).manifest()
    assert manifest["metadata"] == {"name": "new", "namespace": "vision", "labels": {"a": "1", "b": "2"}}
    assert manifest["spec"]["args"] == {"epochs": 20, "seed": 1}
    assert base["spec"]["args"] == {"epochs": 10, "seed": 1}


CONTAINER = {
    "image": "registry.example.com/train:1",
    "command": ["python", "-m", "train"],
    "env": [{"name": "A", "value": "b"}],
    "imagePullSecrets": ["team"],
}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            {"image": "registry.example.com/train:2"},
            {"container": {**CONTAINER, "image": "registry.example.com/train:2"}},
        ),
        ({"command": ("./run",)}, {"container": {**CONTAINER, "command": ["./run"]}}),
        (
            {"image": "registry.example.com/train:2", "command": ("./run",)},
            {"container": {**CONTAINER, "image": "registry.example.com/train:2", "command": ["./run"]}},
        ),
        ({"recipe": "image-classifier"}, {"recipe": "image-classifier"}),
    ],
    ids=["another image", "another command", "both", "a recipe instead"],
)
def test_flags_change_what_they_name_of_a_container_and_nothing_else(
    flags: dict[str, Any], expected: dict[str, Any]
) -> None:
    base = {"spec": {"trainer": {"container": CONTAINER}}}
    assert Submission(name="a", base=base, **flags).manifest()["spec"]["trainer"] == expected


def test_an_image_takes_the_place_of_a_recipe() -> None:
    manifest = Submission(name="a", base={"spec": {"trainer": {"recipe": "image-classifier"}}}, image="x:1").manifest()
    assert manifest["spec"]["trainer"] == {"container": {"image": "x:1"}}


@pytest.mark.parametrize(
    "more",
    [{"recipe": "image-classifier"}, {"base": {"spec": {"trainer": {"recipe": "image-classifier"}}}}, {}],
    ids=str,
)
def test_a_command_without_a_container_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="--command needs a container, by --image IMAGE or by the file's trainer"):
        Submission(name="a", command=("./run",), **more).manifest()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"model": "m2"}, {"name": "m2", "deploy": True}),
        ({"model": "m2", "deploy": True}, {"name": "m2", "deploy": True}),
        ({"deploy": True}, {"name": "m1", "deploy": True}),
        ({}, {"name": "m1", "deploy": True}),
    ],
)
def test_a_model_of_the_file_is_renamed_or_deployed(flags: dict[str, Any], expected: dict[str, Any]) -> None:
    base = {"spec": {"model": {"name": "m1", "deploy": True}}}
    assert Submission(name="a", base=base, **flags).manifest()["spec"]["model"] == expected


def test_deploy_is_enough_where_the_file_names_a_model() -> None:
    manifest = Submission(name="a", base={"spec": {"model": {"name": "m1"}}}, deploy=True).manifest()
    assert manifest["spec"]["model"] == {"name": "m1", "deploy": True}


def test_empty_sections_of_a_base_are_filled() -> None:
    base = dict.fromkeys(("metadata", "spec"))
    assert Submission(name="a", base=base, recipe="image-classifier", labels={"b": "2"}).manifest()["metadata"] == {
        "name": "a",
        "labels": {"b": "2"},
    }


@pytest.mark.parametrize("name", ["Digits", "1st", "a_b", "a" * 41, ""])
def test_a_name_that_no_pod_could_bear_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="use at most 40 of a-z"):
        Submission(name=name, recipe="image-classifier").manifest()


def test_deploy_without_a_model_is_refused() -> None:
    with pytest.raises(InvalidError, match="--deploy needs --model"):
        Submission(name="a", recipe="image-classifier", deploy=True).manifest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a: [", "is no YAML"),
        ("- 1", "holds a list, not a TrainingJob"),
        ("kind: Pod", "apply other kinds with `kubectl apply -f"),
        ("kind: TrainingJob\napiVersion: fovea.dev/v9", "has apiVersion fovea.dev/v9: this client knows"),
        (JOB, "metadata.name is missing"),
        (f"{JOB}\nmetadata:\nspec:", "metadata.name is missing"),
        (f"{JOB}\nmetadata: digits", "metadata is 'digits', not a mapping"),
        (
            f"{JOB}\nmetadata: {{name: a}}\nspec: [x]",
            r"spec is \['x'\], not a mapping .* `kubectl explain trainingjob.spec`",
        ),
        (
            f"{JOB}\nmetadata: {{name: a}}\nspec: {{trainer: image-classifier}}",
            "spec.trainer is 'image-classifier', not a mapping",
        ),
        (
            f"{JOB}\nmetadata: {{name: a}}\nspec: {{args: [--epochs=10]}}",
            r"spec.args is \['--epochs=10'\], not a mapping",
        ),
        (f"{JOB}\nmetadata: {{name: a}}\nspec: {{args: {{day: 2024-13-45}}}}", "is no YAML"),
    ],
)
def test_a_file_that_holds_no_job_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(InvalidError, match=message):
        submission.load(file)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        " {trainer: {recipe: [a]}}",
        " {trainer: {recipe: image-classifier}, args: {1: 2, epochs: [3], seed: 2024-01-01, image-size: null}}",
    ],
)
def test_a_file_that_only_the_api_server_can_judge_is_left_to_it(tmp_path: Path, spec: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(f"{JOB}\nmetadata: {{name: a}}\nspec:{spec}")
    ran = fovea("jobs", "submit", file, "--print").ok()
    assert ran.err == ""
    fovea("jobs", "submit", "b", "--config", file, "--image", "x:1", "--model", "m", "--arg", "a=b", "--print").ok()
    fovea("jobs", "submit", "b", "--config", file, "--arg", "no-a=true", "--print").ok()


def test_several_jobs_are_printed_as_one_document_of_the_format(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump_all([training_job("one"), training_job("two")]))
    ran = fovea("jobs", "submit", file, "--print", "--format", "json").ok()
    assert [job["metadata"]["name"] for job in ran.json()] == ["one", "two"]
    assert len(list(yaml.safe_load_all(fovea("jobs", "submit", file, "--print").ok().out))) == 2


def test_a_file_and_a_flag_that_name_two_namespaces_are_refused_together(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    document = training_job("a")
    document["metadata"]["namespace"] = "vision"
    file.write_text(yaml.safe_dump(document))
    refused = fovea("jobs", "submit", file, "-n", "other", "--print")
    assert refused.code == 2
    assert "own.yaml puts job a into namespace vision, --namespace says other: pass --namespace vision" in refused.err
    fovea("jobs", "submit", file, "-n", "vision", "--print").ok()
    ran = fovea("jobs", "submit", "b", "--config", file, "-n", "other", "--print", "--format", "json").ok()
    assert ran.json()["metadata"] == {"name": "b", "namespace": "other"}
    ran = fovea("jobs", "submit", "b", "--config", file, "--print", "--format", "json").ok()
    assert ran.json()["metadata"]["namespace"] == "vision"


EXPORTED = {
    **training_job("digits", cancel=True),
    "metadata": {
        "name": "digits",
        "namespace": "vision",
        "labels": {"team": "a"},
        "annotations": {"note": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "uid": "u",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-05-01T11:00:00Z",
        "deletionTimestamp": "2026-05-01T12:00:00Z",
        "deletionGracePeriodSeconds": 0,
        "finalizers": ["foregroundDeletion"],
        "managedFields": [{"manager": "fovea-client"}],
        "ownerReferences": [{"kind": "CronJob", "name": "nightly"}],
    },
    "status": {"state": "CANCELLED"},
}
"""A job as the cluster holds it."""
OWN = {"namespace": "vision", "labels": {"team": "a"}, "annotations": {"note": "b"}}


def test_a_job_that_was_read_from_a_cluster_is_submitted_again_without_what_the_cluster_wrote(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(EXPORTED))
    again = fovea("jobs", "submit", file, "--print", "--format", "json").ok().json()
    assert again == {**training_job("digits", cancel=True), "metadata": {"name": "digits", **OWN}}
    other = fovea("jobs", "submit", "digits-2", "--config", file, "--print", "--format", "json").ok().json()
    assert other == {**training_job(), "metadata": {"name": "digits-2", **OWN}}
    assert submission.checked(EXPORTED, "the manifest") == again


def test_owners_and_finalizers_of_a_job_that_no_cluster_had_are_kept() -> None:
    metadata = {
        "name": "a",
        "finalizers": ["example.com/keep"],
        "ownerReferences": [{"kind": "CronJob", "name": "nightly"}],
    }
    document = training_job() | {"metadata": metadata}
    assert submission.checked(document, "the manifest") == document


def test_a_misspelt_field_is_left_for_the_api_server_to_name() -> None:
    document = training_job() | {"metadata": {"name": "a", "lables": {}}, "stauts": {}}
    assert submission.checked(document, "the manifest") == document


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InvalidError, match=r"cannot read nowhere.yaml: No such file"):
        submission.load("nowhere.yaml")


def test_an_unknown_flag_of_a_recipe_is_warned_about_and_sent() -> None:
    ran = fovea(
        "jobs", "submit", "a", "--recipe", "image-classifier", "--arg", "lerning-rate=1", "--print", "--format", "json"
    ).ok()
    assert "WARNING: a: unknown flag --lerning-rate for image-classifier; did you mean --learning-rate?" in ran.err
    assert ran.json()["spec"]["args"] == {"lerning-rate": 1}
