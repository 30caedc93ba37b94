"""The loop by itself: a model of one weight, updated by a step that the test writes."""

import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from fovea_agent.checkpoints import survey
from fovea_api.contract import environment, exit_codes
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_trainers.common_flags import EarlyStoppingFlags, TrainingFlags
from fovea_trainers.errors import CheckpointDamaged, CheckpointError, Interrupted, NonFiniteLoss, Released, TrainerError
from fovea_trainers.runtime import failures, finite, loop, optimizers, placement, strategy
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.progress import Reporter
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.totals import Total, Totals, total
from fovea_trainers.runtime.training import Training

EPOCH = 4
"""Steps an epoch, of one example each."""


def run(
    root: Path,
    *,
    job: str = "",
    weight: Callable[[int], float] = lambda step: 1.0,
    val_loss: Callable[[], float] = lambda: 1.0,
    epochs: int = 5,
    max_steps: int | None = None,
    patience: int | None = None,
    stream: io.StringIO | None = None,
    stopped: Callable[[], None] | None = None,
    cluster: ClusterSpec | None = None,
    batches: int = EPOCH,
    steps_per_epoch: int = EPOCH,
    checkpoint_every: int = 1,
) -> Position:
    """Train below a folder: step N makes the weight `weight(N)`, after a loss that is a number."""
    variable, loss = tf.Variable(0.0, name="dense/kernel"), tf.Variable(0.0)
    once = tf.ones([1])

    def update(_example: tf.Tensor, weights: tf.Tensor, step: tf.Tensor) -> dict[str, Total]:
        variable.assign(tf.py_function(lambda number: weight(int(number)), [step], tf.float32))
        return {"loss": total(once, weights)}

    def validated() -> Iterable[tuple[tf.Tensor]]:
        if stopped is not None:
            stopped()
        loss.assign(val_loss())
        yield (once,)

    session = begin(root, job, stream or io.StringIO(), cluster)
    config = Config(
        epochs=epochs, batch_size=1, max_steps=max_steps, checkpoint_every_steps=checkpoint_every, patience=patience
    )
    training = Training(
        weights=[variable],
        optimizers=[],
        signature=[tf.TensorSpec([None])],
        update=update,
        totals={"loss": tf.float32},
        evaluate=lambda _example: {"loss": (loss.read_value(), tf.constant(1))},
        dataset=lambda _epoch, first, _shard: [(once,)] * (batches - first),
        steps_per_epoch=steps_per_epoch,
        sets={"val": validated},
    )
    return loop.train(training, config, session).position


@dataclass(frozen=True)
class Config(TrainingFlags, EarlyStoppingFlags):
    patience: int | None = None
    restore_best: bool = False


def begin(root: Path, job: str, stream: io.StringIO, cluster: ClusterSpec | None) -> Session:
    variables = {
        environment.CHECKPOINT_DIR: str(root / "checkpoints"),
        environment.MODEL_DIR: str(root / "model"),
        environment.OUTPUT_DIR: str(root / "output"),
        environment.LOG_DIR: str(root / "logs"),
        environment.PROGRESS_FILE: str(root / "progress.jsonl"),
        environment.CLOUD_ML_JOB: job,
        environment.CHECKPOINT_KEEP: "100",
    }
    if cluster is not None:
        variables[environment.TF_CONFIG] = cluster.to_env()
    made = Session.begin("a recipe", Config(), variables, Interruption())
    return replace(made, reporter=Reporter(made.workspace.progress, stream=stream))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def saved(root: Path) -> list[int]:
    names = [path.name for path in (root / "checkpoints").iterdir()]
    return sorted(int(name) for name in names if not name.startswith("."))


class Waiting(strategy.Single):
    """Of a process that is not the chief."""

    def leave_to_chief(self) -> None:
        raise Released("the chief is done")


def test_a_process_that_is_not_the_chief_measures_nothing(tmp_path):
    def unasked() -> Iterable[tuple[tf.Tensor]]:
        raise AssertionError("the chief alone reads these")

    session = replace(begin(tmp_path, "", io.StringIO(), None), strategy=Waiting())
    with pytest.raises(Released):
        loop.measure(session, signature=[tf.TensorSpec([None])], evaluate=lambda _: {}, sets={"val": unasked})


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_the_last_update_broke_are_not_saved(tmp_path, broken):
    """The loss of a step is computed before its update: it is still a number where the weights are none any more."""
    with pytest.raises(NonFiniteLoss, match="variable dense/kernel became non-finite at step 3: the training diverged"):
        run(tmp_path, weight=lambda step: broken if step == 3 else 1.0, max_steps=3)
    assert saved(tmp_path) == [1, 2]


