"""Pictures in TFRecord shards: any record by its number, with and without an index, and the recipe that trains on them."""

import gzip
import shutil
import zlib
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from fovea.sdk import convert
from fovea_api.contract import exit_codes
from fovea_trainers import make_dataset
from fovea_trainers.data import order, shards
from fovea_trainers.data.examples import Unreadable
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.strategy import Shard
from fovea_trainers.vision import image_folders, image_shards
from support import training


def listing(root):
    return image_shards.scan(root, image_shards.names(root))


def strip(root, *suffixes):
    """Take the files beside the shards away."""
    for path in root.iterdir():
        if path.name.endswith(suffixes):
            path.unlink()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """60 pictures in two shards, and as files."""
    root = tmp_path_factory.mktemp("pets")
    make_dataset.make("pets", root / "files", count=60, seed=1)
    convert.images(root / "files", root / "shards", shard_bytes=150_000)
    assert len(image_shards.names(root / "shards")) == 2
    return root


@pytest.fixture
def pets(tmp_path, made):
    """A copy of them, to be changed."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize("without", [(), (".index",), (".labels",), (".index", ".labels", "classes.txt")])
def test_any_picture_is_read_by_its_number(pets, without):
    strip(pets / "shards", *without) if without else None
    found = listing(pets / "shards")
    assert (len(found), found.classes) == (60, ("cat", "dog"))
    content = {path.read_bytes(): path.name for path in (pets / "files").iterdir()}
    for number in np.random.default_rng(3).permutation(60):
        kind = content.pop(found.content(number)).partition(".")[0]
        assert kind == found.classes[found.labels[number]]
    assert not content
    assert found.name(0) == "data-00000-of-00002.tfrecord record 1"
    assert found.name(59).startswith("data-00001-of-00002.tfrecord record ")


def test_the_keys_of_tensorflows_own_data_sets_are_understood(tmp_path):
    picture = tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy()
    with tf.io.TFRecordWriter(str(tmp_path / "mnist-train.tfrecord-00000-of-00001")) as writer:
        for number in range(6):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 3])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    found = listing(tmp_path)
    assert (found.classes, found.labels.tolist()) == (("0", "1", "2"), [0, 1, 2, 0, 1, 2])
    assert found.content(4) == picture


def test_a_split_takes_the_same_share_of_each_class_and_leaves_sets_of_shards_alone(pets, tmp_path):
    found = listing(pets / "shards")
    parts = image_folders.split(found, validation_ratio=0.2, test_ratio=0.1, seed=1)
    assert {name: np.bincount(found.labels[part]).tolist() for name, part in parts.items()} == {
        "train": [21, 21],
        "validation": [6, 6],
        "test": [3, 3],
    }
    again = image_folders.split(found, validation_ratio=0.2, test_ratio=0.1, seed=2)
    assert again["validation"].tolist() != parts["validation"].tolist()
    for part in ("train", "val"):
        make_dataset.make("pets", tmp_path / "split" / part, count=10, seed=4)
    convert.images(tmp_path / "split", tmp_path / "ready")
    parts = image_folders.split(listing(tmp_path / "ready"), validation_ratio=0.5, test_ratio=0, seed=1)
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": list(range(10)),
        "validation": list(range(10, 20)),
        "test": [],
    }


def test_a_damaged_record_is_unreadable_and_its_neighbours_are_not(pets):
    found = listing(pets / "shards")
    before = [found.content(number) for number in range(60)]
    path = pets / "shards" / "data-00000-of-00002.tfrecord"
    start = int(found.shards.offsets[0][3])
    content = bytearray(path.read_bytes())
    content[start + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="its checksum is wrong"):
        found.content(3)
    assert [found.content(number) for number in range(60) if number != 3] == before[:3] + before[4:]


DAMAGED = {
    "an index of another shard": (".tfrecord.index", lambda content: content[:-8], "is not the index of data-0000"),
    "an index cut off": (".tfrecord.index", lambda content: content[:-3], "is not the index of data-0000"),
    "labels of another shard": (".labels", lambda content: content[:-4], "labels of"),
    "a shard cut off": (".tfrecord", lambda content: content[:-9], "remove it, or convert the data again"),
    "classes of other data": ("classes.txt", lambda _: b"cat\n", "are from 0 to 1, but classes.txt names 1 classes"),
    "a class without a picture": ("classes.txt", lambda _: b"cat\ndog\nfox\n", "no training picture of class fox"),
}


@pytest.mark.parametrize(("suffix", "change", "words"), DAMAGED.values(), ids=DAMAGED.keys())
def test_what_does_not_fit_is_named(pets, suffix, change, words):
    path = sorted(path for path in (pets / "shards").iterdir() if path.name.endswith(suffix))[0]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=words):
        listing(pets / "shards")


def test_a_shard_without_an_index_that_is_cut_off_is_named(pets):
    strip(pets / "shards", ".index")
    path = pets / "shards" / "data-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"data-00001-of-00002.tfrecord: record \d+ is damaged or cut off"):
        listing(pets / "shards")


@pytest.mark.parametrize(("kind", "pack"), [("GZIP", gzip.compress), ("ZLIB", zlib.compress)])
@pytest.mark.parametrize("without", [(), (".index",)], ids=["with an index", "without an index"])
def test_a_compressed_shard_is_named_with_what_to_do(pets, kind, pack, without):
    strip(pets / "shards", *without)
    path = pets / "shards" / "data-00001-of-00002.tfrecord"
    path.write_bytes(pack(path.read_bytes()))
    with pytest.raises(DataError, match=rf"data-00001-of-00002.tfrecord is compressed \({kind}\), .* uncompress it \("):
        listing(pets / "shards")


def test_an_empty_shard_is_none_to_fall_over(pets):
    (pets / "shards" / "data-00002-of-00002.tfrecord").touch()
    strip(pets / "shards", ".labels")
    assert len(listing(pets / "shards")) == 60
    assert len(shards.open_all(pets / "shards", ["data-00002-of-00002.tfrecord"])) == 0


def test_the_recipe_trains_on_shards_leaves_a_damaged_picture_out_and_resumes_to_the_byte(pets, capfd):
    path = pets / "shards" / "data-00000-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[int(listing(pets / "shards").shards.offsets[0][3]) + 100] ^= 1
    path.write_bytes(content)
    command = ("image-classifier", f"--data={pets / 'shards'}", *training.FLAGS, "--epochs=2", "--no-cache-images")
    assert training.run(pets / "whole", *command) == exit_codes.OK
    assert (
        "picture data-00000-of-00002.tfrecord record 4 (its checksum is wrong) cannot be read" in capfd.readouterr().err
    )
    document = training.evaluation(pets / "whole")
    assert document["unreadable"] == 1
    assert sum(document["images"].values()) == 59
    assert training.run(pets / "parts", *command, "--max-steps=7") == exit_codes.OK
    assert training.run(pets / "parts", *command) == exit_codes.OK
    assert training.trained_bytes(pets / "parts") == training.trained_bytes(pets / "whole")


NO_PICTURES = {
    "no Example": (b"\xff\xfe", "a record from a.tfrecord record 1 on is no Example"),
    "no class": (
        tf.train.Example(
            features=tf.train.Features(feature={"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"]))})
        ).SerializeToString(),
        "not each record from a.tfrecord record 1 on has one image/class/label or label",
    ),
}


@pytest.mark.parametrize(("record", "words"), NO_PICTURES.values(), ids=NO_PICTURES.keys())
def test_records_that_are_no_pictures_with_classes_are_named(tmp_path, record, words):
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(record)
    with pytest.raises(DataError, match=words):
        listing(tmp_path)


def test_a_record_without_a_picture_is_unreadable(tmp_path):
    feature = {"label": tf.train.Feature(int64_list=tf.train.Int64List(value=[0]))}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(example.SerializeToString())
        feature["label"].int64_list.value[0] = 1
        writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    with pytest.raises(Unreadable, match="the record has no image/encoded or image"):
        listing(tmp_path).content(1)


def test_workers_read_parts_of_the_batches_of_one_worker(pets):
    found = listing(pets / "shards")
    read = partial(order.batches, len(found), 7, seed=1, epoch=2, first=3)
    alone = [sorted(chosen) for chosen in read(shard=Shard())]
    shares = (read(shard=Shard(index, 2)) for index in range(2))
    assert [sorted([*one, *other]) for one, other in zip(*shares, strict=True)] == alone
