"""What training does with bad pictures, bad luck and little memory."""

import errno
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_api.contract.progress import Progress
from fovea_trainers.chatter import Filter
from fovea_trainers.data import order
from fovea_trainers.vision import augmentation, images
from fovea_trainers.vision.augmentation import Augmentation
from support import training

QUICK = ("--max-steps=2", "--no-augment")
DIVERGING = (
    "--epochs=3",
    "--learning-rate=100",
    "--no-augment",
    "--checkpoint-every-steps=1000",
)


@pytest.fixture
def data(tmp_path):
    return training.write_pictures(tmp_path / "data", per_class=10)


@pytest.fixture
def overflowing(tmp_path):
    return f"--weights={training.write_overflowing_weights(tmp_path / 'overflowing.weights.h5')}"


def test_unreadable_pictures_are_named_and_left_out(tmp_path, data, capfd, monkeypatch):
    read_bytes = Path.read_bytes

    def failing(path):
        if path == data / "class-2" / "000.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    good = (data / "class-0" / "001.png").read_bytes()
    (data / "class-0" / "000.png").write_bytes(good[: len(good) // 2])
    (data / "class-1" / "000.png").write_bytes(b"")
    (data / "class-1" / "notes.txt").write_text("no picture")
    assert training.train(tmp_path, data, *QUICK) == exit_codes.OK
    said = capfd.readouterr().err
    assert "picture class-0/000.png (Invalid PNG data" in said, "what is wrong with the picture"
    assert "picture class-1/000.png (the file is empty) cannot be read; it is left out" in said
    assert "picture class-2/000.png (Permission denied) cannot be read" in said
    assert "ignored 1 files or folders that hold no labelled pictures (1 .txt): class-1/notes.txt" in said
    ours = [line for line in said.splitlines() if "picture class-" in line]
    assert not any("{{" in line for line in ours), "no names of TensorFlow's graph"
    document = training.evaluation(tmp_path)
    assert (document["unreadable"], document["images"]["train"] + document["images"]["val"]) == (3, 27)


def test_whatever_thread_decodes_pictures_does_so_on_the_processor():
    """Without a GPU only the graph can be looked at: each of its operations that has a choice names the processor."""
    graph = images.decoder(8, exif_orientation=True).get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    placed = {node.op: {each.device for each in nodes if each.op == node.op} for node in nodes}
    for kind in ("DecodeImage", "ResizeBilinear", "Round", "Cast"):
        assert placed[kind] == {"/device:CPU:0"}, kind


def test_too_many_unreadable_pictures_end_the_run(tmp_path, data, capfd):
    for number in range(4):
        (data / "class-0" / f"{number:03d}.png").write_text("<html>404</html>")
    assert training.train(tmp_path, data, *QUICK) == 1
    said = capfd.readouterr().err
    assert f"fovea-train: 4 of 30 pictures in {data} cannot be read so far, the last is class-0/003.png (" in said
    assert "repair or remove them, or allow more by --max-unreadable (now 0.1)" in said
    assert not (tmp_path / environment.OUTPUT_DIR.lower() / environment.SUCCESS_MARKER).exists()


def test_pictures_that_are_not_cached_are_read_when_needed_and_the_broken_ones_named_then(tmp_path, data, capfd):
    (data / "class-1" / "004.png").write_bytes(b"\xff\xd8\xff<html>")
    assert training.train(tmp_path, data, "--epochs=1", "--no-augment", "--no-cache-images") == exit_codes.OK
    chosen = Filter()  # as the trainer's parent does it
    said = (chosen.take(capfd.readouterr().err.encode()) + chosen.end()).decode()
    assert said.count("picture class-1/004.png (") == 1
    assert not any("{{" in line for line in said.splitlines() if "picture class-" in line)
    assert not any(word in said for word in ("JPEG library", "marker type", "absl::", "rendezvous", "OP_REQUIRES"))
    assert training.evaluation(tmp_path)["unreadable"] == 1


def test_a_disk_that_fails_is_no_broken_picture(tmp_path, data, capfd, monkeypatch):
    """The next attempt, on another node, trains on all pictures."""

    def failing(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert training.train(tmp_path, data, *QUICK) == exit_codes.RESTART
    assert "a disk failed" in capfd.readouterr().err


def test_a_class_without_a_readable_picture_ends_the_run(tmp_path, data, capfd):
    for path in (data / "class-2").iterdir():
        path.write_text("broken")
    assert training.train(tmp_path, data, *QUICK, "--max-unreadable=1") == 1
    assert "no picture of class class-2 can be read" in capfd.readouterr().err


def test_a_diverged_run_ends_with_the_step_and_the_remedy(tmp_path, data, overflowing, capfd):
    assert training.train(tmp_path, data, *DIVERGING, overflowing) == 1
    said = capfd.readouterr().err
    assert "the loss became non-finite at step " in said
    assert "Lower --learning-rate" in said
    assert training.checkpoints(tmp_path) == []


def test_a_run_that_ends_with_the_update_that_diverged_is_no_success(tmp_path, data, overflowing, capfd):
    """No step after it has a loss that could tell; its weights may still be numbers, however large."""
    assert training.train(tmp_path / "whole", data, *DIVERGING, overflowing) == 1
    noticed = re.search(r"the loss became non-finite at step (\d+)", capfd.readouterr().err)
    assert noticed is not None
    last = int(noticed[1]) - 1
    assert training.train(tmp_path, data, *DIVERGING, overflowing, f"--max-steps={last}") == 1
    assert f" became non-finite at step {last}: the training diverged" in capfd.readouterr().err
    assert not list(training.model_folder(tmp_path).iterdir())
    assert not list((tmp_path / environment.OUTPUT_DIR.lower()).iterdir())


def test_without_a_validation_set_early_stopping_says_that_it_is_off_and_training_is_what_is_told(
    tmp_path, data, capfd
):
    assert training.train(tmp_path, data, *QUICK, "--validation-ratio=0", "--early-stopping") == exit_codes.OK
    assert capfd.readouterr().err.count("early stopping is off: no picture is kept for validation") == 1
    document = training.evaluation(tmp_path)
    assert set(document["metrics"]) == {"loss", "accuracy"}
    last = Progress.from_json((tmp_path / "progress.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last.metrics == document["metrics"], "of the epoch under way"
    output = tmp_path / environment.OUTPUT_DIR.lower()
    assert {path.name for path in output.iterdir()} == {environment.EVALUATION_FILE, environment.SUCCESS_MARKER}
    assert training.train(tmp_path, data, "--epochs=1", "--no-augment", "--validation-ratio=0") == exit_codes.OK
    document = training.evaluation(tmp_path)
    (entry,) = document["history"]
    assert document["metrics"] == {"loss": entry["loss"], "accuracy": entry["accuracy"]}
    assert (document["bestEpoch"], (output / "loss.png").exists()) == (None, True)


def test_pictures_that_do_not_fit_in_memory_are_decoded_on_the_way_with_equal_results(tmp_path, data):
    """Also where a picture that was left out lies before the others."""
    (data / "class-0" / "000.png").write_text("broken")
    flags = ("--epochs=2",)
    assert training.train(tmp_path / "cached", data, *flags) == exit_codes.OK
    assert training.train(tmp_path / "streamed", data, *flags, "--no-cache-images") == exit_codes.OK
    assert training.trained_bytes(tmp_path / "cached") == training.trained_bytes(tmp_path / "streamed")


@pytest.mark.parametrize(
    "optimizer",
    ["adam", *(pytest.param(n, marks=pytest.mark.wide) for n in ("adadelta", "adagrad", "adamw", "ftrl", "rmsprop"))],
)
def test_every_optimizer_trains(tmp_path, data, optimizer):
    """Weights move in two steps."""
    assert training.train(tmp_path, data, *QUICK, f"--optimizer={optimizer}", "--learning-rate=0.001") == exit_codes.OK
    assert training.checkpoints(tmp_path) == [2]


def test_every_epoch_has_an_order_and_distortions_of_its_own():
    orders = [order.permutation(100, seed=1, epoch=epoch).tolist() for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[1]) == list(range(100))
    full = Augmentation(shear=0.2, zoom=0.2, flip=True)
    maps = [augmentation.transforms(full, 100, 16, seed=1, epoch=epoch) for epoch in (0, 1, 0)]
    assert np.array_equal(maps[0], maps[2])
    assert not np.array_equal(maps[0], maps[1])


def test_a_flip_mirrors_half_of_the_pictures_and_nothing_else_changes():
    images = tf.reshape(tf.range(6 * 6 * 3, dtype=tf.float32), [1, 6, 6, 3])
    maps = augmentation.transforms(Augmentation(shear=0, zoom=0, flip=True), 200, 6, seed=1, epoch=0)
    outcomes = [augmentation.apply(images, m[np.newaxis]).numpy() for m in maps]
    mirrored = sum(np.allclose(o, tf.image.flip_left_right(images), atol=1e-3) for o in outcomes)
    same = sum(np.allclose(o, images, atol=1e-3) for o in outcomes)
    assert mirrored + same == 200
    assert 70 < mirrored < 130


def test_zoom_and_shear_stay_within_their_bounds():
    maps = augmentation.transforms(Augmentation(shear=0.3, zoom=0.2, flip=False), 1000, 16, seed=1, epoch=0)
    assert 0.8 <= maps[:, 0].min() < 0.82
    assert 1.18 < maps[:, 0].max() <= 1.2
    angles = np.arctan2(-maps[:, 1], maps[:, 4])
    assert 0.29 < np.abs(angles).max() <= 0.3001
    centre = maps[:, [0, 3]] * 7.5 + maps[:, [1, 4]] * 7.5 + maps[:, [2, 5]]
    assert np.allclose(centre, 7.5, atol=1e-4), "the centre stays where it is"
