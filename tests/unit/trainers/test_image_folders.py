"""Layouts of labelled pictures, what is said about those that are none, and the split."""

import errno
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fovea_api.contract import left_alone
from fovea_trainers.errors import DataError
from fovea_trainers.vision import image_folders
from fovea_trainers.vision.image_folders import PARTS, Listing


def folder(root: Path, *names: str) -> Path:
    root.mkdir(exist_ok=True)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


UNDERSTOOD = {
    "class folders": (
        ("cats/1.jpg", "cats/2.JPEG", "dogs/a/1.png"),
        {("cats/1.jpg", "cats", ""), ("cats/2.JPEG", "cats", ""), ("dogs/a/1.png", "dogs", "")},
        set(),
    ),
    "flat names": (
        ("cat.0.jpg", "cat.1.jpg", "dog.0.jpg"),
        {("cat.0.jpg", "cat", ""), ("cat.1.jpg", "cat", ""), ("dog.0.jpg", "dog", "")},
        set(),
    ),
    "Kaggle's two folders, of which the second has no labels": (
        ("train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg"),
        {("train/cat.0.jpg", "cat", "train"), ("train/dog.0.jpg", "dog", "train")},
        {"test/1.jpg"},
    ),
    "already split": (
        ("train/a/1.png", "train/b/1.png", "val/a/2.png", "test/b/3.png", "held-out/a-1.png"),
        {
            ("train/a/1.png", "a", "train"),
            ("train/b/1.png", "b", "train"),
            ("val/a/2.png", "a", "validation"),
            ("test/b/3.png", "b", "test"),
        },
        {"held-out"},
    ),
    "already split, in capital letters": (
        ("Train/cats/1.jpg", "Train/dogs/1.jpg", "VAL/dogs/2.jpg", "Test/cats/3.jpg", "README.md"),
        {
            ("Train/cats/1.jpg", "cats", "train"),
            ("Train/dogs/1.jpg", "dogs", "train"),
            ("VAL/dogs/2.jpg", "dogs", "validation"),
            ("Test/cats/3.jpg", "cats", "test"),
        },
        {"README.md"},
    ),
    "two names of one set, of which the longer is read": (
        ("train/a/1.png", "train/b/1.png", "val/a/2.png", "validation/b/2.png"),
        {
            ("train/a/1.png", "a", "train"),
            ("train/b/1.png", "b", "train"),
            ("validation/b/2.png", "b", "validation"),
        },
        {"val"},
    ),
    "class folders with hidden ones in them": (
        ("a/1.png", "a/.thumbs/1.png", "a/x/.ipynb_checkpoints/2.png", "a/x/2.png", "b/1.png"),
        {("a/1.png", "a", ""), ("a/x/2.png", "a", ""), ("b/1.png", "b", "")},
        set(),
    ),
    "class folders among other files": (
        ("a/1.png", "a/Thumbs.db", "b/1.gif", "labels.csv", "cat.1.jpg", ".DS_Store", "a/.hidden.png"),
        {("a/1.png", "a", ""), ("b/1.gif", "b", "")},
        {"a/Thumbs.db", "labels.csv", "cat.1.jpg"},
    ),
}


