"""PASCAL VOC's layout of pictures with label pictures, read alike by the trainers and by what converts them.

Images/NAME.png                       or JPEGImages/
Labels/NAME.png                       or SegmentationClass/
ImageSets/Segmentation/train.txt      a NAME in each line; val.txt and test.txt beside it, if there are such sets
"""

import os

from fovea_api.contract.picture_names import SUFFIXES

TRAIN, VALIDATION, TEST = "train", "val", "test"
PICTURES, LABELS, LISTS = ("Images", "JPEGImages"), ("Labels", "SegmentationClass"), ("ImageSets", "Segmentation")
EXPECTED = (
    "expected are Images/NAME.png, Labels/NAME.png and, for a split of your own, ImageSets/Segmentation/train.txt"
)
PICTURE, LABEL = "image/encoded", "image/segmentation/class/encoded"
"""Keys of an Example: the content of the picture's file, and of its label picture's."""


def bare(name: str) -> str:
    """NAME of a file, or of a line with or without a suffix."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a Path for each of a million names is slow
    return stem if suffix.lower() in SUFFIXES else name
