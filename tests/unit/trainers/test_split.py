"""Sets drawn by seed and name: shares, what is left to train on, and what one more example changes."""

from pathlib import Path

import numpy as np
from fovea_trainers.captions import reading
from fovea_trainers.captions.reading import Captioned
from fovea_trainers.data import split
from fovea_trainers.vision import image_folders
from fovea_trainers.vision.image_folders import Listing
from hypothesis import example, given
from hypothesis import strategies as st

NAMES = st.lists(st.binary(min_size=1, max_size=6), unique=True, max_size=60)
RATIOS = st.lists(st.floats(0, 0.9), min_size=1, max_size=3)
SEEDS = st.integers(0, 2**31 - 1)
LEFT = st.integers(0, 2)


def named(names, ratios, seed, left):
    """The names of each set, those to train on last."""
    drawn = split.draws(seed, names)
    parts = split.divide([np.arange(len(names))], drawn, ratios, left=left)
    return [{names[number] for number in part} for part in parts]


@given(NAMES, RATIOS, SEEDS, LEFT)
def test_each_example_is_in_one_set_and_the_sets_have_their_shares(names, ratios, seed, left):
    parts = named(names, ratios, seed, left)
    assert sorted(name for part in parts for name in part) == sorted(names)
    count = len(names)
    for place, (part, ratio) in enumerate(zip(parts, ratios, strict=False)):
        spare = count - left - sum(map(len, parts[:place]))
        assert len(part) == max(0, min(round(count * ratio), spare))
    assert len(parts[-1]) >= min(left, count)


@example([b"%d" % number for number in range(5)], [0.3, 0.3], 1, 1)  # both sets become larger by one
@given(NAMES.filter(bool), RATIOS, SEEDS, LEFT)
def test_one_more_example_moves_at_most_one_other_for_each_set_before_a_border(names, ratios, seed, left):
    *others, one = names
    before, after = named(others, ratios, seed, left), named(names, ratios, seed, left)
    for border in range(1, len(ratios) + 1):
        below, then = set().union(*before[:border]), set().union(*after[:border]) - {one}
        assert len(below ^ then) <= border, border


@given(NAMES, RATIOS, SEEDS, LEFT, st.randoms(use_true_random=False))
def test_the_order_in_which_files_are_found_changes_nothing(names, ratios, seed, left, random):
    turned = list(names)
    random.shuffle(turned)
    assert named(turned, ratios, seed, left) == named(names, ratios, seed, left)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), RATIOS, SEEDS, LEFT, st.data())
def test_each_class_has_the_same_shares_and_keeps_what_is_promised(counts, ratios, seed, left, data):
    used = data.draw(st.none() | st.tuples(*(st.integers(0, count) for count in counts)))
    groups = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    drawn = split.draws_within(seed, "a.csv", sum(counts))
    parts = split.divide(groups, drawn, ratios, left=left, used=used)
    for group, size in zip(groups, used or counts, strict=True):
        own = [len(np.intersect1d(part, group)) for part in parts]
        assert own[:-1] == split.sizes(size, ratios, left=left)
        assert sum(own) == size
        assert own[-1] >= min(left, size)
    assert all((np.diff(part) > 0).all() and part.dtype == np.int64 for part in parts)


@given(SEEDS, st.text(max_size=5), st.integers(0, 50), st.integers(0, 50))
def test_more_examples_behind_them_in_a_file_change_no_draw(seed, name, count, more):
    drawn = split.draws_within(seed, name, count)
    assert split.draws_within(seed, name, count + more)[:count].tolist() == drawn.tolist()


def test_another_seed_divides_otherwise():
    names = [b"%d.png" % number for number in range(100)]
    assert named(names, [0.5], 1, 1) != named(names, [0.5], 2, 1)


def array(names):
    paths = np.empty(len(names), object)
    paths[:] = [name.encode() for name in names]
    return paths


def test_pictures_of_classes_are_divided_as_by_earlier_versions():
    names = [f"{label}/{number}.jpg" for label, count in (("cat", 12), ("dog", 8)) for number in range(count)]
    labels = np.repeat([0, 1], [12, 8]).astype(np.int32)
    listing = Listing(
        Path("/data"), array(names), np.ones(20, np.int64), labels, np.zeros(20, np.int8), ("cat", "dog"), ()
    )

    def sets(**more):
        found = image_folders.split(listing, validation_ratio=0.2, test_ratio=0.1, seed=7, **more)
        return {part: chosen.tolist() for part, chosen in found.items()}

    assert sets() == {
        "validation": [2, 7, 16, 17],
        "test": [1, 18],
        "train": [0, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 19],
    }
    assert sets(limit=10) == {"validation": [7, 16], "test": [2], "train": [1, 3, 6, 11, 12, 17, 18]}


def test_pictures_with_captions_are_divided_as_by_earlier_versions():
    data = Captioned(
        Path("/data"),
        array([f"a/{number}.jpg" for number in range(15)]),
        np.ones(15, np.int64),
        ((("word",),),) * 15,
        None,
        0,
        0,
        b"",
    )
    sets = reading.split(data, validation_ratio=0.2, test_ratio=0.2, seed=7)
    assert [part.tolist() for part in sets] == [[0, 2, 4, 5, 6, 7, 10, 11, 12], [1, 8, 9], [3, 13, 14]]


def test_records_of_shards_draw_what_they_drew_in_earlier_versions():
    assert split.draws_within(7, "a-00000-of-00002.tfrecord", 3).tolist() == [
        4937298515548898663,
        3690818654754652563,
        2230988490244301098,
    ]