@pytest.mark.parametrize(("names", "pictures", "ignored"), UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
def test_a_layout_is_understood(tmp_path, names, pictures, ignored):
    listing = image_folders.scan(folder(tmp_path, *names))
    rows = zip(range(len(listing)), listing.labels, listing.parts, strict=True)
    assert {(listing.name(i), listing.classes[label], PARTS[part]) for i, label, part in rows} == pictures
    assert set(listing.ignored) == ignored


REFUSED = {
    "an empty folder": ((), "is empty: expected one folder per class"),
    "no pictures at all": (
        ("a/notes.txt", "b/table.csv"),
        "holds no labelled pictures (found: a/notes.txt, b/table.csv)",
    ),
    "names that say no class": (("1.jpg", "2.jpg"), "holds no labelled pictures (found: 1.jpg, 2.jpg)"),
    "a single class": (("cats/1.jpg", "cats/2.jpg"), "has the single class cats"),
    "one folder too far up": (
        ("pets/cats/1.jpg", "pets/dogs/1.jpg"),
        "has the single class pets: expected one folder per class (cats/1.jpg, dogs/1.jpg), or flat names "
        "(cat.0.jpg, dog.0.jpg); did you mean --data={root}/pets, with cats, dogs?",
    ),
    "a class that is only validated": (
        ("train/a/1.png", "train/b/1.png", "validation/c/1.png"),
        "class c is in validation or test but not in train; add pictures to {root}/train/c, or remove the class",
    ),
    "a split without training pictures": (("Train/x.txt", "test/a/1.png", "test/b/1.png"), "/Train has no class"),
    "a split without a training folder": (
        ("val/a/1.png", "val/b/1.png", "Test/a/1.png", "Test/b/1.png"),
        " holds val, Test but no folder named train: put the training pictures into {root}/train; or, if these are "
        "classes, rename their folders",
    ),
    "a class whose folder is named train": (
        ("train/1.png", "bus/1.png", "car/1.png"),
        "GIF and WebP; bus, car beside it are not read: if train is a class as well, rename its folder",
    ),
    "a class whose folder is named train, with names that say another one": (
        ("train/tgv.1.png", "bus/1.png", "car/1.png"),
        "/train has the single class tgv: expected one folder per class (cats/1.jpg, dogs/1.jpg), or flat names "
        "(cat.0.jpg, dog.0.jpg); bus, car beside it are not read: if train is a class as well, rename its folder",
    ),
}


@pytest.mark.parametrize(("names", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_folder_that_cannot_be_trained_on_is_refused_in_plain_words(tmp_path, names, words):
    with pytest.raises(DataError) as refusal:
        image_folders.scan(folder(tmp_path, *names))
    assert str(refusal.value).startswith(f"data folder {tmp_path}")
    assert words.format(root=tmp_path) in str(refusal.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist; give --data=DIR"):
        image_folders.scan(tmp_path / "nowhere")


def test_a_file_is_no_folder_of_pictures(tmp_path):
    archive = folder(tmp_path, "pets.zip") / "pets.zip"
    with pytest.raises(DataError, match=r"pets.zip is a file, not a folder of pictures: unpack an archive, and upload"):
        image_folders.scan(archive)


EMPTY = {
    "of another format": ("c/1.heic", "c/2.heic", "c/notes.txt"),
    "of hidden files": ("c/.1.png",),
    "of nothing": ("c/x/.keep",),
}


@pytest.mark.parametrize("names", EMPTY.values(), ids=EMPTY.keys())
def test_a_class_folder_without_a_picture_is_refused_by_name(tmp_path, names):
    with pytest.raises(DataError, match=r"no picture of class c \(") as refusal:
        image_folders.scan(folder(tmp_path, "a/1.png", "b/1.png", *names))
    assert ("2 .heic, 1 .txt" in str(refusal.value)) == ("c/1.heic" in names)


def test_pictures_are_known_by_their_content_where_the_name_does_not_say(tmp_path):
    folder(tmp_path, "a/1.webp", "a/2.JFIF", "b/photo", "b/scan.dat", "b/text")
    (tmp_path / "b" / "photo").write_bytes(b"\xff\xd8\xff\xe0 and so on")
    (tmp_path / "b" / "scan.dat").write_bytes(b"RIFF\0\0\0\0WEBPVP8 ")
    listing = image_folders.scan(tmp_path)
    assert [listing.name(i) for i in range(4)] == ["a/1.webp", "a/2.JFIF", "b/photo", "b/scan.dat"]
    assert listing.left_out().endswith("(1 without suffix): b/text")


def test_links_are_followed_and_broken_ones_and_pipes_are_left_out(tmp_path):
    folder(tmp_path / "elsewhere", "x/1.png", "2.png")
    data = folder(tmp_path / "data", "a/1.png", "b/1.png")
    (data / "a" / "linked").symlink_to(tmp_path / "elsewhere" / "x")
    (data / "a" / "2.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    (data / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (data / "b" / "round").symlink_to(data / "b")
    os.mkfifo(data / "b" / "pipe.png")
    listing = image_folders.scan(data)
    assert [listing.name(i) for i in range(len(listing))] == ["a/1.png", "a/2.png", "a/linked/1.png", "b/1.png"]
    assert set(listing.ignored) == {"b/gone.png", "b/pipe.png"}


LINKS_THAT_LEAD_NOWHERE = {
    "to nothing": ("a/gone", "/nowhere"),
    "to itself": ("a/round.png", "round.png"),
    "to itself, beside the classes": ("round", "round"),
    "to nothing, beside the classes": ("gone", "/nowhere"),
}


@pytest.mark.parametrize(("name", "target"), LINKS_THAT_LEAD_NOWHERE.values(), ids=LINKS_THAT_LEAD_NOWHERE.keys())
def test_a_link_that_leads_nowhere_is_left_out_and_named(tmp_path, name, target):
    data = folder(tmp_path, "a/1.png", "b/1.png")
    (data / name).symlink_to(target)
    listing = image_folders.scan(data)
    assert (len(listing), listing.ignored) == (2, (name,))


@pytest.mark.parametrize("target", ["..", "../../data"], ids=["above", "above by another way"])
def test_a_link_to_a_folder_above_brings_no_pictures_of_other_classes(tmp_path, target):
    data = folder(tmp_path / "data", "a/1.png", "b/1.png")
    (data / "a" / "up").symlink_to(target)
    listing = image_folders.scan(data)
    assert [listing.name(i) for i in range(len(listing))] == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize("name", [".snapshot", *sorted(left_alone.NO_FOLDERS_OF_A_USER)])
def test_what_systems_put_beside_the_classes_is_no_class_and_not_looked_into(tmp_path, monkeypatch, name):
    data = folder(tmp_path, "a/1.png", "b/1.png", f"{name}/a/1.png", f"a/{name}/1.png")
    unreadable(monkeypatch, data / name, data / "a" / name)
    listing = image_folders.scan(data)
    assert (listing.classes, len(listing), listing.ignored) == (("a", "b"), 2, ())


def unreadable(monkeypatch, *folders: Path) -> None:
    """As folders of mode 0700 of another user are; for root, too, who runs these tests in a container."""
    scandir = os.scandir

    def refusing(path):
        if Path(path) in folders:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.parametrize("name", ["", "a", "a/more", "train"])
def test_a_folder_that_cannot_be_opened_is_named_with_the_remedy(tmp_path, monkeypatch, name):
    folder(tmp_path, "a/1.png", "b/1.png", "a/more/2.png", *(["train/a/1.png"] if name == "train" else []))
    unreadable(monkeypatch, tmp_path / name)
    with pytest.raises(DataError, match=r"cannot be opened \(Permission denied\).*chmod -R a\+rX") as refusal:
        image_folders.scan(tmp_path)
    assert f": {tmp_path / name} cannot" in str(refusal.value)


def test_names_that_are_not_utf_8_are_trained_on_and_named_where_nothing_can_be_told_of_them(tmp_path):
    data = folder(tmp_path, "a/1.png", "b/1.png", "a/\udcff.png", "a/\udcfed/2.png", "a/\udcff.txt", "\udcff.txt")
    listing = image_folders.scan(data)
    assert [listing.name(i) for i in range(4)] == ["a/1.png", "a/\udcfed/2.png", "a/\udcff.png", "b/1.png"]
    assert set(listing.ignored) == {"a/\udcff.txt", "\udcff.txt"}
    assert listing.path(2).exists()


def test_many_small_folders_hear_a_stop_as_well(tmp_path):
    looks = []
    image_folders.scan(folder(tmp_path, *(f"{i}/1.png" for i in range(50))), lambda: looks.append(1))
    assert len(looks) > 50


def test_listing_and_splitting_are_given_up_when_a_stop_is_requested(tmp_path):
    class Stop(Exception):
        pass

    def check():
        raise Stop

    root = folder(tmp_path, "b/1.png", *(f"a/{i}.png" for i in range(1000)))
    with pytest.raises(Stop):
        image_folders.scan(root, check)
    listing = image_folders.scan(root)
    with pytest.raises(Stop):
        image_folders.split(listing, validation_ratio=0.1, test_ratio=0, seed=1, check=check)


def listing(names: Sequence[tuple[str, str, str]], root: str = "/data") -> Listing:
    """Of (path, class, part)."""
    paths = np.empty(len(names), object)
    paths[:] = [path.encode() for path, _, _ in names]
    classes = tuple(sorted({label for _, label, _ in names}))
    labels = np.array([classes.index(label) for _, label, _ in names], np.int32)
    parts = np.array([PARTS.index(part) for _, _, part in names], np.int8)
    return Listing(Path(root), paths, np.zeros(len(names), np.int64), labels, parts, classes, ())


def pictures(root: str = "/data", **sizes: int) -> Listing:
    return listing([(f"{label}/{i}.png", label, "") for label, size in sizes.items() for i in range(size)], root)


def plain(sets):
    return {part: chosen.tolist() for part, chosen in sets.items()}


def test_the_split_takes_the_same_share_of_every_class():
    given = pictures(cats=20_000, dogs=5_000)
    sets = image_folders.split(given, validation_ratio=0.2, test_ratio=0.1, seed=1)
    counts = {part: Counter(given.classes[given.labels[i]] for i in chosen) for part, chosen in sets.items()}
    assert counts == {
        "train": {"cats": 14_000, "dogs": 3_500},
        "validation": {"cats": 4_000, "dogs": 1_000},
        "test": {"cats": 2_000, "dogs": 500},
    }
    assert sorted(i for chosen in sets.values() for i in chosen) == list(range(25_000))


def test_a_limit_takes_the_same_share_of_every_class_before_the_split():
    given = pictures(cats=20_000, dogs=5_000)
    sets = image_folders.split(given, validation_ratio=0.2, test_ratio=0, seed=1, limit=1_001)
    counts = {part: Counter(given.classes[given.labels[i]] for i in chosen) for part, chosen in sets.items()}
    assert counts == {"train": {"cats": 641, "dogs": 160}, "validation": {"cats": 160, "dogs": 40}, "test": {}}
    assert plain(image_folders.split(given, validation_ratio=0.2, test_ratio=0, seed=1, limit=1_001)) == plain(sets)
    other = image_folders.split(given, validation_ratio=0.2, test_ratio=0, seed=2, limit=1_001)
    assert plain(other) != plain(sets)


@pytest.mark.parametrize(
    ("limit", "used"), [(2, [1, 1, 1]), (10, [1, 3, 6]), (60, [6, 18, 36]), (99, [10, 30, 59]), (500, [10, 30, 60])]
)
def test_a_limit_leaves_no_class_empty_and_is_no_wish_for_more(limit, used):
    given = pictures(a=10, b=30, c=60)
    sets = image_folders.split(given, validation_ratio=0, test_ratio=0, seed=1, limit=limit)
    assert [len(chosen) for chosen in image_folders.by_class(given, sets["train"])] == used


def test_a_limit_leaves_sets_given_by_folders_whole():
    names = [(f"train/{label}/{i}.png", label, "train") for label in "ab" for i in range(10)]
    given = listing([*names, *((f"test/a/{i}.png", "a", "test") for i in range(9))])
    sets = image_folders.split(given, validation_ratio=0.2, test_ratio=0, seed=1, limit=10)
    assert {part: len(chosen) for part, chosen in sets.items()} == {"train": 8, "validation": 2, "test": 9}


def test_the_split_depends_on_names_and_seed_only():
    given = pictures(a=50, b=50)
    first = plain(image_folders.split(given, validation_ratio=0.2, test_ratio=0.2, seed=1))
    assert first == plain(image_folders.split(given, validation_ratio=0.2, test_ratio=0.2, seed=1))
    assert first != plain(image_folders.split(given, validation_ratio=0.2, test_ratio=0.2, seed=2))
    moved = pictures("/elsewhere", a=50, b=50)
    assert first == plain(image_folders.split(moved, validation_ratio=0.2, test_ratio=0.2, seed=1))


def test_every_class_keeps_a_training_picture():
    sets = image_folders.split(pictures(a=1, b=2, c=3), validation_ratio=0.9, test_ratio=0.9, seed=1)
    assert len(sets["train"]) == 3


def test_sets_given_by_folders_stay_as_they_are():
    names = [(f"train/{label}/{i}.png", label, "train") for label in "ab" for i in range(10)]
    given = listing([*names, ("test/a/x.png", "a", "test")])
    sets = image_folders.split(given, validation_ratio=0.2, test_ratio=0.5, seed=1)
    assert sets["test"].tolist() == [20]
    assert (len(sets["train"]), len(sets["validation"])) == (16, 4)


def test_pictures_are_told_by_class_in_their_order():
    given = listing([("b/1", "b", ""), ("a/1", "a", ""), ("b/2", "b", ""), ("c/1", "c", ""), ("a/2", "a", "")])
    chosen = image_folders.by_class(given, np.array([4, 2, 1, 0]))
    assert [part.tolist() for part in chosen] == [[4, 1], [2, 0], []]
