"""`fovea data convert` and `show`: TensorFlow reads what they write, the recipes train on it, and they read TensorFlow's."""

import gzip
import hashlib
import json
import struct
import zlib

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from fovea.cli.main import cli
from fovea_api.contract import exit_codes, shards
from fovea_trainers import make_dataset
from fovea_trainers.datasets.a8a import lines as a8a_like
from support import tables, training


def run(*arguments, code=0):
    """Standard output and error of `fovea data …`."""
    done = CliRunner().invoke(cli, ["data", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def examples(path):
    return [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_converted_libsvm_trains_to_the_bytes_of_the_text(tmp_path):
    tables.write(tmp_path / "text" / "a8a", a8a_like(90))
    tables.write(tmp_path / "text" / "a8a.t", a8a_like(30, seed=2))
    assert "120 records in 2 shards" in run("convert", "libsvm", "tfrecord", tmp_path / "text", tmp_path / "shards")
    names = {"text": "a8a.t", "shards": "a8a.t-*"}
    for data, validation in names.items():
        flags = (f"--data={tmp_path / data}", f"--validation-files={validation}", "--epochs=1", "--hidden=4")
        assert training.run(tmp_path / f"run-{data}", "tabular", *flags) == exit_codes.OK
    assert training.trained_bytes(tmp_path / "run-text") == training.trained_bytes(tmp_path / "run-shards")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_converted_csv_trains_to_the_bytes_of_the_text(tmp_path, task):
    label = {"classification": "kind", "regression": "length"}[task]
    lines = [line.replace("iris", "1").replace("lily", "2").replace("rose", "3") for line in tables.flowers(60)]
    data = tables.write(tmp_path / "flowers.csv", lines)
    more = ("--number-labels",) if task == "regression" else ()
    run("convert", "csv", "tfrecord", data, tmp_path / "shards", "--label-column", label, *more)
    flags = (f"--task={task}", f"--label-column={label}", "--epochs=1", "--hidden=4")
    flags += ("--validation-ratio=0",)  # rows are divided by the name of their file, and that is another one
    for name, source in (("text", data), ("shards", tmp_path / "shards")):
        assert training.run(tmp_path / name, "tabular", f"--data={source}", *flags) == exit_codes.OK
    assert training.trained_bytes(tmp_path / "text", "model") == training.trained_bytes(tmp_path / "shards", "model")


def test_pictures_are_in_the_shards_as_they_are_each_time_the_same(tmp_path):
    make_dataset.make("pets", tmp_path / "pets", count=24, seed=1)
    for out in ("one", "two"):
        run("convert", "images", "tfrecord", tmp_path / "pets", tmp_path / out)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    found = {}
    for example in examples(tmp_path / "one" / "data-00000-of-00001.tfrecord"):
        feature = example.features.feature
        (name,), (text,) = (feature[key].bytes_list.value for key in ("image/filename", "image/class/text"))
        (label,) = feature["image/class/label"].int64_list.value
        assert ("cat", "dog")[label] == text.decode() == name.decode().partition(".")[0]
        found[name.decode()] = feature["image/encoded"].bytes_list.value[0]
    assert found == {path.name: path.read_bytes() for path in (tmp_path / "pets").iterdir()}
    assert list(found) != sorted(found), "shards of one class after the other are of little use to others"
    assert (tmp_path / "one" / "classes.txt").read_text() == "cat\ndog\n"


def test_a_ready_made_split_has_shards_of_each_set_of_the_size_that_was_asked_for(tmp_path):
    noise = np.random.default_rng(1)
    for part, count in (("train", 12), ("val", 4)):
        for kind in ("a", "b"):
            for number in range(count // 2):
                path = tmp_path / "data" / part / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tf.io.encode_png(noise.integers(0, 256, (300, 300, 3)).astype(np.uint8)).numpy())
    run("convert", "images", "tfrecord", tmp_path / "data", tmp_path / "out", "--shard-mib", "1")
    shards = sorted((tmp_path / "out").glob("*.tfrecord"))
    sizes = {shard.name: len(examples(shard)) for shard in shards}
    assert sizes == {
        "train-00000-of-00003.tfrecord": 4,
        "train-00001-of-00003.tfrecord": 4,
        "train-00002-of-00003.tfrecord": 4,
        "validation-00000-of-00001.tfrecord": 4,
    }
    for shard in shards:
        offsets = np.fromfile(f"{shard}.index", "<i8")
        assert offsets[-1] == shard.stat().st_size
        content = shard.read_bytes()
        records = [record.numpy() for record in tf.data.TFRecordDataset(str(shard))]
        for start, record in zip(offsets[:-1], records, strict=True):
            (length,) = struct.unpack_from("<Q", content, start)
            assert content[start + 12 : start + 12 + length] == record


def test_show_reads_what_tensorflow_wrote(tmp_path):
    path = tmp_path / "a.tfrecord"
    features = {
        "words": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"caf\xc3\xa9", b"\xff\xfe"])),
        "numbers": tf.train.Feature(int64_list=tf.train.Int64List(value=range(-1, 12))),
        "picture": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\x89PNG\r\n\x1a\n1234"])),
        "share": tf.train.Feature(float_list=tf.train.FloatList(value=[0.1])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in (example, b"", example):
            writer.write(record)
    said = run("show", path)
    assert [line.split(None, 3) for line in said.splitlines()[1:6]] == [
        ["FEATURE", "KIND", "COUNT", "VALUES"],
        ["numbers", "int64", "13", "-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, …"],
        ["picture", "bytes", "1", "picture of 12 bytes"],
        ["share", "float", "1", "0.1"],
        ["words", "bytes", "2", '"café", 2 bytes'],
    ]
    assert "record 2, 0 bytes: no Example of TensorFlow" in said
    assert said.endswith(f"{path}: 3 records, all checksums are right.\n")
    found = json.loads(run("show", path, "--from", "3", "--format", "json"))
    assert (found["records"], [one["number"] for one in found["shown"]]) == (3, [3])
    assert found["shown"][0]["features"]["share"] == {"kind": "float", "count": 1, "values": "0.1"}


def test_a_damaged_file_is_named_with_its_record(tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(3):
            writer.write(b"0123456789")
    whole = path.read_bytes()
    length = struct.pack("<Q", 2**62)
    endless = length + struct.pack("<I", shards.masked(google_crc32c.value(length)))
    broken = {
        "record 1 is damaged (it is cut off)": endless,
        "record 2 is damaged (its checksum is wrong)": whole[:40] + b"?" + whole[41:],
        "record 3 is damaged (the checksum of its length is wrong)": whole[:52] + b"?" + whole[53:],
        "record 3 is damaged (it is cut off)": whole[:-1],
        "record 1 is damaged (the checksum of its length is wrong)": b"no TFRecord file at all",
    }
    broken["is compressed (GZIP), and records"] = gzip.compress(whole)
    broken["is compressed (ZLIB)"] = zlib.compress(whole)
    for words, content in broken.items():
        path.write_bytes(content)
        assert words in run("show", path, code=1)


REFUSED = {
    "a bad row": (
        "libsvm",
        {"a": ["1 1:1", "2 x:1"]},
        "1 of 2 rows of",
        'the first is a row 2 ("x:1" is not index:value)',
    ),
    "no label": ("csv", {"a.csv": ["x,y", "1,"]}, "the first is a.csv row 2 (the label is empty)", ""),
    "other columns": (
        "csv",
        {"a.csv": ["x,y", "1,2"], "b.csv": ["z,y", "1,2"]},
        "b.csv: its columns are z, y, not x, y",
        "",
    ),
    "files whose shards would have one name": (
        "csv",
        {"a/b.csv": ["x,y", "1,2"], "a-b.csv": ["x,y", "3,4"]},
        "would have shards of the same name: rename one of them",
        "a/b.csv",
    ),
    "no csv": ("csv", {"a": ["1,2"]}, "has no file whose name ends in .csv", ""),
    "one class": (
        "images",
        {"a/1.png": ["no"]},
        "has 1 classes: give a folder with one folder of pictures per class",
        "",
    ),
}


@pytest.mark.parametrize(("kind", "files", "words", "more"), REFUSED.values(), ids=REFUSED.keys())
def test_data_that_cannot_be_converted_is_named_and_nothing_is_left(tmp_path, kind, files, words, more):
    for name, lines in files.items():
        tables.write(tmp_path / "data" / name, lines)
    said = run("convert", kind, "tfrecord", tmp_path / "data", tmp_path / "out", code=1)
    assert words in said
    assert more in said
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_place_that_takes_nothing_is_named(tmp_path):
    data = tables.write(tmp_path / "a", ["1 1:1"])
    assert f"{data / 'out'} cannot be written (" in run("convert", "libsvm", "tfrecord", data, data / "out", code=1)


def test_bad_rows_within_the_share_are_left_out_and_named(tmp_path):
    data = tables.write(tmp_path / "a", ["1 1:1", "2 x:1", "3 1:1"])
    said = run("convert", "libsvm", "tfrecord", data, tmp_path / "out", "--max-bad-ratio", "0.5")
    assert "2 records in 1 shards" in said
    assert 'Left out: a row 2 ("x:1" is not index:value)' in said
    assert "exists and is not empty" in run("convert", "libsvm", "tfrecord", data, tmp_path / "out", code=1)


def test_pictures_without_a_class_and_whatever_else_is_not_converted_is_named_and_counted(tmp_path):
    data = tmp_path / "data"
    picture = b"\xff\xd8\xff of a jpeg"
    names = ["train/cat.0.jpg", "train/dog.0.jpg", *(f"test/{number}.jpg" for number in range(4)), "test1/1.jpg"]
    for name in [*names, "README.md", "train/list.txt", ".DS_Store", "__MACOSX/train/._cat.0.jpg"]:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(picture if name.endswith("jpg") else b"no picture")
    said = run("convert", "images", "tfrecord", data, tmp_path / "out")
    assert "2 records in 1 shards" in said
    shown = [
        "README.md (it is in none of the sets train, test)",
        "test1/ (it is in none of the sets train, test)",
        "train/list.txt (it is no picture)",
        "test/0.jpg (it has no class)",
        "test/1.jpg (it has no class)",
    ]
    assert "".join(f"Left out: {line}\n" for line in [*shown, "2 more; --format json names all"]) in said
    everything = run("convert", "images", "tfrecord", data, tmp_path / "again", "--format", "json")
    document = json.loads(everything[everything.index("{") : everything.rindex("}") + 1])
    assert document["left_out"] == [*shown, *(f"test/{number}.jpg (it has no class)" for number in (2, 3))]


def test_loose_pictures_beside_class_folders_and_an_empty_class_are_named(tmp_path):
    data = tmp_path / "data"
    for name in ("a/1.jpg", "b/1.jpg", "cat.0.jpg"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"\xff\xd8\xff")
    (data / "c").mkdir()
    said = run("convert", "images", "tfrecord", data, tmp_path / "out")
    assert "Left out: c is an empty folder\nLeft out: cat.0.jpg (it has no class)\nNext: " in said


def test_files_that_are_no_csv_are_named(tmp_path):
    tables.write(tmp_path / "data" / "a.csv", ["x,y", "1,2"])
    tables.write(tmp_path / "data" / "notes.txt", ["x"])
    said = run("convert", "csv", "tfrecord", tmp_path / "data", tmp_path / "out")
    assert "Left out: notes.txt (its name does not end in .csv)\nNext: " in said
