"""From the command line's words to a TrainingJob's manifest."""

from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import InvalidError, submission
from fovea.sdk.submission import Submission
from fovea_api.v1alpha1 import TrainingJob
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import fovea


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


def test_flags_win_over_the_base_and_leave_the_rest(tmp_path: Path) -> None:
    base = {
        "metadata": {"name": "old", "namespace": "vision", "labels": {"a": "1"}},
        "spec": {"trainer": {"recipe": "image-classifier"}, "args": {"epochs": 10, "seed": 1}, "suspend": False},
    }
    manifest = Submission(name="new", base=base, args={"epochs": 20}, labels={"b": "2"}).manifest()
    assert manifest["metadata"] == {"name": "new", "namespace": "vision", "labels": {"a": "1", "b": "2"}}
    assert manifest["spec"]["args"] == {"epochs": 20, "seed": 1}
    assert base["spec"]["args"] == {"epochs": 10, "seed": 1}


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
        ("kind: TrainingJob\napiVersion: fovea.dev/v1alpha1", "metadata.name is missing"),
    ],
)
def test_a_file_that_holds_no_job_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(InvalidError, match=message):
        submission.load(file)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InvalidError, match=r"cannot read nowhere.yaml: No such file"):
        submission.load("nowhere.yaml")


def test_an_unknown_flag_of_a_recipe_is_warned_about_and_sent() -> None:
    ran = fovea(
        "jobs", "submit", "a", "--recipe", "image-classifier", "--arg", "lerning-rate=1", "--print", "--format", "json"
    ).ok()
    assert "WARNING: a: unknown flag --lerning-rate for image-classifier; did you mean --learning-rate?" in ran.err
    assert ran.json()["spec"]["args"] == {"lerning-rate": 1}
