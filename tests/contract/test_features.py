"""Features in the cache: computed once, found again only for the same pictures, weights and size, kept when interrupted."""

import json
import os
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from fovea_api.contract import environment
from fovea_trainers.common_flags import TrainingFlags
from fovea_trainers.data.files import Files
from fovea_trainers.errors import DataError, Interrupted
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.progress import Reporter
from fovea_trainers.runtime.session import Session
from fovea_trainers.vision import features, images
from fovea_trainers.vision.backbones import Backbone
from fovea_trainers.vision.flags import PictureFlags
from support import training

SIZE, COUNT = 8, 100
"""Four batches of the network, the last one of 4 pictures."""


@pytest.fixture
def folder(tmp_path):
    return training.write_pictures(tmp_path / "data", per_class=50, classes=2)


@pytest.fixture
def session(tmp_path):
    with Interruption(saves=False) as interruption:
        yield Session.begin("test", TrainingFlags(), training.variables(tmp_path), interruption)


def pictures(folder, *, max_unreadable=0.1, fingerprint="first", size=SIZE):
    paths = sorted(str(path.relative_to(folder)).encode() for path in folder.rglob("*.png"))
    found = np.empty(len(paths), object)
    found[:] = paths
    files = Files(folder, found, np.zeros(len(paths), np.int64))
    flags = PictureFlags(image_size=size, max_unreadable=max_unreadable)
    return images.read(files, replace(flags, cache_images=False), fingerprint=fingerprint)


def backbone(*, seed=1, size=SIZE):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Input((size, size, 3)), keras.layers.Conv2D(4, 3, activation="relu")]
    return Backbone("small", size, keras.Sequential(layers), lambda image: image / 255)


def computed(session, folder, *, wanted=None, network=None, pooling=features.NONE, **about):
    found = pictures(folder, **about)
    chosen = np.arange(len(found.files)) if wanted is None else wanted
    return features.of(network or backbone(), found, chosen, session, exif_orientation=True, pooling=pooling)


def counts(said):
    """How many pictures were computed, each time."""
    return [int(count) for count in re.findall(r"computing the features of (\d+) pictures", said)]


def test_what_is_in_the_cache_is_what_the_network_says_of_each_picture(session, folder):
    network, files = backbone(), pictures(folder)
    for pooling, shape in ((features.NONE, (6, 6, 4)), (features.AVERAGE, (4,))):
        found = computed(session, folder, network=network, pooling=pooling)
        assert found.shapes == (shape,)
        assert found.held[0].shape == (COUNT, *shape)
        ask = features.network_of(network, pooling)
        for number in (0, 31, 32, 99):
            (pixels,), _ = files.read(number)
            answer = ask(pixels[np.newaxis].astype(np.float32)).numpy()[0]
            assert np.abs(found.held[0][number] - answer).max() < 1e-6
            assert answer.any()


def test_a_second_run_needs_no_picture(session, folder, capfd):
    first = np.array(computed(session, folder).held[0])
    files = pictures(folder)
    for path in folder.rglob("*.png"):
        path.unlink()
    again = features.of(backbone(), files, np.arange(COUNT), session, exif_orientation=True)
    assert np.array_equal(again.held[0], first)
    said = capfd.readouterr().err
    assert counts(said) == [COUNT]
    assert "features of 100 pictures are in the cache" in said


def test_what_differs_is_computed_again_and_named(session, folder, capfd):
    computed(session, folder)
    for changes, words in (
        ({"network": backbone(seed=2)}, "made with other weights"),
        ({"fingerprint": "second"}, "made with other data"),
        ({"network": backbone(size=9), "size": 9}, "made with other size"),
    ):
        capfd.readouterr()
        computed(session, folder, **changes)
        said = capfd.readouterr().err
        assert counts(said) == [COUNT]
        assert f"{words}\n" in said


def test_only_what_is_missing_is_computed(session, folder, capfd):
    """As of a limit that is raised: what another choice of pictures has computed stays as it is."""
    few = np.arange(0, COUNT, 2)
    first = np.array(computed(session, folder, wanted=few).held[0][few])
    found = computed(session, folder)
    assert np.array_equal(found.held[0][few], first)
    assert np.abs(found.held[0]).reshape(COUNT, -1).max(axis=1).min() > 0
    assert counts(capfd.readouterr().err) == [50, 100]


