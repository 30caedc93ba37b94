"""Pictures without a class: what the trained model says of them, as submission.csv."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes, signatures
from support import training

FLAGS = ("--image-size=32", "--batch-size=4", "--epochs=1")


def write_unlabelled(folder, *names, size=(30, 24)):
    """PNGs of several sizes, each of its own colours."""
    random = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        pixels = random.integers(0, 256, (size[0] + place, size[1], 3)).astype(np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def kaggle(root, classes=2):
    """Labelled pictures in train, some without a class in test, whose names are numbers."""
    training.write_pictures(root / "train", per_class=6, classes=classes)
    write_unlabelled(root / "test", *(f"{number}.png" for number in (1, 2, 3, 10, 11)))
    return root


def submission(root):
    with (root / environment.OUTPUT_DIR.lower() / "submission.csv").open(newline="") as file:
        return list(csv.reader(file))


def served(root, paths):
    model = tf.saved_model.load(str(training.model_folder(root)))
    ask = model.signatures[signatures.SERVING_DEFAULT]
    answers = [ask(image=tf.constant([path.read_bytes()])) for path in paths]
    return (
        [float(each[signatures.SCORES_OUTPUT][0, 1]) for each in answers],
        [each[signatures.LABEL_OUTPUT][0].numpy().decode() for each in answers],
    )


def test_of_two_classes_each_picture_gets_what_the_served_model_says_of_the_second(tmp_path, capfd):
    data = kaggle(tmp_path / "data")
    command = ("image-classifier", f"--data={data}", *FLAGS)
    assert training.run(tmp_path, *command, "--unlabelled=test") == exit_codes.OK
    said = capfd.readouterr().err
    assert "has 5 lines: id, and as label the probability of class-1" in said
    assert "ignored" not in said, "they have a use"
    heading, *lines = submission(tmp_path)
    assert heading == ["id", "label"]
    assert [name for name, _ in lines] == ["1", "2", "3", "10", "11"], "in the order of their numbers"
    scores, _ = served(tmp_path, [data / "test" / f"{name}.png" for name, _ in lines])
    assert [float(label) for _, label in lines] == pytest.approx(scores, abs=1e-6)
    assert len(set(scores)) > 1
    document = training.evaluation(tmp_path)
    assert document["unlabelled"] == {"images": 5, "unreadable": 0, "label": "probability of class-1"}
    assert training.run(tmp_path, *command) == exit_codes.OK
    assert not (tmp_path / environment.OUTPUT_DIR.lower() / "submission.csv").exists(), "of the run before"
    assert "(5 .png): test/1.png" in (said := capfd.readouterr().err)
    assert "; --unlabelled=FOLDER asks the trained model about such pictures" in said


def test_of_more_classes_it_gets_the_name_of_one_and_what_cannot_be_read_is_named(tmp_path, capfd):
    data = training.write_pictures(tmp_path / "data", per_class=6)
    asked = write_unlabelled(tmp_path / "new", "b.png", "a/b.png", "c.png")
    (asked / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (asked / "notes.txt").write_text("no picture either")
    assert (
        training.run(tmp_path, "image-classifier", f"--data={data}", *FLAGS, f"--unlabelled={asked}") == exit_codes.OK
    )
    said = capfd.readouterr().err
    assert "picture broken.jpg (" in said
    assert "has 3 lines: id, and as label the class; 1 pictures that cannot be read have no line" in said
    _, *lines = submission(tmp_path)
    _, names = served(tmp_path, [asked / name for name in ("a/b.png", "b.png", "c.png")])
    assert lines == [[name, label] for name, label in zip(["a/b", "b", "c"], names, strict=True)]
    assert training.evaluation(tmp_path)["unlabelled"] == {"images": 3, "unreadable": 1, "label": "class"}


def test_the_network_with_a_head_is_asked_as_a_whole_and_the_folder_may_be_an_input(tmp_path):
    keras.utils.set_random_seed(3)
    weights = tmp_path / "inputs/weights/mobilenet.weights.h5"
    weights.parent.mkdir(parents=True)
    keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3)).save_weights(weights)
    training.write_pictures(tmp_path / "inputs/pets", per_class=6, classes=2)
    asked = write_unlabelled(tmp_path / "inputs/unlabelled", "2.png", "1.png")
    command = ("transfer-classifier", "--backbone=mobilenet", "--head=8", "--head-dropout=0", *FLAGS)
    inputs = {environment.INPUT_DIR: str(tmp_path / "inputs")}
    assert training.run(tmp_path, *command, **inputs) == exit_codes.OK
    _, *lines = submission(tmp_path)
    scores, _ = served(tmp_path, [asked / "1.png", asked / "2.png"])
    assert [name for name, _ in lines] == ["1", "2"]
    assert [float(label) for _, label in lines] == pytest.approx(scores, abs=1e-6)


REFUSED = {
    "no folder": (
        ["new/1.png"],
        "--unlabelled=old: there is no such folder in ROOT, and none that is named old",
        "old",
    ),
    "no picture": (["new/1.txt"], "--unlabelled: folder ROOT/new holds no picture (found: 1.txt)", "new"),
    "two of one name": (["new/1.png", "new/1.jpg"], "several pictures of one name but for the suffix: 1;", "new"),
    "a class": ([], "--unlabelled: class-0/000.png in ROOT has a class, class-0: put", "class-0"),
}


@pytest.mark.parametrize(("names", "words", "flag"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_asked_about_ends_the_run_before_the_training(tmp_path, capfd, names, words, flag):
    data = tmp_path / "data"
    training.write_pictures(data if flag == "class-0" else data / "train", per_class=2, classes=2)
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"x")
    command = ("image-classifier", f"--data={data}", *FLAGS, f"--unlabelled={flag}")
    assert training.run(tmp_path, *command) == 1
    assert words.replace("ROOT", str(data)) in capfd.readouterr().err
    assert not training.checkpoints(tmp_path)
