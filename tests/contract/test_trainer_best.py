"""Early stopping exports the weights of the best epoch, also of a run that was killed between the best and the last."""

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import exit_codes
from support import training

RISING = (
    "--early-stopping",
    "--no-augment",
    "--learning-rate=0.003",
    "--optimizer=adam",
    "--patience=50",
    "--epochs=6",
)
"""With labels that say nothing about the pictures, what is learned by heart raises the validation loss."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    noise = np.random.default_rng(5)
    for number in range(30):
        path = root / f"class-{number % 3}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tf.io.encode_png(noise.integers(0, 256, (20, 20, 3)).astype(np.uint8)).numpy())
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("whole")
    assert training.train(root, data, *RISING) == exit_codes.OK
    return root


def weights(root):
    return [w.numpy().tobytes() for w in tf.saved_model.load(str(training.model_folder(root))).weights]


def lowest(document):
    return min(document["history"], key=lambda entry: entry["val_loss"])


def test_the_epoch_with_the_lowest_validation_loss_is_exported_and_evaluated(whole):
    document = training.evaluation(whole)
    best = lowest(document)
    assert best["epoch"] < document["epochs"], "else this test shows nothing"
    assert document["exportedEpoch"] == document["bestEpoch"] == best["epoch"]
    assert document["exportedStep"] == best["step"]
    assert document["metrics"]["val_loss"] == pytest.approx(best["val_loss"], rel=1e-6)


def test_without_the_flag_the_last_weights_are_exported_and_kept_once(tmp_path, data, whole):
    assert training.train(tmp_path, data, *RISING, "--no-restore-best") == exit_codes.OK
    document = training.evaluation(tmp_path)
    assert (document["exportedEpoch"], document["exportedStep"]) == (6, document["steps"])
    assert document["bestEpoch"] == training.evaluation(whole)["bestEpoch"]
    assert document["metrics"]["val_loss"] == document["history"][-1]["val_loss"]
    assert weights(tmp_path) != weights(whole)
    assert not training.trained_bytes(tmp_path, "best/")
    assert training.trained_bytes(tmp_path, "model/") == training.trained_bytes(whole, "model/")


def test_a_run_that_ends_between_the_best_and_the_last_epoch_goes_on_to_the_same_model(tmp_path, data, whole):
    document = training.evaluation(whole)
    between = document["exportedStep"] + 2
    assert between < document["steps"]
    assert training.train(tmp_path, data, *RISING, f"--max-steps={between}") == exit_codes.OK
    assert training.evaluation(tmp_path)["exportedEpoch"] == document["exportedEpoch"]
    assert weights(tmp_path) == weights(whole)
    assert training.train(tmp_path, data, *RISING) == exit_codes.OK
    assert training.trained_bytes(tmp_path) == training.trained_bytes(whole)
    assert training.trained_bytes(whole, "best/")
    assert weights(tmp_path) == weights(whole)
    assert training.evaluation(tmp_path)["history"] == document["history"]
