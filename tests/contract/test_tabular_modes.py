"""The recipe for tables beside the training of classes: numbers, predictions in a file, a second export, a fresh begin."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes, signatures
from fovea_trainers.datasets.a8a import lines as a8a_like
from support import tables, training


def line_of_points(seed=1):
    """The article's: 100 points of y = 2x + 10 with noise of 0.33."""
    random = np.random.default_rng(seed)
    x = np.linspace(-1, 1, 100)
    y = 2 * x + 10 + random.normal(0, 0.33, 100)
    return x, y


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    root = tmp_path_factory.mktemp("line")
    data = tables.write(
        root / "line.csv", ["x,y", *(f"{a:.6f},{b:.6f}" for a, b in zip(*line_of_points(), strict=True))]
    )
    flags = ("--task=regression", "--model=lr", "--no-standardize", "--optimizer=sgd", "--momentum=0", "--batch-size=1")
    flags += ("--learning-rate=0.01", "--validation-ratio=0.2")
    assert training.run(root, "tabular", f"--data={data}", *flags) == exit_codes.OK
    return root


def served(root):
    model = tf.saved_model.load(str(training.model_folder(root)))
    return lambda *rows: model.signatures["serving_default"](features=tf.constant(rows, tf.float32))[
        signatures.PREDICTIONS_OUTPUT
    ].numpy()


def test_linear_regression_finds_slope_and_intercept(fitted):
    at_0, at_1 = served(fitted)([0.0], [1.0])
    assert at_0 == pytest.approx(10, abs=0.3)
    assert at_1 - at_0 == pytest.approx(2, abs=0.3)


def test_mse_mae_and_r2_are_those_computed_by_hand(fitted, tmp_path):
    x, y = line_of_points(seed=2)
    data = tables.write(
        tmp_path / "line.csv", ["x,y", *(f"{a:.6f},{b + 50_000:.6f}" for a, b in zip(x, y, strict=True))]
    )
    flags = ("--task=regression", "--model=dnn", "--hidden=8", "--validation-files=line.csv", "--train-files=train.csv")
    tables.write(tmp_path / "train.csv", data.read_text().splitlines())
    assert training.run(tmp_path, "tabular", f"--data={tmp_path}", *flags, "--epochs=20") == exit_codes.OK
    found = training.evaluation(tmp_path)["sets"]["val"]
    read = np.array([line.split(",") for line in data.read_text().splitlines()[1:]], np.float32).astype(np.float64)
    away = served(tmp_path)(*read[:, :1].tolist()).astype(np.float64) - read[:, 1]
    assert found["loss"] == pytest.approx((away**2).mean(), rel=1e-3)
    assert found["mae"] == pytest.approx(np.abs(away).mean(), rel=1e-3)
    assert found["r2"] == pytest.approx(1 - (away**2).mean() / read[:, 1].var(), abs=1e-3)
    assert found["r2"] > 0.5, "numbers of any size are learnt"


def test_a_label_that_is_no_number_is_a_bad_line(tmp_path, capfd):
    data = tables.write(tmp_path / "a.csv", ["x,y", "1,2", "2,much", "3,4"])
    assert training.run(tmp_path, "tabular", f"--data={data}", "--task=regression") == 1
    assert 'the first is a.csv line 3 (the label is "much", which is no number)' in capfd.readouterr().err


@pytest.fixture(scope="module")
def a8a(tmp_path_factory):
    """A trained classifier."""
    root = tmp_path_factory.mktemp("a8a")
    tables.write(root / "data" / "a8a", a8a_like(200))
    assert training.run(root, "tabular", f"--data={root / 'data'}", "--epochs=2", "--hidden=4") == exit_codes.OK
    return root


