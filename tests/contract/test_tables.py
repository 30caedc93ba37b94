"""Parts of the recipe for tables: which files are read, how rows are split, what networks are made, how AUC is counted."""

import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers.data import split
from fovea_trainers.errors import DataError
from fovea_trainers.recipes import tabular
from fovea_trainers.runtime import optimizers
from fovea_trainers.runtime.classification import auc, ranking
from fovea_trainers.tables import reading
from fovea_trainers.tables.flags import REGRESSION
from fovea_trainers.tables.labels import Classes, Targets
from fovea_trainers.tables.layers import SparseDense
from fovea_trainers.tables.rows import Dense, Sparse
from fovea_trainers.tables.sets import Sets, draws, groups
from support import tables


def table(root, **flags):
    config = tabular.Config(**flags)
    labels = Targets() if config.task == REGRESSION else Classes()
    return reading.read(reading.find(root, config), config, labels, standardize=config.standardize)


def sets(rows, classes=("-1", "1"), labels=(0, 1, 0, 1)):
    everything = np.arange(len(labels))
    found = reading.Table(
        rows, np.array(labels, np.int32), classes, len(labels), (), 0, [], everything + 1, everything[:1]
    )
    return Sets(found, everything, everything[:0], everything[:0], "")


ENTRIES = Sparse(np.array([0, 2, 3, 3, 6]), np.array([0, 3, 2, 1, 2, 3]), np.array([1, 2, 3, 4, 5, 6], np.float32), 4)
NUMBERS = Dense(np.array([[1, 0, 0, 2], [0, 0, 3, 0], [0, 0, 0, 0], [0, 4, 5, 6]], np.float32), standardize=False)


def test_files_are_chosen_by_their_names(tmp_path):
    for name in ("a/train-1.csv", "a/train-2.csv", "b/check.csv", ".hidden.csv"):
        tables.write(tmp_path / name, ["x,y", "1,a", "2,b"])

    def chosen(**flags):
        files = reading.find(tmp_path, tabular.Config(**flags))
        return files.train, files.validation, files.format

    both = ["a/train-1.csv", "a/train-2.csv"]
    assert chosen() == ([*both, "b/check.csv"], [], "csv")
    assert chosen(validation_files="*check*") == (both, ["b/check.csv"], "csv")
    assert chosen(train_files="a/*1.csv", format="libsvm") == (["a/train-1.csv"], [], "libsvm")
    assert reading.find(tmp_path / "b/check.csv", tabular.Config()).train == ["check.csv"]


REFUSED = {
    "nothing there": ({}, {}, "does not exist; give --data=DIR, or a file"),
    "no file of that name": (
        {"a": ["1 1:1"]},
        {"train_files": "*.csv"},
        "no file matches --train-files=*.csv; there is a",
    ),
    "all for validation": ({"a": ["1 1:1"]}, {"validation_files": "*"}, "holds no file to train on; there is a"),
    "two formats": (
        {"a": ["1 1:1"], "b.csv": ["x,y"]},
        {},
        "holds files of several formats, by their names (a, b.csv)",
    ),
    "one class": ({"a": ["1 1:1", "+1 2:1"]}, {}, "have the single class 1: two classes or more are needed"),
    "no row": ({"a.csv": ["x,y"]}, {}, "have no row: two classes or more are needed"),
    "a class to validate only": (
        {"a": ["1 1:1", "2 1:1"], "b": ["3 1:1"]},
        {"validation_files": "b"},
        "class 3 is in the validation files",
    ),
    "a class for each row": ({"a": [f"{n}.5 1:1" for n in range(1001)]}, {}, "have 1001 classes, such as 0.5, 1.5"),
    "other columns": (
        {"a.csv": ["x,y", "1,a"], "b.csv": ["z,y", "1,b"]},
        {},
        "b.csv: the columns are z, y, those of the files before x, y: all files need the same columns",
    ),
    "one number as two classes": (
        {"a.csv": ["x,y", "1,1", "2,0", "3,1.0"]},
        {},
        "class 1 and class 1.0 are the same number: write it alike in all rows",
    ),
    "a column without a name": ({"a.csv": [",x,y", "0,1,a", "1,2,b"]}, {}, "a.csv: column 1 has no name"),
    "names that count up": ({"a.csv": ["0,1,y", "5,1,a", "6,2,b"]}, {}, 'a.csv: the first line "0,1,y" may be'),
    "an index of millions": ({"a": ["1 1:1", "2 10000000:1"]}, {}, "the largest index is 10000000"),
}


