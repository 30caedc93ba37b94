"""Parts of the runtime that need no TensorFlow: directories, strategy, position, signals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fovea_api.contract import environment, exit_codes
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_trainers.errors import DataError, FlagError, TrainerError
from fovea_trainers.runtime import curves, placement, roles, strategy
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.roles import Role
from fovea_trainers.runtime.workspace import Workspace


def test_a_pod_s_directories_come_from_the_contract():
    workspace = Workspace.from_environment(
        environment.of_trainer("digits", checkpoint_every_steps=200, checkpoint_keep=5, gpus=2)
    )
    assert workspace == Workspace(
        inputs=Path("/fovea/inputs"),
        checkpoints=Path("/fovea/checkpoints"),
        model=Path("/fovea/model"),
        output=Path("/fovea/output"),
        cache=Path("/fovea/cache"),
        logs=Path("/fovea/logs"),
        progress=Path("/fovea/progress/progress.jsonl"),
        job="digits",
        checkpoint_every_steps=200,
        checkpoint_keep=5,
        gpus=2,
    )


def test_a_laptop_needs_no_variables():
    workspace = Workspace.from_environment({})
    assert (workspace.checkpoints, workspace.model) == (Path("fovea-out/checkpoints"), Path("fovea-out/model"))
    assert (workspace.job, workspace.checkpoint_every_steps, workspace.checkpoint_keep) == ("", None, 3)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_malformed_number_in_the_environment_names_its_variable(text):
    with pytest.raises(FlagError, match=environment.CHECKPOINT_KEEP):
        Workspace.from_environment({environment.CHECKPOINT_KEEP: text})


INPUTS = {
    "the flag wins": ("given", ["data"], "given"),
    "the input named data": ("", ["data", "vocabulary"], "inputs/data"),
    "the only input": ("", ["digits"], "inputs/digits"),
}


@pytest.mark.parametrize(("flag", "names", "expected"), INPUTS.values(), ids=INPUTS.keys())
def test_training_data_is_found(tmp_path, monkeypatch, flag, names, expected):
    monkeypatch.chdir(tmp_path)
    for name in names:
        (tmp_path / "inputs" / name).mkdir(parents=True)
    assert Workspace.from_environment({environment.INPUT_DIR: "inputs"}).data(flag) == Path(expected)


@pytest.mark.parametrize(("names", "words"), [([], "has no inputs"), (["a", "b"], "several inputs .* data: a, b")])
def test_missing_training_data_is_refused_with_the_remedy(tmp_path, names, words):
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"{words}; give --data=DIR"):
        Workspace.from_environment({environment.INPUT_DIR: str(tmp_path)}).data("")


def place(spec, gpus=0, *, jit=False):
    with Interruption() as interruption:
        return placement.select(spec, Role.of(spec), gpus, interruption, {}, jit=jit)


def test_a_single_task_runs_alone_whatever_tf_config_calls_it():
    assert isinstance(place(None), strategy.Single)
    assert isinstance(place(ClusterSpec({"chief": ("a:1",)}, "chief", 0)), strategy.Single)


REFUSED = {
    "servers without a worker": (ClusterSpec({"chief": ("a:1",), "ps": ("b:1",)}, "chief", 0), "needs a worker"),
    "servers without a chief": (ClusterSpec({"worker": ("a:1",), "ps": ("b:1",)}, "worker", 0), "needs a chief"),
}


@pytest.mark.parametrize(("spec", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_cluster_that_no_strategy_takes_is_refused(spec, words):
    with pytest.raises(TrainerError, match=words):
        place(spec)


def test_an_evaluator_is_alone_whatever_the_cluster_of_the_others():
    others = {"chief": ("a:1",), "worker": ("b:1",), "ps": ("c:1",)}
    assert isinstance(place(ClusterSpec(others, "evaluator", 0)), strategy.Single)


SEVERAL = {
    "several GPUs": (None, 2, "2 GPUs"),
    "parameter servers": (
        ClusterSpec({"chief": ("a:1",), "worker": ("b:1",), "ps": ("c:1",)}, "worker", 0),
        0,
        "3 processes",
    ),
    "several workers": (ClusterSpec({"worker": ("a:1", "b:1")}, "worker", 1), 1, "2 processes"),
}


@pytest.mark.parametrize(("spec", "gpus", "words"), SEVERAL.values(), ids=SEVERAL.keys())
def test_xla_compiles_the_step_of_one_device_alone(spec, gpus, words):
    with pytest.raises(TrainerError, match=f"--jit .* here are {words}, .*: leave --jit out"):
        place(spec, gpus, jit=True)


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_single_task_with_one_device_takes_jit(gpus):
    assert isinstance(place(None, gpus, jit=True), strategy.Single)


def test_tf_config_that_is_no_json_is_refused():
    with pytest.raises(TrainerError, match=r"TF_CONFIG: .*; unset it to train in one process"):
        roles.cluster({environment.TF_CONFIG: "not json"})


ROLES = {
    "a single process": (None, "chief"),
    "one task, whatever its type": (ClusterSpec({"worker": ("a:1",)}, "worker", 0), "chief"),
    "a chief": (ClusterSpec({"chief": ("a:1",), "ps": ("b:1",)}, "chief", 0), "chief"),
    "a chief by its old name": (ClusterSpec({"master": ("a:1",), "ps": ("b:1",)}, "master", 0), "chief"),
    "the first worker beside a chief": (ClusterSpec({"chief": ("a:1",), "worker": ("b:1",)}, "worker", 0), "worker"),
    "the first of workers alone": (ClusterSpec({"worker": ("a:1", "b:1")}, "worker", 0), "chief"),
    "the second of workers alone": (ClusterSpec({"worker": ("a:1", "b:1")}, "worker", 1), "worker"),
    "a parameter server": (ClusterSpec({"chief": ("a:1",), "ps": ("b:1",)}, "ps", 0), "ps"),
    "an evaluator, which no cluster lists": (ClusterSpec({"chief": ("a:1",)}, "evaluator", 0), "evaluator"),
}


@pytest.mark.parametrize(("spec", "role"), ROLES.values(), ids=ROLES.keys())
def test_the_role_of_a_process_follows_from_its_cluster(spec, role):
    assert roles.Role.of(spec) == role


def test_an_unknown_type_of_task_is_refused_with_those_that_there_are():
    spec = ClusterSpec({"chief": ("a:1",), "boss": ("b:1",)}, "boss", 0)
    with pytest.raises(TrainerError, match="task type 'boss' is none of chief, worker, ps, evaluator"):
        roles.Role.of(spec)


def test_a_scratch_workspace_reads_the_same_and_writes_elsewhere(tmp_path):
    workspace = Workspace.from_environment(environment.of_trainer("digits", gpus=2))
    scratch = workspace.scratch(tmp_path)
    written = (scratch.checkpoints, scratch.model, scratch.output, scratch.logs, scratch.progress)
    assert all(path.is_relative_to(tmp_path) for path in written)
    assert (scratch.inputs, scratch.job, scratch.gpus) == (workspace.inputs, "digits", 2)


def test_a_member_s_own_file_of_progress_stays_when_the_rest_goes_to_scratch(tmp_path):
    workspace = Workspace.from_environment(environment.of_trainer("digits", gpus=2))
    scratch = workspace.scratch(tmp_path, own_progress=True)
    assert scratch.progress == workspace.progress
    assert all(path.is_relative_to(tmp_path) for path in (scratch.checkpoints, scratch.output, scratch.logs))


STOPPING = {
    "a loss that falls": ([3.0, 2.0, 1.0, 0.5], False),
    "one bad epoch": ([1.0, 2.0, 0.5, 0.6], False),
    "two bad epochs in a row": ([1.0, 2.0, 1.5], True),
    "standing still": ([1.0, 1.0, 1.0], True),
    "falling by less than min_delta": ([1.0, 0.95, 0.91], True),
}


@pytest.mark.parametrize(("losses", "stops"), STOPPING.values(), ids=STOPPING.keys())
def test_early_stopping_waits_for_patience(losses, stops):
    position = Position()
    for loss in losses:
        position.watch(loss, min_delta=0.1 if "0.95" in str(losses) else 0.0)
    assert position.gives_up(2) is stops
    assert not position.gives_up(3)
    assert not position.gives_up(None)


def test_the_best_epoch_is_the_first_with_the_lowest_validation_loss():
    position = Position()
    assert position.best_epoch is None
    for loss in (3.0, 1.0, 2.0, 1.0):
        position.close_epoch({"loss": 0.5, "val_loss": loss})
    assert position.best_epoch == 2
    assert position.last_metrics() == {"loss": 0.5, "val_loss": 1.0}


def test_a_curve_is_drawn_of_what_was_measured():
    history = [{"epoch": 1, "step": 5, "loss": 0.5}, {"epoch": 2, "step": 10, "loss": 0.25}]
    assert curves.lines(history, "loss") == {"training": [(1, 0.5), (2, 0.25)]}
    assert curves.lines([{**entry, "val_loss": 1.0} for entry in history], "loss").keys() == {"training", "validation"}
    assert curves.lines([], "loss") == {}


def test_a_position_keeps_every_bit_through_json():
    position = Position(step=7, start=3, epoch=1, batch=2, best=0.1 + 0.2, waited=1, seconds=1 / 3)
    position.history.append({"epoch": 1, "step": 5, "loss": 2 / 3})
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


def test_a_signal_is_a_request_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_interrupts_at_once():
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


STOPPED = """
import os, signal, sys
from fovea_trainers.runtime.interruption import Interruption
with Interruption(saves=False) as interruption:
    interruption.saves = {saves}
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        sys.exit("it may be caught")
    print("goes on", interruption.requested)
"""


def test_a_stop_ends_the_process_at_once_as_long_as_there_is_nothing_to_save():
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.format(saves=False)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (exit_codes.RESTART, "")
    assert "asked to stop; the same command begins again" in done.stderr
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.format(saves=True)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "goes on True\n")