@pytest.mark.parametrize(
    ("broken", "every", "kept", "when"),
    [(6, 100, [], "in steps 5 to 8"), (5, 3, [3], "in steps 5 to 6"), (8, 3, [3, 6], "in steps 7 to 8")],
)
def test_weights_that_are_no_numbers_end_the_epoch_though_every_loss_is_one(tmp_path, broken, every, kept, when):
    """Units that have died hide what became of their weights: no loss tells, however long training goes on."""
    said = (
        f"variable dense/kernel became non-finite {when}: .* the checkpoints before step {when.split()[2]} are intact"
    )
    with pytest.raises(NonFiniteLoss, match=said):
        run(tmp_path, weight=lambda step: float("inf") if step >= broken else 1.0, checkpoint_every=every)
    assert saved(tmp_path) == kept


def test_what_the_optimizer_keeps_is_looked_at_too():
    """An infinite second moment makes every later update of a weight 0: it stays as it is, a number, and learns nothing."""
    weight = keras.Variable([1.0], name="kernel")
    adam = optimizers.make("adam", [weight], optimizers.inverse_time(0.1, 0.0))
    looked = finite.Finite([weight.value, *adam.variables], 0)
    for step, gradient in ((1, 1.0), (2, 1e30)):
        adam.apply([tf.constant([gradient])], tf.constant(step, tf.int64))
        if step == 1:
            looked.require(step)
    assert bool(tf.reduce_all(tf.math.is_finite(weight.value)))
    with pytest.raises(NonFiniteLoss, match=r"variable adam(_\d+)?/kernel_velocity became non-finite at step 2"):
        looked.require(2)


def test_a_validation_loss_that_is_no_number_is_no_reason_to_stop_early(tmp_path):
    with pytest.raises(NonFiniteLoss, match="the validation loss became non-finite at step 4"):
        run(tmp_path, val_loss=lambda: float("nan"), patience=1)
    assert saved(tmp_path) == [1, 2, 3]


def test_the_bar_s_line_is_ended_however_training_ends(tmp_path):
    stream = Terminal()
    with pytest.raises(NonFiniteLoss):
        run(tmp_path, weight=lambda step: float("nan") if step == 3 else 1.0, stream=stream)
    assert "/4 loss 1.0000" in stream.getvalue().splitlines()[-1]
    assert stream.getvalue().endswith("\n")


UNREADABLE = {
    "an unknown field of the position": lambda state: state["position"].update(batches=1),
    "no run": lambda state: state.pop("run"),
    "an unknown field of the run": lambda state: state["run"].update(name="x"),
    "another format": lambda state: state.update(format=99),
}


@pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("job", ["", "digits"], ids=["on a laptop", "in a pod"])
def test_a_checkpoint_that_cannot_be_understood_is_refused_with_a_remedy_for_the_place(tmp_path, change, job):
    run(tmp_path, max_steps=1, job=job)
    path = tmp_path / "checkpoints" / "1" / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    change(state)
    path.write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(CheckpointError) as refusal:
        run(tmp_path, job=job)
    assert str(refusal.value).startswith(f"checkpoint {path.parent} ")
    remedy = "name another job in spec.checkpoint.from, or drop it" if job else f"remove {path.parent}"
    assert remedy in str(refusal.value)


def test_a_checkpoint_of_the_format_before_goes_on_without_the_sums_of_its_epoch(tmp_path):
    run(tmp_path, max_steps=2, weight=float)
    folder = tmp_path / "checkpoints" / "2"
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    (folder / "state.json").write_text(json.dumps(state | {"format": 2}), encoding="utf-8")
    sums = [
        tf.Variable(2.0),
        tf.Variable(2, dtype=tf.int64),
        tf.Variable(2, dtype=tf.int64),
        tf.Variable(-1, dtype=tf.int64),
    ]
    tf.train.Checkpoint(model=[tf.Variable(2.0)], optimizer=[], running=sums).write(str(folder / "variables"))
    position = run(tmp_path, max_steps=4, weight=float)
    assert (position.step, position.epoch, position.history[0]["loss"]) == (4, 1, 1.0)
    reader = tf.train.load_checkpoint(str(tmp_path / "checkpoints" / "4" / "variables"))
    assert reader.get_tensor("running/1/.ATTRIBUTES/VARIABLE_VALUE") == 0, "counted at most the two steps, now closed"


