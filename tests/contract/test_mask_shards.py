"""Pictures with masks in shards: the batches are those of the files, and what does not fit is named."""

import re

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from fovea.cli.main import cli
from fovea_api.contract import exit_codes
from fovea_trainers.errors import DataError
from fovea_trainers.recipes import segmenter
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Shard
from fovea_trainers.vision import image_shards, mask_sets, mask_shards, placing
from support import masks, training


def convert(source, out, code=0):
    done = CliRunner().invoke(cli, ["data", "convert", "masks", "tfrecord", str(source), str(out)])
    assert done.exit_code == code, done.output
    return done.output


def batches(data, root, **more):
    """All batches of two epochs of the training set, then those of the evaluated sets, as bytes."""
    config = segmenter.Config(data=str(data), image_size=32, min_scale=0.5, max_scale=1.0, test_ratio=0.2, **more)
    with Interruption(saves=False) as interruption:
        session = Session.begin("test", config, training.variables(root), interruption)
        sets = mask_sets.read(config, config.seed, session)
        dataset = sets.training(4, seed=config.seed, distortion=placing.of(config))
        read = [list(dataset(epoch, 0, Shard(0, 1))) for epoch in range(2)]
        read += [list(found()) for found in sets.evaluated(4).values()]
    return [[[tensor.numpy().tobytes() for tensor in batch] for batch in each] for each in read]


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "read when needed"])
@pytest.mark.parametrize("lists", [True, False], ids=["sets of lists", "sets of the split"])
def test_shards_give_the_batches_of_the_files_to_the_byte(tmp_path, lists, held):
    files = masks.write(tmp_path / "files", 13, lists=lists)
    assert "13 records in " in convert(files, tmp_path / "shards")
    expected = batches(files, tmp_path, cache_images=held)
    assert len(expected) == 4
    assert batches(tmp_path / "shards", tmp_path, cache_images=held) == expected


def test_the_recipe_trains_on_shards_and_leaves_a_damaged_record_out(tmp_path, capfd):
    shards = tmp_path / "shards"
    convert(masks.write(tmp_path / "files", 12, lists=False), shards)
    (path,) = shards.glob("*.tfrecord")
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    flags = ("--image-size=32", "--epochs=1", "--learning-rate=0.002")
    assert training.run(tmp_path, "segmenter", f"--data={shards}", *flags) == exit_codes.OK
    said = capfd.readouterr().err
    assert re.search(
        r"picture p\d\d \(data-00000-of-00001.tfrecord record 1\) \(its checksum is wrong\) cannot be read", said
    )
    assert training.evaluation(tmp_path)["unreadable"] == 1


def test_what_is_not_converted_is_named(tmp_path):
    files = masks.write(tmp_path / "files", 5)
    masks.listed(files, train=["p00", "p01.png"], val=["p02"])
    (files / "Labels" / "p04.png").rename(files / "Labels" / "other.png")
    (files / "Images" / "notes.txt").write_text("no picture")
    said = convert(files, tmp_path / "shards")
    assert "3 records in 2 shards" in said
    left_out = [
        "Images/notes.txt (it is no picture)",
        "Images/p03.png (it is in none of the lists)",
        "Images/p04.png (it is in none of the lists)",
        "Labels/other.png (there is no picture for it in use)",
        "Labels/p03.png (there is no picture for it in use)",
    ]
    assert "".join(f"Left out: {line}\n" for line in left_out) in said
    names = {path.name: path.read_text() for path in (tmp_path / "shards").glob("*.names")}
    assert {name: sorted(text.split()) for name, text in names.items()} == {
        "train-00000-of-00001.tfrecord.names": ["p00", "p01"],
        "val-00000-of-00001.tfrecord.names": ["p02"],
    }
    (record, *_) = tf.data.TFRecordDataset(str(tmp_path / "shards/val-00000-of-00001.tfrecord"))
    feature = tf.train.Example.FromString(record.numpy()).features.feature
    assert feature["image/encoded"].bytes_list.value[0] == (files / "Images/p02.png").read_bytes()
    assert feature["image/segmentation/class/encoded"].bytes_list.value[0] == (files / "Labels/p02.png").read_bytes()


REFUSED = {
    "no labels": (lambda root: (root / "Labels").rename(root / "Other"), "has no folder Labels or SegmentationClass"),
    "a picture without label": (lambda root: (root / "Labels/p01.png").unlink(), "have no label picture: p01; add it"),
    "a list of what is not there": (lambda root: masks.listed(root, val=["p77"]), "that are not there: p77; add them"),
    "a picture in two lists": (lambda root: masks.listed(root, val=["p00"]), "another list both name p00: remove it"),
    "no list to train on": (lambda root: masks.listed(root, train=[]), "has no train.txt with a name in it"),
    "two of one name": (lambda root: (root / "Images/p00.jpg").touch(), "are two pictures of one name"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_converted_is_named_and_nothing_is_written(tmp_path, change, words):
    change(masks.write(tmp_path / "files", 3))
    assert words in convert(tmp_path / "files", tmp_path / "shards", code=1)
    assert not (tmp_path / "shards").exists()


DAMAGED = {
    "no names": (lambda path: path.unlink(), "is not there, which names the pictures: write the shards with"),
    "names of other data": (lambda path: path.write_text("p00\n"), "has 1 names of 5 records: convert the data again"),
    "a name twice": (lambda path: path.write_text("p00\n" * 5), "hold two pictures of one name: p00"),
}


@pytest.mark.parametrize(("change", "words"), DAMAGED.values(), ids=DAMAGED.keys())
def test_shards_that_do_not_fit_their_names_are_refused(tmp_path, change, words):
    shards = tmp_path / "shards"
    convert(masks.write(tmp_path / "files", 5, lists=False), shards)
    change(next(shards.glob("*.names")))
    with pytest.raises(DataError, match=words):
        mask_shards.scan(shards, image_shards.names(shards))


def test_shards_of_which_some_name_a_set_are_refused(tmp_path):
    shards = tmp_path / "shards"
    convert(masks.write(tmp_path / "files", 5, lists=False), shards)
    convert(masks.write(tmp_path / "more", 3), tmp_path / "others")
    for path in (tmp_path / "others").glob("val*"):
        path.rename(shards / path.name)
        if path.name.endswith(".names"):
            (shards / path.name).write_text("q\n")
    with pytest.raises(
        DataError, match=r"name their set .* and others do not: data-00000-of-00001.tfrecord, val-00000"
    ):
        mask_shards.scan(shards, image_shards.names(shards))


def test_pictures_are_numbered_by_their_names_whatever_shard_they_are_in(tmp_path):
    convert(masks.write(tmp_path / "files", 7), tmp_path / "shards")
    pairs = mask_shards.scan(tmp_path / "shards", image_shards.names(tmp_path / "shards"))
    assert [name.decode() for name in pairs.names] == [f"p{number:02}" for number in range(7)]
    assert {part: numbers.tolist() for part, numbers in pairs.given.items()} == {
        "train": [0, 1, 2, 3, 4],
        "val": [5, 6],
    }
    for number, name in enumerate(pairs.names):
        assert pairs.content(number) == (tmp_path / "files/Images" / f"{name.decode()}.png").read_bytes()
        assert pairs.labels.content(number) == (tmp_path / "files/Labels" / f"{name.decode()}.png").read_bytes()
    assert np.array_equal(np.sort(pairs.pictures.places), np.arange(7))
