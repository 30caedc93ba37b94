"""Data sets that `fovea-train make-dataset` makes: the same bytes each time, and hard for a linear model."""

import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers import make_dataset
from fovea_trainers.datasets import pets
from sklearn.linear_model import LogisticRegression


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", make_dataset.names())
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name, tmp_path):
    for place, seed in (("one", 5), ("two", 5), ("other", 6)):
        make_dataset.make(name, tmp_path / place, count=12, seed=seed)
    first, second, other = (contents(tmp_path / place) for place in ("one", "two", "other"))
    assert first == second != other


def test_more_pictures_of_a_person_begin_with_the_same_ones(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    for out, pictures in ((few, None), (many, 10)):
        make_dataset.make("identities", out, count=2, seed=1, pictures=pictures)
    first, second = contents(few), contents(many)
    assert [sum(name.startswith("person_0002/") for name in found) for found in (first, second)] == [8, 10]
    assert {name: second[name] for name in first if name != "eyes.csv"} == {
        k: v for k, v in first.items() if k != "eyes.csv"
    }


def test_pets_have_kaggles_flat_names_and_differ_in_size(tmp_path):
    make_dataset.make("pets", tmp_path / "pets", count=8, seed=1)
    files = contents(tmp_path / "pets")
    assert sorted(files) == [f"{kind}.{number}.jpg" for kind in pets.KINDS for number in range(4)]
    shapes = {tuple(tf.io.decode_jpeg(content).shape) for content in files.values()}
    assert len(shapes) > 4
    assert {shape[2] for shape in shapes} == {3}


def test_a_linear_model_cannot_tell_pets():
    """The classic network has 96 % of 200 pictures right, after 14 epochs on 800."""
    pictures = [pets.picture(pets.KINDS[i % 2], np.random.default_rng([1, i])) for i in range(400)]
    small = np.stack([tf.image.resize(one, [16, 16], antialias=True).numpy().ravel() / 255 for one in pictures])
    labels = np.arange(400) % 2
    for strength in (0.001, 0.1, 10):
        model = LogisticRegression(C=strength, max_iter=500).fit(small[:300], labels[:300])
        assert model.score(small[300:], labels[300:]) < 0.7