def test_totals_that_are_not_the_declared_ones_are_refused_by_name(tmp_path):
    totals = Totals({"loss": tf.float32})
    with pytest.raises(ValueError, match="the update returned the totals loss, hits, declared are loss"):
        totals.add({name: total(tf.ones([1])) for name in ("loss", "hits")}, tf.constant(1, tf.int64))
    with pytest.raises(ValueError, match="totals are accuracy: a recipe's totals must have the name 'loss'"):
        Totals({"accuracy": tf.int64})


def test_totals_that_travel_as_one_vector_arrive_as_they_were_sent():
    kept = Totals({"loss": tf.float32, "hits": tf.int64, "matrix": tf.TensorSpec([2, 2], tf.int64)})
    sent = {
        "loss": (tf.constant(float("nan")), tf.constant(3.0)),
        "matrix": (tf.constant([[1, 2], [3, 2**53 - 1]], tf.int64), tf.constant(0.0)),
        "hits": (tf.constant(2**53 - 1, tf.int64), tf.constant(7)),
    }
    packed = kept.packed(sent)
    assert packed.shape == [kept.size] == [1 + 1 + 1 + 1 + 4 + 1]
    arrived = kept.unpacked(packed)
    assert {name: values.dtype for name, (values, _) in arrived.items()} == {
        "loss": tf.float32,
        "hits": tf.int64,
        "matrix": tf.int64,
    }
    assert {name: (str(values.numpy().tolist()), float(count)) for name, (values, count) in arrived.items()} == {
        "loss": ("nan", 3.0),
        "hits": ("9007199254740991", 7.0),
        "matrix": ("[[1, 2], [3, 9007199254740991]]", 0.0),
    }
    with pytest.raises(ValueError, match="the update returned the totals loss, declared are loss, hits, matrix"):
        kept.packed({"loss": sent["loss"]})


def test_a_worker_writes_its_own_progress_and_nothing_where_the_chief_writes(tmp_path, monkeypatch):
    spec = ClusterSpec({"worker": ("a:1", "b:1")}, "worker", 1)
    monkeypatch.setattr(placement, "select", lambda *_, **__: strategy.Single())
    run(tmp_path, epochs=1, cluster=spec)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["progress.jsonl"]


def cut_off(path: Path, size: int = 3) -> None:
    os.truncate(path, size)


