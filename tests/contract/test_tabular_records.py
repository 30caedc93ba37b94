"""The recipe for tables on TFRecord files: the same rows as from text, and what is said of records that are none."""

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import exit_codes
from fovea_trainers.datasets.a8a import lines as a8a_like
from fovea_trainers.errors import DataError
from fovea_trainers.recipes import tabular
from fovea_trainers.tables import reading
from fovea_trainers.tables.flags import REGRESSION
from fovea_trainers.tables.labels import Classes, Targets
from support import tables, training


def example(**features) -> bytes:
    """A serialized Example; whole numbers are int64, others float, texts bytes."""

    def feature(values):
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    given = {name: feature(values) for name, values in features.items() if values}
    return tf.train.Example(features=tf.train.Features(feature=given)).SerializeToString()


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def read(path, **flags):
    config = tabular.Config(**flags)
    labels = Targets() if config.task == REGRESSION else Classes()
    return reading.read(reading.find(path, config), config, labels, standardize=False)


def test_sparse_records_are_the_rows_of_the_libsvm_file(tmp_path):
    lines = a8a_like(2500)
    records = []
    for line in lines:
        label, *words = line.split()
        ids, values = zip(*(word.split(":") for word in words), strict=True)
        records.append(example(label=[int(label)], ids=list(map(int, ids)), values=list(map(float, values))))
    text = read(tables.write(tmp_path / "a8a", lines))
    table = read(write(tmp_path / "a8a.tfrecord", records))
    assert (table.classes, table.rows.width, table.bad) == (text.classes, text.rows.width, 0)
    for name in ("ends", "ids", "values"):
        assert np.array_equal(getattr(table.rows, name), getattr(text.rows, name))
    assert np.array_equal(table.labels, text.labels)
    assert table.numbers.tolist() == list(range(1, 2501))


def test_dense_records_are_read_with_labels_of_any_kind(tmp_path):
    given = {"text": [b"rose"], "number": [3], "fraction": [0.1]}
    for kind, label in given.items():
        records = [
            example(label=label, features=[1.0, 2.5]),
            example(label=[type(label[0])(7)] if kind != "text" else [b"lily"], features=[3.0, 4.0]),
        ]
        table = read(write(tmp_path / kind / "a.tfrecord", records))
        assert table.rows.features.tolist() == [[1.0, 2.5], [3.0, 4.0]]
        assert table.classes == {"text": ("lily", "rose"), "number": ("3", "7"), "fraction": ("0.1", "7")}[kind]


BAD = {
    "no Example": b"\xff\xff\xff",
    "no label": example(features=[1.0, 2.0]),
    "two labels": example(label=[1, 2], features=[1.0, 2.0]),
    "another kind": example(label=[1.5], features=[1.0, 2.0]),
    "fewer features": example(label=[1], features=[1.0]),
    "no number": example(label=[1], features=[1.0, float("nan")]),
}
SPARSE_BAD = {
    "another length": example(label=[1], ids=[1, 2], values=[1.0]),
    "below 0": example(label=[1], ids=[-1], values=[1.0]),
    "twice": example(label=[1], ids=[4, 2, 4], values=[1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize(("kind", "record"), [*BAD.items(), *SPARSE_BAD.items()], ids=[*BAD, *SPARSE_BAD])
def test_a_bad_record_is_named_left_out_and_counted_and_its_neighbours_stay(tmp_path, capfd, kind, record):
    if kind in BAD:
        good = [example(label=[i % 2], features=[float(i), 1.0]) for i in range(9)]
    else:
        good = [example(label=[i % 2], ids=[i, 20], values=[1.0, 2.0]) for i in range(9)]
    path = write(tmp_path / "a.tfrecord", [*good[:4], record, *good[4:]])
    table = read(path, max_bad_ratio=0.2)
    assert (table.bad, len(table.labels)) == (1, 9)
    assert table.labels.tolist() == [i % 2 for i in range(9)]
    assert table.numbers.tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    rows = [tensor.numpy().tolist() for tensor in table.rows.take(np.arange(9))]
    assert rows == (
        [[[float(i), 1.0] for i in range(9)]] if kind in BAD else [[[i, 20] for i in range(9)], [[1.0, 2.0]] * 9]
    )
    assert "a.tfrecord record 5 (" in capfd.readouterr().err
    with pytest.raises(DataError, match=r"1 of 10 records in .* cannot be read, the first is a.tfrecord record 5 \("):
        read(path)


@pytest.mark.parametrize("kind", ["GZIP", "ZLIB"])
def test_compressed_files_are_read_beside_others_whatever_their_names(tmp_path, kind):
    records = [example(label=[i % 2], features=[float(i), 1.0]) for i in range(9)]
    write(tmp_path / "plain" / "a.tfrecord", records)
    write(tmp_path / "plain" / "b.tfrecord.gz", records)
    write(tmp_path / "mixed" / "a.tfrecord", records)
    with tf.io.TFRecordWriter(str(tmp_path / "mixed" / "b.tfrecord.gz"), kind) as writer:
        for record in records:
            writer.write(record)
    plain, mixed = read(tmp_path / "plain"), read(tmp_path / "mixed")
    assert np.array_equal(plain.rows.features, mixed.rows.features)
    assert (plain.labels.tolist(), plain.numbers.tolist()) == (mixed.labels.tolist(), mixed.numbers.tolist())


@pytest.mark.parametrize("kind", ["GZIP", "ZLIB"])
def test_a_compressed_file_that_is_cut_off_is_named(tmp_path, kind):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path), kind) as writer:
        for number in range(3000):
            writer.write(example(label=[number % 2], features=[float(number)]))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"a.tfrecord: damaged, or no TFRecord file, after record"):
        read(path)


def test_files_that_are_no_tables_are_named(tmp_path):
    pictures = write(tmp_path / "p" / "a.tfrecord", [example(label=[1], image=[b"png"])] * 3)
    with pytest.raises(
        DataError, match=r"a.tfrecord: the first record has image \(string\), label \(int64\): a table has"
    ):
        read(pictures)
    cut = write(tmp_path / "c" / "a.tfrecord", [example(label=[i % 2], features=[1.0]) for i in range(5)])
    cut.write_bytes(cut.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"a.tfrecord: damaged, or no TFRecord file, after record"):
        read(cut)
    empty = tmp_path / "e" / "a.tfrecord"
    empty.parent.mkdir()
    empty.touch()
    with pytest.raises(DataError, match="have no row"):
        read(empty)


def test_a_glob_of_records_trains_to_the_bytes_that_the_libsvm_file_does(tmp_path):
    lines = a8a_like(120)
    tables.write(tmp_path / "text" / "a8a", lines)
    for part in range(2):
        records = []
        for line in lines[part * 60 : part * 60 + 60]:
            label, *words = line.split()
            records.append(
                example(label=[int(label)], ids=[int(w.split(":")[0]) for w in words], values=[1.0] * len(words))
            )
        write(tmp_path / "records" / f"train-0000{part}-of-00002.tfrecord", records)
        (tmp_path / "records" / f"train-0000{part}-of-00002.tfrecord.index").write_bytes(b"no row")
    # Rows are divided by the name of their file, and these are others.
    flags = ("--epochs=1", "--hidden=4", "--train-files=*", "--validation-ratio=0")
    for data in ("text", "records"):
        assert training.run(tmp_path / f"run-{data}", "tabular", f"--data={tmp_path / data}", *flags) == exit_codes.OK
    assert training.trained_bytes(tmp_path / "run-text") == training.trained_bytes(tmp_path / "run-records")
