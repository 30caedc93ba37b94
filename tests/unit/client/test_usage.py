"""What the command line refuses before it asks a cluster, and the codes it ends with."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
from click.testing import CliRunner
from fovea.cli import exit_codes
from fovea.cli.jobs import CONTAINERS
from fovea.cli.main import cli
from fovea.cli.options import seconds
from fovea.cli.predictions import CONTAINERS as WORKER_CONTAINERS
from fovea.cli.reference import page
from fovea.cli.submit_flags import DISTRIBUTIONS, SCALE_TIERS
from fovea.sdk import PredictionError, Predictor, pods
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_api.v1alpha1.roles import Distribution, ScaleTier
from support.command_line import fovea


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["jobs", "submit"], "Missing argument 'NAME|FILE…'"),
        (["jobs", "submit", "a", "--arg", "x=1"], "--arg: a job from flags needs --recipe, --image or --config too"),
        (["jobs", "submit", "a", "--", "--x=1"], "arguments after --: a job from flags needs --recipe"),
        (["jobs", "submit", "a", "--recipe", "r", "--image", "i"], "--recipe and --image exclude each other"),
        (["jobs", "submit", "a", "b", "--recipe", "r"], "exactly one NAME is expected, not a b"),
        (["jobs", "submit", "a", "--recipe", "r", "--wait", "--stream-logs"], "exclude each other"),
        (
            ["jobs", "submit", "a", "--recipe", "r", "--timeout", "5m"],
            "--timeout is how long --wait or --stream-logs goes",
        ),
        (["jobs", "submit", "a", "--recipe", "r", "--arg", "x"], "'x' is not name=value"),
        (["jobs", "submit", "a", "--recipe", "r", "--max-running", "soon"], "'soon' is not a duration: write 90, 90s"),
        (["jobs", "submit", "a", "--recipe", "r", "--max-running", "inf"], "'inf' is not a duration: write 90, 90s"),
        (["jobs", "wait", "a", "--timeout", "nan"], "'nan' is not a duration: write 90, 90s"),
        (["jobs", "wait", "a", "--timeout", "-5"], "'-5' is not a duration: write 90, 90s"),
        (["jobs", "stream-logs", "a", "--container", "trainr"], "'trainr' is not one of 'trainer', 'fovea-fetch'"),
        (["jobs", "list", "--state", "DONE"], "'DONE' is not one of"),
        (["jobs", "wait"], "Missing argument 'NAME…'"),
        (["predict", "--model", "m", "no-such-file.png"], "'no-such-file.png' does not exist"),
        (["predict", __file__], "Missing option '--model'"),
        (["versions", "create", "--model", "m", "--origin", ".", "--metric", "a=good"], "'a=good': good is no number"),
        (
            ["jobs", "submit", "digits"],
            "there is no file digits: a job of that name from flags needs --recipe, --image",
        ),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(words: list[str], message: str) -> None:
    ran = fovea(*words)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("spec", "tasks"),
    [
        ({}, ("chief-0",)),
        (
            {"distribution": "ParameterServer", "roles": {"worker": {"count": 2}, "ps": {}}},
            ("chief-0", "worker-0", "worker-1", "ps-0"),
        ),
    ],
)
def test_the_tasks_that_can_be_chosen_are_the_members_of_the_job(spec: dict[str, Any], tasks: tuple[str, ...]) -> None:
    document = {"metadata": {"name": "digits"}, "spec": {"trainer": {"recipe": "tabular"}, **spec}}
    assert pods.tasks(TrainingJob.model_validate({"kind": "TrainingJob", **document})) == tasks


def test_the_scale_tiers_and_distributions_that_can_be_chosen_are_those_of_the_api() -> None:
    assert get_args(ScaleTier) == SCALE_TIERS
    assert get_args(Distribution) == DISTRIBUTIONS


def test_the_containers_that_can_be_chosen_are_those_of_a_job_and_of_a_prediction() -> None:
    assert CONTAINERS == pods.CONTAINERS
    assert WORKER_CONTAINERS == pods.WORKER_CONTAINERS


def test_a_command_that_fails_ends_with_1_and_one_message() -> None:
    ran = fovea("jobs", "submit", "no-such-file.yaml")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "ERROR: cannot read no-such-file.yaml: No such file or directory\n"


def test_ctrl_c_ends_with_130_and_says_that_the_job_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fovea.sdk.submission.load", interrupted)
    ran = fovea("jobs", "submit", "job.yaml")
    assert ran.code == 130
    assert "A submitted job goes on" in ran.err


@pytest.mark.parametrize("state", list(JobState))
def test_only_a_job_that_succeeded_ends_with_0(state: JobState) -> None:
    assert (exit_codes.of_state(state) == 0) == (state is JobState.SUCCEEDED)


def test_a_cancelled_job_and_a_timeout_have_codes_of_their_own() -> None:
    codes = [exit_codes.OK, exit_codes.FAILED, exit_codes.USAGE, exit_codes.CANCELLED, exit_codes.TIMEOUT]
    assert len(set(codes)) == len(codes)
    assert exit_codes.of_state(JobState.CANCELLED) == exit_codes.CANCELLED


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_durations_are_written_as_people_write_them(text: str, value: float) -> None:
    assert seconds(None, None, text) == value  # type: ignore[arg-type]


def test_options_of_the_cluster_are_taken_before_and_after_the_verb() -> None:
    for words in (("--kubeconfig", "/nowhere", "jobs", "list"), ("jobs", "list", "--kubeconfig", "/nowhere")):
        ran = fovea(*words)
        assert ran.code == 1
        assert "kubeconfig /nowhere does not exist" in ran.err


def test_every_command_has_help_and_every_verb_an_example() -> None:
    sections = page().split("\n```\n")
    usages = [section for section in sections if section.startswith("Usage: ")]
    assert len(usages) >= 20
    for usage in usages:
        if "COMMAND [ARGS]" not in usage:
            assert "Examples:" in usage, usage


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_calls_fovea_back(shell: str) -> None:
    assert "_FOVEA_COMPLETE" in fovea("completion", shell).ok().out


def test_commands_and_options_are_completed() -> None:
    def complete(line: str) -> list[str]:
        environment = {"_FOVEA_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        result = CliRunner().invoke(cli, env=environment, prog_name="fovea", complete_var="_FOVEA_COMPLETE")
        return [entry.split(",")[1] for entry in result.output.splitlines()]

    assert complete("fovea jobs s") == ["stream-logs", "submit", "suspend"]
    assert complete("fovea jobs submit --scale") == ["--scale-tier"]
    assert complete("fovea jobs list --state ru") == ["running"]


@pytest.mark.parametrize("group", [(), ("jobs",), ("models",), ("versions",), ("deployments",), ("data",)], ids=str)
def test_no_summary_of_a_command_is_cut_in_a_terminal_of_80_columns(group: tuple[str, ...]) -> None:
    listed = fovea(*group, "--help", environment={"COLUMNS": "80"}).out.partition("Commands:")[2]
    assert listed
    assert [line for line in listed.splitlines() if line.endswith("...")] == []


def test_standard_input_is_called_by_its_name() -> None:
    assert fovea("jobs", "submit", "-", stdin="").err == "ERROR: standard input is empty: it must hold a TrainingJob\n"


@pytest.mark.parametrize("address", ["gpu-7", "grpcs://models.example.com", "10.0.0.7:"])
def test_an_endpoint_without_a_port_is_refused_instead_of_waited_for(address: str) -> None:
    ran = fovea("predict", "--model", "m", "--endpoint", address, __file__)
    assert (ran.code, ran.err) == (1, f"ERROR: --endpoint {address} names no port: write HOST:PORT\n")


@pytest.mark.parametrize("scheme", ["unix:", "unix://", "unix-abstract:"])
def test_a_server_on_a_socket_of_this_machine_is_reached(tmp_path: Path, scheme: str) -> None:
    name = str(tmp_path / "server.sock")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_insecure_port(scheme + name)
    server.start()
    try:
        with Predictor("m", endpoint=scheme + name, timeout=20) as predictor, pytest.raises(PredictionError) as caught:
            predictor.status()
    finally:
        server.stop(None)
    assert caught.value.code == "UNIMPLEMENTED", "it answered"