def one_bit(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


DATA, INDEX = "variables.data-00000-of-00001", "variables.index"
DAMAGE = {
    "a flipped bit": (DATA, one_bit),
    "cut off": (DATA, cut_off),
    "gone": (DATA, Path.unlink),
    "an empty index": (INDEX, lambda path: cut_off(path, 0)),
    "an index that is cut off": (INDEX, cut_off),
    "an index that is gone": (INDEX, Path.unlink),
    "a state that is cut off": ("state.json", cut_off),
    "an empty state": ("state.json", lambda path: cut_off(path, 0)),
    "a state that is no text": ("state.json", lambda path: path.write_bytes(b"\xff\xff")),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, capfd, name, damage):
    run(tmp_path, max_steps=3)
    damage(tmp_path / "checkpoints" / "3" / name)
    position = run(tmp_path, max_steps=4)
    assert (position.step, position.epoch) == (4, 1)
    said = capfd.readouterr().err
    assert "checkpoint 3 is damaged (" in said
    assert "resumed own checkpoint 2: 0 epochs and 2 batches are done" in said
    assert saved(tmp_path) == [1, 2, 3, 4], "its step was reached, and written, once more"
    (aside,) = (tmp_path / "checkpoints").glob(".damaged-3-*")
    run(tmp_path, max_steps=5)
    assert aside.exists()


@pytest.mark.parametrize("job", ["", "digits"], ids=["on a laptop", "in a pod"])
def test_without_an_undamaged_checkpoint_a_pods_next_attempt_begins_with_the_one_before(tmp_path, job):
    run(tmp_path, max_steps=2, job=job)
    for step in "12":
        one_bit(tmp_path / "checkpoints" / step / DATA)
    with pytest.raises(
        CheckpointDamaged, match=r"checkpoint 2 is damaged .*; checkpoint 1 is damaged .* no other one"
    ) as end:
        run(tmp_path, job=job)
    assert end.value.exit_code == exit_codes.RESTART
    assert ("the next attempt begins with the one before" in str(end.value)) is bool(job)
    assert saved(tmp_path) == ([] if job else [1, 2]), "where the folder stays, nothing begins from scratch by itself"
    found = survey(tmp_path / "checkpoints")
    assert found.damaged == ({1, 2} if job else set()), "the agent understands it"


BUSY = {
    "a disk that fails": lambda path: (path / DATA).unlink() or (path / DATA).symlink_to("/proc/self/mem"),
    "a state on a disk that fails": lambda path: (
        (path / "state.json").unlink() or (path / "state.json").symlink_to("/proc/self/mem")
    ),
}


@pytest.mark.parametrize("change", BUSY.values(), ids=BUSY.keys())
def test_a_disk_that_fails_while_restoring_is_no_damage_and_another_attempt_may_read_it(tmp_path, change):
    run(tmp_path, max_steps=2)
    change(tmp_path / "checkpoints" / "2")
    with pytest.raises((OSError, tf.errors.OpError)) as raised:
        run(tmp_path)
    assert failures.verdict(raised.value) is failures.DISK
    assert saved(tmp_path) == [1, 2]


def test_a_store_that_does_not_answer_while_restoring_is_no_damage(tmp_path, monkeypatch):
    run(tmp_path, max_steps=2)

    def lost(*_):
        raise tf.errors.UnavailableError(None, None, "connection reset")

    monkeypatch.setattr(tf.train.Checkpoint, "read", lost)
    with pytest.raises(tf.errors.UnavailableError) as raised:
        run(tmp_path)
    assert failures.verdict(raised.value).exit_code == exit_codes.RESTART


def test_a_stop_while_an_epoch_is_validated_leaves_a_checkpoint_from_which_the_epoch_is_closed(tmp_path):
    """Validation may take minutes: a stop does not wait for it, and nothing is counted twice."""

    def stopped():
        raise Interrupted("asked to stop")

    with pytest.raises(Interrupted, match="checkpoint 4 is written"):
        run(tmp_path, epochs=2, stopped=stopped)
    assert saved(tmp_path) == [1, 2, 3, 4]
    resumed = run(tmp_path, epochs=2)
    (tmp_path / "whole").mkdir()
    undisturbed = run(tmp_path / "whole", epochs=2)
    assert (resumed.step, resumed.epoch, resumed.history) == (8, 2, undisturbed.history)


def test_a_stop_while_the_last_epoch_is_validated_is_no_finished_run(tmp_path):
    def stopped():
        raise Interrupted("asked to stop")

    with pytest.raises(Interrupted):
        run(tmp_path, epochs=1, stopped=stopped)
    assert run(tmp_path, epochs=1).history == [{"epoch": 1, "step": 4, "loss": 1.0, "val_loss": 1.0}]


@pytest.mark.parametrize("batches", [3, 0])
def test_batches_that_end_within_an_epoch_end_the_run_with_both_numbers(tmp_path, batches):
    words = (
        f"epoch 1 has {batches} batches, but steps_per_epoch is 4: give Training the number of batches that `dataset`"
    )
    with pytest.raises(TrainerError, match=words):
        run(tmp_path, batches=batches)
    assert saved(tmp_path) == list(range(1, batches + 1))


def test_batches_beyond_the_epoch_are_left_out_and_not_counted_into_the_next_one(tmp_path):
    position = run(tmp_path, epochs=2, batches=7)
    assert [(entry["epoch"], entry["step"]) for entry in position.history] == [(1, 4), (2, 8)]
    assert (position.step, position.batch) == (8, 0)


def test_a_resumed_epoch_that_has_become_shorter_is_closed(tmp_path):
    run(tmp_path, max_steps=3)
    position = run(tmp_path, epochs=3, batches=2, steps_per_epoch=2)
    assert [entry["step"] for entry in position.history] == [3, 5]


@pytest.mark.parametrize("steps", [0, -1])
def test_an_epoch_without_a_step_is_refused_instead_of_exporting_untrained_weights(tmp_path, steps):
    with pytest.raises(TrainerError, match=f"steps_per_epoch is {steps}: an epoch needs at least 1 batch"):
        run(tmp_path, steps_per_epoch=steps)
