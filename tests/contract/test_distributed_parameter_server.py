"""Parameter servers, asynchronous: a chief, workers and servers as processes on loopback."""

import json
import signal

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_trainers.runtime.parameter_server import bring
from support import training
from support.distributed import distributed
from tensorflow.python.distribute.coordinator.values import RemoteValueImpl

PICTURES = 20
"""Per class, of three: 48 training pictures, 10 steps of 5 an epoch, the last one of 3."""
STEPS = 10
ROLES = {"chief": 1, "worker": 2, "ps": 1}
FLAGS = ("--batch-size=5", "--optimizer=adam", "--learning-rate=0.003", "--no-augment", "--decay=0")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=PICTURES)


def command(data, *flags):
    return ("image-classifier", f"--data={data}", *training.FLAGS, *FLAGS, *flags)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """A run that nothing disturbs."""
    root = tmp_path_factory.mktemp("whole")
    with distributed(root, ROLES, *command(data, "--epochs=6", "--checkpoint-every-steps=7")) as run:
        assert run.codes() == dict.fromkeys(["chief", "worker 0", "worker 1", "ps 0"], exit_codes.OK), run.lines
    return root, run


def require_every_picture_once(history):
    """Hits of 48: one picture more or less would make a ratio that is none of them."""
    for epoch in history:
        assert epoch["accuracy"] * 48 == pytest.approx(round(epoch["accuracy"] * 48), abs=1e-9), epoch


def test_every_step_and_every_picture_of_an_epoch_counts_once(whole):
    root, _ = whole
    result = training.evaluation(root)
    assert (result["steps"], result["epochs"]) == (6 * STEPS, 6)
    require_every_picture_once(result["history"])
    newest = root / environment.CHECKPOINT_DIR.lower() / str(training.checkpoints(root)[-1])
    reader = tf.train.load_checkpoint(str(newest / "variables"))
    iterations = reader.get_tensor("optimizer/0/.ATTRIBUTES/VARIABLE_VALUE")
    assert iterations == 6 * STEPS, "what Adam counts"
    assert json.loads((newest / "state.json").read_text(encoding="utf-8"))["position"]["step"] == 6 * STEPS


def test_it_learns_and_is_exported_evaluated_and_served_from_the_chief(whole):
    root, _ = whole
    result = training.evaluation(root)
    assert result["metrics"]["val_accuracy"] >= 0.9
    model = tf.saved_model.load(str(training.model_folder(root)))
    answer = model.signatures["pixels"](pixels=tf.zeros([2, 16, 16, 3]))
    assert np.allclose(tf.reduce_sum(answer["scores"], axis=1), 1)


def test_workers_serve_and_write_nothing(whole):
    _, run = whole
    assert len(run.said("serves the chief")) == 3
    assert not run.said("ps 0 | reading"), "a server reads no data"
    assert not [line for line in run.lines if line.startswith("worker") and "epoch" in line]


def test_a_lost_worker_is_done_without_a_frozen_one_is_named_and_the_run_resumes_where_its_checkpoint_is(
    tmp_path, data, capfd
):
    flags = command(data, "--epochs=400", "--checkpoint-every-steps=5")
    with distributed(tmp_path, ROLES, *flags, **{environment.PEER_SECONDS: "8"}) as run:
        run.step(5)
        run.kill("worker 0")
        at = max(training.checkpoints(tmp_path))
        run.step(at + 20)
        run.signal("worker 1", signal.SIGSTOP)
        assert run.named_and_ended("worker 1") == exit_codes.RESTART, run.lines
        assert run.member("ps 0").process.returncode == exit_codes.RESTART
    newest = training.checkpoints(tmp_path)[-1]
    state = tmp_path / environment.CHECKPOINT_DIR.lower() / str(newest) / "state.json"
    position = json.loads(state.read_text(encoding="utf-8"))["position"]
    assert position["epoch"] * STEPS + position["batch"] == newest
    require_every_picture_once(position["history"])
    assert training.train(tmp_path, data, *FLAGS, f"--max-steps={newest + 3}", "--epochs=400") == exit_codes.OK
    assert f"resumed own checkpoint {newest}" in capfd.readouterr().err
    assert training.checkpoints(tmp_path)[-1] == newest + 3


def test_a_stop_of_a_server_makes_the_chief_save_every_step_that_was_handed_out(tmp_path, data):
    with distributed(tmp_path, {**ROLES, "worker": 1}, *command(data, "--epochs=400")) as run:
        run.step(STEPS)
        run.signal("ps 0", signal.SIGTERM)
        assert run.training.wait() == exit_codes.RESTART
        newest = training.checkpoints(tmp_path)[-1]
        assert run.said(f"asked to stop; checkpoint {newest} is written"), run.lines
        assert {member.process.returncode for member in run.training.members} == {exit_codes.RESTART}


def test_workers_and_servers_end_with_a_chief_that_is_killed(tmp_path, data):
    with distributed(tmp_path, {**ROLES, "worker": 1}, *command(data, "--epochs=400")) as run:
        run.step(STEPS)
        run.kill("chief")
        codes = run.codes()
        assert codes == {
            "chief": 128 + signal.SIGKILL,
            "worker 0": exit_codes.RESTART,
            "ps 0": exit_codes.RESTART,
        }, run.lines


def test_a_server_that_dies_while_the_chief_writes_a_checkpoint_leaves_only_whole_ones(tmp_path, data):
    folder = tmp_path / environment.CHECKPOINT_DIR.lower()
    with distributed(
        tmp_path, {**ROLES, "worker": 1}, *command(data, "--epochs=400", "--checkpoint-every-steps=2")
    ) as run:
        run.step(STEPS)
        run.until(lambda: list(folder.glob(".staging-*")), "a checkpoint is being written")
        run.kill("ps 0")
        assert run.training.wait() == exit_codes.RESTART, run.lines
    newest = training.checkpoints(tmp_path)[-1]
    assert training.trained_bytes(tmp_path), "each variable of the newest one can be read"
    assert training.train(tmp_path, data, *FLAGS, f"--max-steps={newest + 3}", "--epochs=400") == exit_codes.OK
    assert training.checkpoints(tmp_path)[-1] == newest + 3


class Elusive(RemoteValueImpl):
    """The result of a step whose worker dies before it is copied, so often as said."""

    def __init__(self, losses: int) -> None:
        super().__init__(None, None)
        self.losses = losses

    def _copy_to_local(self):
        if self.losses:
            self.losses -= 1
            raise tf.errors.UnavailableError(None, None, "from remote target /job:worker/replica:0/task:0")
        return self._values


def test_a_result_that_is_lost_with_its_worker_is_waited_for_since_the_step_is_handed_out_once_more():
    ended = Elusive(losses=2)
    ended._set_values(tf.constant(7))
    assert bring(lambda value: value.fetch(), ended) == 7
    assert ended.losses == 0


def test_a_step_that_has_failed_is_not_waited_for():
    ended = Elusive(losses=1)
    ended._set_error(tf.errors.UnavailableError(None, None, "from remote target /job:ps/replica:0/task:0"))
    with pytest.raises(tf.errors.UnavailableError, match="/job:ps"):
        bring(lambda value: value.fetch(), ended)
