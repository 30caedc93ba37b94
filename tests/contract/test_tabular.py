"""The recipe for tables: what it learns, what it says of the data, what it serves, and that it goes on to the bit."""

import re
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from fovea_api import catalogue
from fovea_api.contract import environment, exit_codes, row_wise, signatures
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers.datasets.a8a import lines as a8a_like
from support import tables, training

FLOOR = 0.85
"""AUC on rows that were not trained on. The data has 5 % wrong labels; logistic regression reaches about 0.80."""


@pytest.fixture(scope="module")
def a8a(tmp_path_factory):
    """2,000 rows to train and 1,000 to validate on."""
    root, lines = tmp_path_factory.mktemp("a8a"), a8a_like(3000)
    tables.write(root / "a8a", lines[:2000])
    tables.write(root / "a8a.t", lines[2000:])
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory, a8a):
    """A run of each kind of model, by its name."""
    roots = {}
    for model in ("lr", "dnn", "wide-and-deep"):
        roots[model] = tmp_path_factory.mktemp(model)
        flags = (f"--model={model}", "--validation-files=*.t", "--hidden=64,8", "--learning-rate=0.1")
        assert training.run(roots[model], "tabular", f"--data={a8a}", *flags) == exit_codes.OK
    return roots


def test_networks_learn_what_a_linear_model_cannot(trained):
    auc = {model: training.evaluation(root)["metrics"]["auc"] for model, root in trained.items()}
    assert 0.7 < auc["lr"] < FLOOR - 0.03
    assert auc["dnn"] > FLOOR
    assert auc["wide-and-deep"] > FLOOR


def test_the_results_tell_the_run(trained):
    document = training.evaluation(trained["wide-and-deep"])
    assert document["rows"] == {"train": 2000, "val": 1000, "test": 0}
    assert (document["classes"], document["features"], document["badLines"]) == (["-1", "1"], 124, 0)
    assert set(document["metrics"]) == {"loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc"}
    assert document["sets"]["val"]["rows"] == 1000
    assert sum(map(sum, document["sets"]["val"]["confusionMatrix"]["counts"])) == 1000
    output = trained["wide-and-deep"] / environment.OUTPUT_DIR.lower()
    assert {path.name for path in output.glob("*.png")} == {"loss.png", "accuracy.png", "auc.png"}
    points = training.summaries(trained["wide-and-deep"])
    assert set(points) == {
        ("train", "loss"),
        ("train", "accuracy"),
        ("validation", "loss"),
        ("validation", "accuracy"),
        ("validation", "auc"),
    }
    assert [value for _, value in points["validation", "auc"]] == [
        pytest.approx(entry["val_auc"]) for entry in document["history"]
    ]


def parsed(lines):
    """Labels, ids and values of libsvm lines, by hand: rows are filled up with an index that no row has."""
    labels = np.array([line.startswith("+1") for line in lines])
    pairs = [[word.split(":") for word in line.split()[1:]] for line in lines]
    longest = max(map(len, pairs)) + 1
    ids, values = np.full((len(lines), longest), 10**9), np.zeros((len(lines), longest), np.float32)
    values[:, -1] = 1  # beyond all features: counts nothing
    for row, entries in enumerate(pairs):
        for place, (index, value) in enumerate(entries):
            ids[row, place], values[row, place] = int(index), float(value)
    return labels, ids, values


def test_loss_accuracy_and_auc_are_those_of_the_served_scores_computed_by_hand(a8a, trained):
    labels, ids, values = parsed((a8a / "a8a.t").read_text().splitlines())
    for root in trained.values():
        served = tf.saved_model.load(str(training.model_folder(root))).signatures["serving_default"]
        answer = served(ids=tf.constant(ids), values=tf.constant(values))
        scores = answer[signatures.SCORES_OUTPUT].numpy().astype(np.float64)
        positive, negative = scores[labels, 1], scores[~labels, 1]
        above = (positive[:, np.newaxis] > negative).mean() + (positive[:, np.newaxis] == negative).mean() / 2
        expected = {
            "loss": -np.log(np.where(labels, scores[:, 1], scores[:, 0])).mean(),
            "accuracy": ((scores[:, 1] > 0.5) == labels).mean(),
            "auc": above,
        }
        metrics = training.evaluation(root)["metrics"]
        assert {name: metrics[name] for name in expected} == {
            name: pytest.approx(value, abs=1e-4) for name, value in expected.items()
        }
        assert answer[signatures.CLASSES_OUTPUT].numpy().tolist() == [[b"-1", b"1"]] * len(labels)
        assert answer[signatures.LABEL_OUTPUT].numpy().tolist() == [
            b"-1" if left > right else b"1" for left, right in scores
        ]
        outputs = frozenset({signatures.LABEL_OUTPUT, signatures.CLASSES_OUTPUT, signatures.SCORES_OUTPUT})
        assert row_wise.read(training.model_folder(root)) == {"serving_default": outputs}


