"""A run that was interrupted, however, ends with the bytes of one that was not."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from fovea_api.contract import environment, exit_codes
from fovea_api.contract.progress import Progress
from support import tables, training

PICTURES = 20
"""Per class, of three: 48 training pictures, 12 steps of 4 an epoch."""
EPOCHS = 8
STEPS = 12 * EPOCHS
LONG = (f"--epochs={EPOCHS}", "--checkpoint-every-steps=7")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=PICTURES)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("undisturbed")
    assert training.train(root, data, *LONG) == exit_codes.OK
    return root


def assert_same_run(root, undisturbed):
    assert training.trained_bytes(root) == training.trained_bytes(undisturbed)
    ours, theirs = training.evaluation(root), training.evaluation(undisturbed)
    assert ours["history"] == theirs["history"]
    assert ours["metrics"] == theirs["metrics"]
    assert training.summaries(root) == training.summaries(undisturbed)
    assert (ours["steps"], ours["epochs"]) == (STEPS, EPOCHS)


def test_a_wait_that_fails_leaves_no_process():
    process = subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE, text=True)
    with pytest.raises(AssertionError, match="what the training was to do"):
        training.wait_until(lambda: False, process, seconds=0.1)
    assert process.returncode == -signal.SIGKILL


def test_sigkill_in_the_middle_of_an_epoch(tmp_path, data, undisturbed):
    process = training.start(tmp_path, data, *LONG)
    training.wait_until(lambda: training.checkpoints(tmp_path), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert training.checkpoints(tmp_path)[-1] % 7 == 0
    assert training.checkpoints(tmp_path)[-1] < STEPS
    assert not list((tmp_path / environment.OUTPUT_DIR.lower()).glob("*")), "an unfinished run has no output"
    assert training.train(tmp_path, data, *LONG) == exit_codes.OK
    assert_same_run(tmp_path, undisturbed)


def test_sigterm_writes_a_checkpoint_at_the_next_step_and_asks_for_a_restart(tmp_path, data, undisturbed):
    process = training.start(tmp_path, data, f"--epochs={EPOCHS}", "--checkpoint-every-steps=5")
    training.wait_until(lambda: training.checkpoints(tmp_path), process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == exit_codes.RESTART
    newest = training.checkpoints(tmp_path)[-1]
    assert 5 <= newest < STEPS
    assert f"asked to stop; checkpoint {newest} is written" in said
    shutil.rmtree(tmp_path / environment.LOG_DIR.lower())  # the next attempt's pod begins with an empty one
    assert training.train(tmp_path, data, *LONG) == exit_codes.OK
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("steps", [12 * 3 + 5, 12 * 4], ids=["within an epoch", "between two epochs"])
def test_going_on_after_a_bounded_run(tmp_path, data, undisturbed, steps):
    assert training.train(tmp_path, data, *LONG, f"--max-steps={steps}") == exit_codes.OK
    assert training.checkpoints(tmp_path)[-1] == steps
    assert training.train(tmp_path, data, *LONG) == exit_codes.OK
    assert_same_run(tmp_path, undisturbed)


def test_a_finished_run_is_not_trained_again(tmp_path, data, capfd):
    assert training.train(tmp_path, data, "--epochs=1") == exit_codes.OK
    first, weights = training.evaluation(tmp_path), training.trained_bytes(tmp_path)
    capfd.readouterr()
    assert training.train(tmp_path, data, "--epochs=1") == exit_codes.OK
    assert "nothing left to train: every step is done" in capfd.readouterr().err
    assert training.trained_bytes(tmp_path) == weights
    assert training.evaluation(tmp_path) == first


def test_early_stopping_goes_on_counting_after_a_restart(tmp_path, data, capfd):
    """A learning rate of 0 never lowers the loss, so patience runs out in epoch 3 even when a restart lies between."""
    flags = ("--epochs=9", "--early-stopping", "--learning-rate=0", "--no-augment")
    assert training.train(tmp_path, data, *flags, "--max-steps=24") == exit_codes.OK
    assert not training.evaluation(tmp_path)["stoppedEarly"]
    assert training.train(tmp_path, data, *flags) == exit_codes.OK
    assert training.evaluation(tmp_path)["stoppedEarly"]
    assert training.evaluation(tmp_path)["epochs"] == 3
    assert training.evaluation(tmp_path)["bestEpoch"] == 1
    capfd.readouterr()
    assert training.train(tmp_path, data, *flags) == exit_codes.OK
    assert "nothing left to train: early stopping has given up" in capfd.readouterr().err
    assert training.train(tmp_path, data, *flags, "--patience=3") == exit_codes.OK
    assert "nothing left" not in capfd.readouterr().err
    assert training.evaluation(tmp_path)["epochs"] == 4, "more patience goes on"


def give(source, root):
    """The newest checkpoint, as the agent places it for `checkpoint.from`."""
    newest = Path(environment.CHECKPOINT_DIR.lower()) / str(training.checkpoints(source)[-1])
    shutil.copytree(source / newest, root / newest)


def test_a_given_checkpoint_lends_its_weights_and_begins_new_epochs(tmp_path, data, undisturbed, capfd):
    give(undisturbed, tmp_path)
    other_job = {environment.CLOUD_ML_JOB: "tuesday"}
    assert training.train(tmp_path, data, "--epochs=1", "--no-augment", **other_job) == exit_codes.OK
    assert f"continuing from given checkpoint {STEPS} with new epochs (job was , is tuesday)" in capfd.readouterr().err
    assert training.checkpoints(tmp_path) == [STEPS, STEPS + 12]
    result = training.evaluation(tmp_path)
    assert (result["steps"], result["epochs"]) == (12, 1)
    first_loss = training.evaluation(undisturbed)["history"][0]["loss"]
    assert result["history"][0]["loss"] < first_loss / 2, "the weights were not taken over"
    progress = (tmp_path / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    last = Progress.from_json(progress[-1])
    assert (last.step, last.steps, last.epoch, last.epochs) == (12, 12, 1, 1)


def test_after_a_given_checkpoint_the_learning_rate_is_the_flag_s(tmp_path, data):
    """A rate of 0 leaves the weights as they are (without momentum: that of the given run would go on)."""
    once = ("--epochs=1", "--momentum=0")
    assert training.train(tmp_path / "given", data, *once, "--decay=0") == exit_codes.OK
    before = training.trained_bytes(tmp_path / "given", "model")
    for decay in ("0", "0.1"):
        root = tmp_path / decay
        give(tmp_path / "given", root)
        flags = (*once, "--learning-rate=0", f"--decay={decay}")
        assert training.train(root, data, *flags, **{environment.CLOUD_ML_JOB: "tuesday"}) == exit_codes.OK
        assert training.checkpoints(root) == [12, 24]
        after = training.trained_bytes(root, "model")
        assert sum(after[name] != before[name] for name in before) == 2, "the seeds of the two dropouts move, no weight"


@pytest.mark.parametrize(("theirs", "ours"), [("0", "0.9"), ("0.9", "0")])
def test_momentum_switched_on_or_off_takes_the_weights_only(tmp_path, data, capfd, theirs, ours):
    assert training.train(tmp_path, data, "--epochs=1", f"--momentum={theirs}") == exit_codes.OK
    capfd.readouterr()
    assert training.train(tmp_path, data, "--epochs=1", f"--momentum={ours}") == exit_codes.OK
    names = {"0": "sgd", "0.9": "sgd with momentum"}
    assert f"(optimizer was {names[theirs]}, is {names[ours]})" in capfd.readouterr().err
    assert training.checkpoints(tmp_path) == [12, 24]


def test_a_checkpoint_of_another_shape_is_refused_with_the_difference(tmp_path, data, undisturbed, capfd):
    checkpoints = {environment.CHECKPOINT_DIR: str(undisturbed / environment.CHECKPOINT_DIR.lower())}
    assert training.train(tmp_path, data, "--epochs=1", "--image-size=24", **checkpoints) == 1
    remedy = "train with the old values, or begin with new weights (--train-from-scratch), or"
    assert f"image_size was 16, is 24; {remedy} remove" in capfd.readouterr().err
    given = {**checkpoints, environment.CLOUD_ML_JOB: "tuesday"}
    assert training.train(tmp_path, data, "--epochs=1", "--image-size=24", **given) == 1
    assert f"{remedy} name another job in spec.checkpoint.from" in capfd.readouterr().err


def test_of_a_checkpoint_of_another_recipe_the_recipes_alone_are_named(tmp_path, undisturbed, capfd):
    table = tables.write(tmp_path / "a.csv", ["x,y", "1,a", "2,b", "3,a", "4,b"])
    checkpoints = {environment.CHECKPOINT_DIR: str(undisturbed / environment.CHECKPOINT_DIR.lower())}
    assert training.run(tmp_path, "tabular", f"--data={table}", "--validation-ratio=0", **checkpoints) == 1
    assert "does not fit this run: recipe was image-classifier, is tabular; train with" in capfd.readouterr().err


def test_checkpoints_appear_by_rename_complete_and_only_the_newest_stay(tmp_path, data):
    """Every state of the directory that another process saw held whole checkpoints only."""
    folder = tmp_path / environment.CHECKPOINT_DIR.lower()
    folder.mkdir(parents=True)
    leftover = folder / ".staging-3-1"
    leftover.mkdir()
    seen = set()

    def look():
        for step in training.checkpoints(tmp_path):
            try:
                names = {path.name for path in (folder / str(step)).iterdir()}
            except FileNotFoundError:  # pruned between the two listings
                continue
            assert names == {"state.json", "variables.index", "variables.data-00000-of-00001"}
            seen.add(step)
        return (tmp_path / environment.OUTPUT_DIR.lower() / environment.SUCCESS_MARKER).exists()

    keep = {environment.CHECKPOINT_KEEP: "2", environment.CHECKPOINT_EVERY_STEPS: "5"}
    with training.environ(keep):
        process = training.start(tmp_path, data, "--epochs=2")
    training.wait_until(look, process)
    process.communicate(timeout=60)
    assert process.returncode == exit_codes.OK
    look()
    assert training.checkpoints(tmp_path) == [20, 24]
    assert {20, 24} <= seen
    assert sorted(path.name for path in folder.iterdir()) == ["20", "24"], "staging folders are gone"
    assert json.loads((folder / "24" / "state.json").read_text(encoding="utf-8"))["position"]["epoch"] == 2