def test_one_that_was_asked_to_stop_goes_on_where_it_ended(session, folder, tmp_path, capfd, monkeypatch):
    """The log counts what is left, the progress file tells the share, and the bytes are those of an undisturbed run."""
    plain = Reporter.prepare

    def stopped_after_two(self, what, done, total):
        plain(self, what, done, total)
        session.interruption.requested = done == 64

    monkeypatch.setattr(Reporter, "prepare", stopped_after_two)
    with pytest.raises(Interrupted) as stopped:
        computed(session, folder)
    assert "the features of 64 more pictures are kept in" in str(stopped.value)
    assert not session.interruption.saves
    session.interruption.requested = False
    monkeypatch.setattr(Reporter, "prepare", plain)
    found = np.array(computed(session, folder).held[0])
    assert counts(capfd.readouterr().err) == [COUNT, 36]
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert lines[-1] == {"step": 0, "metrics": {"features": 1.0}}
    elsewhere = replace(session, workspace=replace(session.workspace, cache=tmp_path / "other"))
    assert np.array_equal(computed(elsewhere, folder).held[0], found)


def test_unreadable_pictures_are_left_out_each_time_until_they_are_repaired(session, folder, capfd):
    bad = folder / "class-0" / "007.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:50])
    for time in (1, 2):
        found = computed(session, folder)
        assert found.unreadable == {7}
        assert "picture class-0/007.png (" in capfd.readouterr().err, time
    bad.write_bytes(good)
    assert computed(session, folder).unreadable == set()
    assert counts(capfd.readouterr().err) == [32]
    bad.write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 100 pictures in .* cannot be read so far"):
        computed(session, folder, fingerprint="second", max_unreadable=0)


def marker(session):
    return session.workspace.output / environment.CACHE_MARKER


def test_the_cache_is_said_to_be_whole_when_all_is_computed_and_not_while_it_changes(session, folder, monkeypatch):
    seen = []
    plain = Reporter.prepare

    def look(self, what, done, total):
        seen.append(marker(session).exists())
        plain(self, what, done, total)

    monkeypatch.setattr(Reporter, "prepare", look)
    for fingerprint in ("first", "second"):
        computed(session, folder, fingerprint=fingerprint)
        assert marker(session).exists(), fingerprint
    assert seen == [False] * 8


def test_a_process_that_does_not_write_the_cache_reads_what_is_in_it(session, folder, tmp_path, capfd):
    first = np.array(computed(session, folder).held[0])
    before = {path: path.stat().st_mtime_ns for path in session.workspace.cache.rglob("*")}
    other = replace(session, workspace=session.workspace.scratch(tmp_path / "scratch"))
    other.workspace.prepare()
    capfd.readouterr()
    assert np.array_equal(computed(other, folder).held[0], first)
    assert counts(capfd.readouterr().err) == []
    bad = folder / "class-0" / "007.png"
    bad.write_bytes(bad.read_bytes()[:50])
    assert computed(other, folder, fingerprint="second").unreadable == {7}
    assert counts(capfd.readouterr().err) == [COUNT], "what it lacks it computes into a folder of its own"
    assert {path: path.stat().st_mtime_ns for path in session.workspace.cache.rglob("*")} == before


def test_damaged_features_are_computed_once_more(session, folder, capfd):
    first = np.array(computed(session, folder).held[0])
    (values,) = session.workspace.cache.glob("features/*/features.npy")
    values.write_bytes(values.read_bytes()[:1000])
    assert np.array_equal(computed(session, folder).held[0], first)
    said = capfd.readouterr().err
    assert counts(said) == [COUNT, COUNT]
    assert "are computed once more: they are damaged" in said


def test_the_keys_used_last_stay(session, folder, capfd):
    for number in range(features.KEPT):
        computed(session, folder, fingerprint=f"data {number}")
    for age, path in enumerate(session.workspace.cache.glob("features/*/about.json")):
        made_of = json.loads(path.read_text())["made_of"]
        os.utime(path, (1000 if made_of["data"] == "data 1" else 2000 + age,) * 2)
    computed(session, folder, fingerprint="new")
    assert "removing the features that were not used for the longest time" in capfd.readouterr().err
    left = {json.loads(path.read_text())["made_of"]["data"] for path in session.workspace.cache.glob("*/*/about.json")}
    assert left == {"data 0", "data 2", "new"}