@pytest.mark.parametrize(("files", "flags", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_data_that_cannot_be_trained_on_is_named(tmp_path, files, flags, words):
    for name, lines in files.items():
        tables.write(tmp_path / "data" / name, lines)
    with pytest.raises(DataError) as refused:
        table(tmp_path / "data", **flags)
    assert words in str(refused.value)


def test_remarks_empty_lines_and_a_byte_order_mark_are_no_rows(tmp_path):
    read = table(tables.write(tmp_path / "a", ["# a8a", "", "+1 3:1 # old", "  ", "-1 5:2"]))
    assert (read.labels.tolist(), read.classes, read.rows.width) == ([1, 0], ("-1", "1"), 6)
    read = table(tables.write(tmp_path / "b.csv", ["\ufeffx,y", "1,#1", "2,b", ""]))
    assert (read.columns, read.classes, read.rows.features.tolist()) == (("x",), ("#1", "b"), [[1], [2]])


def test_classes_that_are_numbers_stand_in_the_order_of_numbers(tmp_path):
    read = table(tables.write(tmp_path / "a", ["10 1:1", "9 1:1", "-1 1:1"]))
    assert (read.classes, read.labels.tolist()) == (("-1", "9", "10"), [2, 1, 0])


def test_a_heading_of_numbers_is_one_where_the_flag_says_so(tmp_path):
    file = tables.write(tmp_path / "a.csv", ["0,1,y", "5,1,a", "6,2,b"])
    assert table(file, heading="yes").columns == ("0", "1")
    assert table(file, heading="no").classes == ("a", "b", "y")


def test_labels_that_are_not_utf_8_are_no_class(tmp_path):
    (tmp_path / "a.csv").write_bytes("x,y\n1,für\n2,for\n3,fär\n4,far\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"the first is a.csv line 2 \(it is not UTF-8: save the file as UTF-8\)"):
        table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes("x,y\n1,a\n2,b\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"the first line cannot be read: it is not UTF-8: save the file as UTF-8$"):
        table(tmp_path / "b.csv")


def test_other_bytes_are_another_table(tmp_path):
    first = table(tables.write(tmp_path / "a", ["1 1:1", "2 1:1"])).digests
    assert table(tables.write(tmp_path / "a", ["1 1:1", "2 1:2"])).digests != first
    assert table(tables.write(tmp_path / "a", ["1 1:1", "2 1:1"])).digests == first


def divided(root, seed=1, **flags):
    """The rows (file, line) of the training, validation and test set, and what was read."""
    config = tabular.Config(**flags)
    files = reading.find(root, config)
    labels = Targets() if config.task == REGRESSION else Classes()
    found = reading.read(files, config, labels, standardize=True)
    parts = split.divide(groups(found), draws(found, files.train, seed), (config.validation_ratio, config.test_ratio))
    owners = np.searchsorted(found.ends, np.arange(found.trained), "right")
    return [{(files.train[owners[row]], int(found.numbers[row])) for row in part} for part in (parts[2], *parts[:2])], (
        found,
        parts,
    )


def test_every_class_is_split_alike_and_one_row_of_it_stays(tmp_path):
    tables.write(tmp_path / "a.csv", ["x,y", *(f"{n},a" for n in range(70)), *(f"{n},b" for n in range(29)), "1,c"])
    _, (found, (validation, test, train)) = divided(tmp_path, validation_ratio=0.2, test_ratio=0.1)
    counts = [np.bincount(found.labels[part], minlength=3).tolist() for part in (train, validation, test)]
    assert counts == [[49, 20, 1], [14, 6, 0], [7, 3, 0]]
    assert sorted(np.concatenate([train, validation, test]).tolist()) == list(range(100))
    _, (_, again) = divided(tmp_path, validation_ratio=0.2, test_ratio=0.1)
    assert [part.tolist() for part in again] == [part.tolist() for part in (validation, test, train)]
    _, (_, other) = divided(tmp_path, seed=2, validation_ratio=0.2, test_ratio=0.1)
    assert other[0].tolist() != validation.tolist()


@pytest.mark.parametrize("more", [{}, {"task": REGRESSION}], ids=["classes", "numbers"])
def test_one_more_file_and_rows_behind_others_leave_most_rows_where_they_were(tmp_path, more):
    rows = ["x,y", *(f"{number},{number % 2}" for number in range(100))]
    tables.write(tmp_path / "m.csv", rows)
    (train, validation, _), _ = divided(tmp_path, validation_ratio=0.3, **more)
    tables.write(tmp_path / "a.csv", rows[:11])
    tables.write(tmp_path / "m.csv", [*rows, "5,0", "not a number,1", "6,1"])
    (now_trained, now_validated, _), _ = divided(tmp_path, validation_ratio=0.3, max_bad_ratio=0.1, **more)
    moved = (train & now_validated) | (validation & now_trained)
    assert len(moved) <= 12, "each of the 12 rows that came moves at most one other"
    assert train | validation == {row for row in now_trained | now_validated if row[0] == "m.csv" and row[1] <= 101}


def test_sparse_rows_give_what_dense_ones_do():
    chosen = np.array([3, 0, 2, 1])
    layer = SparseDense(4, 5)
    ids, values = ENTRIES.take(chosen)
    assert ids.shape == (4, 3)
    (features,) = NUMBERS.take(chosen)
    assert np.allclose(layer(ids, values), features @ layer.get_weights()[0] + layer.get_weights()[1])
    lone = ENTRIES.take(np.array([2]))
    assert np.allclose(layer(*lone), layer.get_weights()[1]), "a row without entries"


def test_ids_outside_of_the_features_count_nothing():
    layer = SparseDense(4, 5)
    ids, values = ENTRIES.take(np.array([1]))
    more = tf.constant([[-1, 4, 2**40]], tf.int64), tf.constant([[7.0, 8.0, 9.0]])
    assert np.array_equal(layer(ids, values), layer(tf.concat([ids, more[0]], 1), tf.concat([values, more[1]], 1)))


WIDE = 124 * 2 + 2
DEEP = (124 * 128 + 128) + (128 * 32 + 32) + (32 * 8 + 8) + (8 * 2 + 2)
PARAMETERS = {
    "lr": ({"model": "lr", "batch_norm": True, "dropout": 0.5}, WIDE),
    "dnn": ({"model": "dnn"}, DEEP),
    "wide-and-deep": ({"model": "wide-and-deep", "dropout": 0.5}, DEEP + WIDE),
    "with batch normalization": ({"model": "dnn", "batch_norm": True}, DEEP + 4 * (128 + 32 + 8)),
}


@pytest.mark.parametrize(("flags", "count"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters_of_the_networks_on_a8a(flags, count):
    a8a = Sparse(ENTRIES.ends, ENTRIES.ids, ENTRIES.values, 124)
    model = tabular.network(tabular.Config(**flags), sets(a8a))
    assert model.count_params() == count
    assert {layer.epsilon for layer in model.layers if "normalization" in layer.name} <= {0.001}


@pytest.mark.parametrize("name", optimizers.NAMES)
@pytest.mark.parametrize("rows", [ENTRIES, NUMBERS], ids=["libsvm", "CSV"])
def test_every_optimizer_lowers_the_loss(name, rows):
    config = tabular.Config(optimizer=name, model="wide-and-deep", hidden="4", learning_rate=0.1)
    tf.keras.utils.set_random_seed(1)
    made = sets(rows)
    model = tabular.network(config, made)
    optimizer = optimizers.build(config, config.epochs, model.trainable_variables)
    update = tabular.learning(model, optimizer, made)
    batch = (*rows.take(np.arange(4)), tf.constant([0, 1, 0, 1]), tf.ones([4]))
    losses = [float(update(*batch, tf.constant(step, tf.int64))["loss"][0]) for step in range(1, 6)]
    assert losses[-1] < losses[0]


def test_an_auc_is_the_share_of_pairs_in_order_with_ties_as_half():
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 300)
    logits = np.round(random.normal(labels, 1.0, 300), 1).astype(np.float32)  # in steps of 0.1: many ties
    logits[:6] = [-90, 90, 1000, -1000, 17, -17]
    columns = tf.stack([tf.zeros(300), tf.constant(logits)], axis=1)
    halves = [slice(0, 100), slice(100, 300)]
    counts = sum(ranking(tf.constant(labels[part], tf.int32), columns[part])[0].numpy() for part in halves)
    clipped = np.clip(logits, -16, 16)
    positive, negative = clipped[labels == 1][:, np.newaxis], clipped[labels == 0]
    expected = (positive > negative).mean() + (positive == negative).mean() / 2
    assert auc(counts) == pytest.approx(expected, abs=1e-12)
    assert auc(np.zeros((2, 8), np.int64)) == 0.0


def test_a_column_is_standardized_by_the_training_rows_alone_and_a_constant_one_is_left():
    features = np.array([[1, 7], [3, 7], [100, 9]], np.float32)
    inputs, linear = Dense(features, standardize=True).inputs(np.array([0, 1]))
    model = tf.keras.Model(inputs, linear(1))
    model.layers[-1].set_weights([np.array([[1.0], [10.0]]), np.zeros(1)])
    assert model([features]).numpy()[:, 0].tolist() == [-1.0, 1.0, 98.0 + 20.0]


def test_the_rate_falls_by_epoch():
    factor = optimizers.by_epoch(0.5, 10)
    assert [float(factor(tf.constant(step, tf.int64))) for step in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]


def test_a_row_without_a_label_is_a_bad_one(tmp_path, capfd):
    found = table(tables.write(tmp_path / "a.csv", ["x,y", "1,a", "2,", "3,b"]), max_bad_ratio=0.5)
    assert (found.bad, found.labels.tolist()) == (1, [0, 1])
    assert "a.csv line 3 (the label is empty) cannot be read; it is left out" in capfd.readouterr().err
