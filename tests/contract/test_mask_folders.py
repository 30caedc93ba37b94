"""Pictures and label pictures in a folder: which belong together, which set they are in, what is refused."""

import numpy as np
import pytest
from fovea_trainers.errors import DataError
from fovea_trainers.vision import mask_folders


def write(root, images, labels, **lists):
    """Files with these names; the content does not matter to a scan."""
    for folder, names in (("Images", images), ("Labels", labels)):
        for name in names:
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * len(name))
    for part, lines in lists.items():
        path = root / "ImageSets" / "Segmentation" / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
    return root


def names(pairs, numbers):
    return [pairs.name(number) for number in numbers]


def test_lists_name_the_pictures_of_each_set_with_or_without_a_suffix(tmp_path):
    write(
        tmp_path,
        ["a.png", "b.jpg", "d/c.png", "e.png"],
        ["a.png", "b.png", "d/c.bmp"],
        train=["b", "", "a.png "],
        val=["d/c"],
    )
    pairs = mask_folders.scan(tmp_path)
    parts = mask_folders.split(pairs, validation_ratio=0.5, test_ratio=0.0, seed=1)
    assert names(pairs, parts["train"]) == ["Images/a.png", "Images/b.jpg"]
    assert names(pairs, parts["val"]) == ["Images/d/c.png"]
    assert names(pairs.labels, parts["val"]) == ["Labels/d/c.bmp"]
    assert len(parts["test"]) == 0


def test_without_lists_all_pictures_are_split_by_the_seed(tmp_path):
    files = [f"{number:02}.png" for number in range(20)]
    write(tmp_path, files, files)
    (tmp_path / "Images").rename(tmp_path / "JPEGImages")
    (tmp_path / "Labels").rename(tmp_path / "SegmentationClass")
    pairs = mask_folders.scan(tmp_path)
    parts = mask_folders.split(pairs, validation_ratio=0.2, test_ratio=0.1, seed=1)
    assert {part: len(numbers) for part, numbers in parts.items()} == {"train": 14, "val": 4, "test": 2}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(20))
    other = mask_folders.split(pairs, validation_ratio=0.2, test_ratio=0.1, seed=2)
    assert parts["val"].tolist() != other["val"].tolist()


def test_one_more_picture_moves_at_most_one_other_into_or_out_of_each_set(tmp_path):
    files = [f"{number:02}.png" for number in range(20)]
    write(tmp_path, files, files)

    def sets():
        pairs = mask_folders.scan(tmp_path)
        parts = mask_folders.split(pairs, validation_ratio=0.3, test_ratio=0.0, seed=1)
        return {part: set(names(pairs, numbers)) for part, numbers in parts.items()}

    before = sets()
    write(tmp_path, ["00-new.png"], ["00-new.png"])
    after = sets()
    assert len((before["val"] & after["train"]) | (before["train"] & after["val"])) <= 1


REFUSED = {
    "no pictures": ([], ["a.png"], {}, "has no folder Images (there is Labels)"),
    "no labels": (["a.png"], [], {}, "has no folder Labels (there is Images)"),
    "a list of what is not there": (
        ["a.png"],
        ["a.png"],
        {"train": ["a", "b"]},
        "train.txt names 1 pictures that are not there: line 2 b; add them, or remove these lines",
    ),
    "a picture without label": (
        ["a.png", "b.png"],
        ["a.png"],
        {},
        "have no label picture in ROOT/Labels: b; add it under the picture's name",
    ),
    "a set that is trained on": (
        ["a.png", "b.png"],
        ["a.png", "b.png"],
        {"train": ["a", "b"], "val": ["a"]},
        "train.txt and val.txt both name a",
    ),
    "no list to train on": (["a.png"], ["a.png"], {"val": ["a"]}, "has no train.txt: write a picture's name into each"),
    "an empty list": (["a.png"], ["a.png"], {"train": [" "]}, "train.txt names no picture"),
    "two pictures of a name": (["a.png", "a.jpg"], ["a.png"], {}, "has two pictures of one name"),
}


@pytest.mark.parametrize(("images", "labels", "lists", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_folder_that_cannot_be_trained_on_is_refused_with_a_sentence(tmp_path, images, labels, lists, words):
    write(tmp_path, images, labels, **lists)
    with pytest.raises(DataError) as caught:
        mask_folders.scan(tmp_path)
    assert words.replace("ROOT", str(tmp_path)) in str(caught.value)