def predictions(root):
    with (root / environment.OUTPUT_DIR.lower() / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_inference_writes_a_line_for_each_row_with_its_place(a8a, tmp_path):
    lines = a8a_like(30, seed=9)
    lines[3] = "+1 no:1"
    tables.write(tmp_path / "data" / "b", lines[:20])
    tables.write(tmp_path / "data" / "c", lines[20:])
    flags = ("--mode=inference", f"--saved-model={training.model_folder(a8a)}", "--max-bad-ratio=0.1", "--batch-size=7")
    assert training.run(tmp_path, "tabular", f"--data={tmp_path / 'data'}", *flags) == exit_codes.OK
    rows = predictions(tmp_path)
    places = [(name, n + 1) for name, size in (("b", 20), ("c", 10)) for n in range(size) if (name, n) != ("b", 3)]
    assert [(row["file"], int(row["row"])) for row in rows] == places
    kept = [line for number, line in enumerate(lines) if number != 3]
    assert [row["truth"] for row in rows] == [line.split()[0].lstrip("+") for line in kept]
    ask = tf.saved_model.load(str(training.model_folder(a8a))).signatures["serving_default"]
    for row, line in zip(rows, kept, strict=True):
        ids = [[int(word.split(":")[0]) for word in line.split()[1:]]]
        answer = ask(ids=tf.constant(ids, tf.int64), values=tf.ones([1, len(ids[0])]))
        assert row["label"] == answer["label"].numpy()[0].decode()
        assert [float(row["score -1"]), float(row["score 1"])] == pytest.approx(answer["scores"].numpy()[0], abs=1e-6)
    assert (tmp_path / environment.OUTPUT_DIR.lower() / environment.SUCCESS_MARKER).exists()


def test_inference_takes_rows_without_a_label(fitted, tmp_path):
    data = tables.write(tmp_path / "new.csv", ["x", "0", "1"])
    flags = ("--mode=inference", f"--saved-model={training.model_folder(fitted)}")
    assert training.run(tmp_path, "tabular", f"--data={data}", *flags) == exit_codes.OK
    assert [(row["row"], row["truth"]) for row in predictions(tmp_path)] == [("2", ""), ("3", "")]
    assert [float(row["prediction"]) for row in predictions(tmp_path)] == pytest.approx([10, 12], abs=0.6)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A model of the columns width and height, of which width alone counts."""
    root = tmp_path_factory.mktemp("named")
    rows = [f"{number % 2},{number % 3},{'odd' if number % 2 else 'even'}" for number in range(60)]
    tables.write(root / "data.csv", ["width,height,kind", *rows])
    flags = ("--model=lr", "--learning-rate=0.5", "--epochs=3")
    assert training.run(root, "tabular", f"--data={root / 'data.csv'}", *flags) == exit_codes.OK
    return root


HEADINGS = {
    "without a label": (["width,height", "1,0", "0,1"], ["", ""]),
    "the label first": (["kind,width,height", "a,1,0", "b,0,1"], ["a", "b"]),
    "another name for the label": (["width,truth,height", "1,a,0", "0,b,1"], ["a", "b"]),
    "no heading": (["1,0,a", "0,1,b"], ["a", "b"]),
}


@pytest.mark.parametrize(("lines", "truths"), HEADINGS.values(), ids=HEADINGS.keys())
def test_inference_finds_the_columns_of_a_model_by_their_names(named, tmp_path, lines, truths):
    data = tables.write(tmp_path / "new.csv", lines)
    flags = ("--mode=inference", f"--saved-model={training.model_folder(named)}")
    assert training.run(tmp_path, "tabular", f"--data={data}", *flags) == exit_codes.OK
    assert [row["label"] for row in predictions(tmp_path)] == ["odd", "even"]
    assert [row["truth"] for row in predictions(tmp_path)] == truths


@pytest.mark.parametrize("heading", ["height,width", "height,width,kind", "width,depth", "width,height,depth,kind"])
def test_inference_refuses_other_columns_than_those_of_the_training(named, tmp_path, capfd, heading):
    values = ",".join("1" * (heading.count(",") + 1))
    data = tables.write(tmp_path / "new.csv", [heading, values])
    flags = ("--mode=inference", f"--saved-model={training.model_folder(named)}")
    assert training.run(tmp_path, "tabular", f"--data={data}", *flags) == 1
    columns = heading.replace(",", ", ")
    assert (
        f"new.csv: the columns are {columns}, but the model was trained on width, height: write them in this order, and at "
        "most a label beside them"
    ) in capfd.readouterr().err


def test_inference_that_cannot_be_is_said_in_a_sentence(fitted, a8a, tmp_path, capfd):
    sparse = tables.write(tmp_path / "a8a", a8a_like(3))
    wide = tables.write(tmp_path / "wide.csv", ["1,3,2"])
    model = training.model_folder(fitted)
    refused = {
        (sparse, model): "takes features, but the files in",
        (wide, model): "wide.csv: the first line has 3 columns: the model takes 1 features",
        (wide, tmp_path): "holds no saved_model.pb: name the folder of an exported model by --saved-model",
    }
    for (data, folder), words in refused.items():
        flags = (f"--data={data}", "--mode=inference", f"--saved-model={folder}")
        assert training.run(tmp_path / "run", "tabular", *flags) == 1
        assert words in capfd.readouterr().err


def test_a_checkpoint_is_exported_again_without_a_step(a8a, tmp_path, capfd):
    flags = (f"--data={a8a / 'data'}", "--hidden=4", "--mode=export")
    assert training.run(tmp_path, "tabular", *flags) == 1
    assert "there is no checkpoint in" in capfd.readouterr().err
    name = environment.CHECKPOINT_DIR.lower()
    (tmp_path / name).rmdir()
    (a8a / name).rename(tmp_path / name)
    assert training.run(tmp_path, "tabular", *flags) == exit_codes.OK
    (tmp_path / name).rename(a8a / name)
    document, before = training.evaluation(tmp_path), training.evaluation(a8a)
    assert document["metrics"]["val_loss"] == before["metrics"]["val_loss"]
    assert document["steps"] == before["steps"]


def test_training_from_scratch_puts_the_checkpoint_aside(tmp_path, capfd):
    data = tables.write(tmp_path / "data" / "a8a", a8a_like(60))
    command = ("tabular", f"--data={data}", "--hidden=4", "--epochs=1")
    assert training.run(tmp_path, *command) == exit_codes.OK
    trained, steps = training.trained_bytes(tmp_path), training.checkpoints(tmp_path)
    assert training.run(tmp_path, *command, "--train-from-scratch") == exit_codes.OK
    assert "training from scratch" in capfd.readouterr().err
    assert (training.trained_bytes(tmp_path), training.checkpoints(tmp_path)) == (trained, steps)
    aside = [path.name for path in (tmp_path / environment.CHECKPOINT_DIR.lower()).glob(".other-*")]
    assert len(aside) == len(steps)
