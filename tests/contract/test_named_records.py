"""Pictures with captions and pictures of people in shards: the batches are those of the files."""

import numpy as np
import pytest
from click.testing import CliRunner
from fovea.cli.main import cli
from fovea_trainers.captions import reading
from fovea_trainers.captions import sets as caption_sets
from fovea_trainers.data.examples import Unreadable
from fovea_trainers.datasets import captions
from fovea_trainers.errors import DataError
from fovea_trainers.recipes import caption_generator, face_verifier
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Shard
from fovea_trainers.vision import augmentation
from fovea_trainers.vision.faces import people
from fovea_trainers.vision.faces import sets as face_sets
from support import faces, training


def convert(kind, source, out, code=0):
    done = CliRunner().invoke(cli, ["data", "convert", kind, "tfrecord", str(source), str(out)])
    assert done.exit_code == code, done.output
    return done.output


def session_of(config, root, interruption):
    return Session.begin("test", config, training.variables(root), interruption)


def plain(read):
    """Batches as bytes."""
    return [[[np.asarray(tensor).tobytes() for tensor in batch] for batch in each] for each in read]


def of_captions(data, root):
    config = caption_generator.Config(data=str(data), image_size=24, test_ratio=0.2, backbone="small-cnn")
    with Interruption(saves=False) as interruption:
        sets = caption_sets.read(config, config.seed, session_of(config, root, interruption), None)
        dataset = sets.training(8, seed=config.seed)
        read = [list(dataset(epoch, 0, Shard())) for epoch in range(2)]
        read += [list(found()) for found in sets.evaluated(8).values()]
        return plain(read), [sets.data.name(number) for number in range(len(sets.data))], sets.vocabulary.words


def of_people(data, root, **more):
    config = face_verifier.Config(data=str(data), image_size=16, validation_ratio=0.3, test_ratio=0.3, **more)
    with Interruption(saves=False) as interruption:
        session = session_of(config, root, interruption)
        sets = face_sets.read(config, config.seed, session, learning=True, threshold=False)
        dataset, _ = sets.grouped(6, 3, augmentation.of(config), seed=config.seed)
        read = [list(dataset(epoch, 0, Shard())) for epoch in range(2)]
        read += [list(found()) for found in sets.compared(8).values()]
        return plain(read), sets.people.names, sets.learners


@pytest.mark.parametrize("lists", [True, False], ids=["sets of lists", "sets of the split"])
def test_shards_of_pictures_with_captions_give_the_batches_of_the_files(tmp_path, lists):
    files = tmp_path / "files"
    files.mkdir()
    captions.write(files, count=20, seed=2)
    if not lists:
        for path in files.rglob("*Images.txt"):
            path.unlink()
    assert "20 records in " in convert("captions", files, tmp_path / "shards")
    assert of_captions(tmp_path / "shards", tmp_path) == of_captions(files, tmp_path)


@pytest.mark.parametrize("eyes", [True, False], ids=["aligned by the eyes", "scaled"])
def test_shards_of_people_give_the_batches_of_the_files(tmp_path, eyes):
    files = faces.drawn(tmp_path / "files", 8)
    convert("faces", files, tmp_path / "shards")
    more = {"landmarks": "eyes.csv"} if eyes else {}
    assert of_people(tmp_path / "shards", tmp_path, **more) == of_people(files, tmp_path, **more)


def test_a_damaged_record_is_named_by_its_picture_and_its_place(tmp_path):
    files = faces.coloured(tmp_path / "files", 3)
    (files / "loose.png").write_bytes((files / "p00/p00_0001.png").read_bytes())
    (files / "read.me").write_text("no text that is copied")
    said = convert("faces", files, tmp_path / "shards")
    assert "Left out: read.me (it is no picture and no text)\n" in said
    (path,) = (tmp_path / "shards").glob("*.tfrecord")
    damaged = "p01/p01_0002.png"
    place = path.with_name(f"{path.name}.names").read_text(encoding="utf-8").splitlines().index(damaged)
    start = int(np.fromfile(path.with_name(f"{path.name}.index"), "<i8")[place])
    content = bytearray(path.read_bytes())
    content[start + 100] ^= 1
    path.write_bytes(content)
    told = []
    found = people.scan(tmp_path / "shards", told.append)
    assert told == ["ignored 1 files that are no pictures of a person: loose.png"]
    assert (found.names, len(found)) == (("p00", "p01", "p02"), 9)
    for number in range(9):
        name = found.name(number)
        if name != damaged:
            assert found.content(number) == (files / name).read_bytes()
            continue
        with pytest.raises(
            Unreadable, match=rf"^data-00000-of-00001.tfrecord record {place + 1}: its checksum is wrong"
        ):
            found.content(number)


REFUSED = {
    "no text": ("captions", "holds no text: there must be Flickr8k.token.txt"),
    "no picture": ("faces", "holds no picture"),
}


@pytest.mark.parametrize(("kind", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_converted_is_named(tmp_path, kind, words):
    files = faces.coloured(tmp_path / "files", 2)
    if kind == "faces":
        for path in files.rglob("*.png"):
            path.rename(path.with_suffix(".txt")).write_text("no picture")
    assert words in convert(kind, files, tmp_path / "shards", code=1)


def test_shards_without_names_are_refused(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    captions.write(files, count=5, seed=2)
    convert("captions", files, tmp_path / "shards")
    next((tmp_path / "shards").glob("*.names")).unlink()
    with pytest.raises(
        DataError, match="is not there, which names the pictures: write the shards with fovea data convert"
    ):
        reading.read(tmp_path / "shards", "", max_bad_ratio=0)