RESUMED = (
    *("--batch-norm", "--dropout=0.3", "--optimizer=adam", "--learning-rate=0.001", "--hidden=16,8", "--epochs=8"),
    *("--batch-size=4", "--epoch-decay=0.96", "--early-stopping", "--patience=8"),
)


def test_killed_within_an_epoch_it_goes_on_to_the_bytes_of_a_run_that_was_not(tmp_path):
    data = tables.write(tmp_path / "table", a8a_like(60))
    command = ("tabular", f"--data={data}", *RESUMED)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert training.run(undisturbed, *command) == exit_codes.OK
    steps = training.evaluation(undisturbed)["steps"]
    process = training.begin(killed, *command, "--checkpoint-every-steps=5")
    training.wait_until(lambda: training.checkpoints(killed)[1:], process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    stopped = training.checkpoints(killed)[-1]
    assert stopped < steps
    assert training.run(killed, *command) == exit_codes.OK
    assert training.trained_bytes(killed) == training.trained_bytes(undisturbed)
    ours, theirs = training.evaluation(killed), training.evaluation(undisturbed)
    assert (ours | {"seconds": 0}) == (theirs | {"seconds": 0})
    assert training.summaries(killed) == training.summaries(undisturbed)


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A run on CSV with a heading, a text as label, a bad line and three classes."""
    root = tmp_path_factory.mktemp("flowers")
    lines = tables.flowers(400)
    lines[100] = "1.0,rose,?,12000"
    data = tables.write(root / "data" / "flowers.csv", lines)
    flags = ("--label-column=kind", "--test-ratio=0.2", "--model=lr", "--learning-rate=0.5")
    assert training.run(root, "tabular", f"--data={data}", *flags) == exit_codes.OK
    return root


def test_columns_of_any_scale_are_learnt_and_served_by_position(flowers):
    document = training.evaluation(flowers)
    assert document["metrics"]["accuracy"] > 0.95
    assert "auc" not in document["metrics"], "three classes have no single ranking"
    assert (document["classes"], document["features"]) == (["iris", "lily", "rose"], ["width", "noise", "length"])
    served = tf.saved_model.load(str(training.model_folder(flowers))).signatures["serving_default"]
    answer = served(features=tf.constant([[0.0, 0.5, 10_000.0], [2.0, -0.5, 11_000.0]]))
    assert answer[signatures.LABEL_OUTPUT].numpy().tolist() == [b"iris", b"rose"]


def test_a_bad_line_is_left_out_and_counted(flowers):
    document = training.evaluation(flowers)
    assert document["badLines"] == 1
    assert sum(document["rows"].values()) == 399


def test_a_run_that_a_flag_or_the_data_forbids_ends_with_a_sentence(tmp_path, a8a, capfd):
    lines = a8a_like(20)
    lines[3], lines[7] = "+1 3:one", "1 2"
    bad = tables.write(tmp_path / "bad", lines)
    refused = {
        (f"--data={a8a}", "--optimizer=adagrat"): (2, "--optimizer must be one of sgd, adadelta, adagrad"),
        (f"--data={a8a}", "--hidden=128,x"): (
            2,
            '--hidden must be whole numbers from 1 to 65536, such as 128,32,8, not "128,x"',
        ),
        (f"--data={bad}",): (
            1,
            f"2 of 20 lines in {tmp_path} cannot be read, the first is bad line 4 "
            '(index 3 is "one", which is no number); repair or remove them, choose other files by --train-files, or '
            "allow more by --max-bad-ratio (now 0.01)",
        ),
    }
    for flags, (code, words) in refused.items():
        assert training.run(tmp_path / "run", "tabular", *flags) == code
        said = capfd.readouterr().err
        assert words in said
        assert "Traceback" not in said
    assert "bad line 8" not in words
    assert (
        training.run(tmp_path / "run", "tabular", f"--data={bad}", "--max-bad-ratio=0.1", "--epochs=1") == exit_codes.OK
    )
    said = capfd.readouterr().err
    assert 'bad line 8 ("2" is not index:value) cannot be read; it is left out' in said
    assert training.evaluation(tmp_path / "run")["badLines"] == 2


def test_the_jobs_of_the_page_have_flags_that_the_recipe_has():
    page = (Path(__file__).parents[2] / "docs/how-to/tables.md").read_text(encoding="utf-8")
    jobs = re.findall(r"^```yaml\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(jobs) == 2
    for job in map(yaml.safe_load, jobs):
        TrainingJob.model_validate(job)
        assert catalogue.check(job["spec"]["trainer"]["recipe"], job["spec"]["args"]) == []
