"""Names of labelled pictures in a folder, read alike by the trainers and by what converts pictures."""

import re

SUFFIXES = frozenset({".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"})
"""Files with these names, in any case of letters, are taken for pictures without being opened."""
MAGIC = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|BM.{4}\0\0\0\0|GIF8[79]a|RIFF.{4}WEBP", re.DOTALL)
"""How the content of a picture begins."""
FLAT_NAME = re.compile(r"(?P<label>[^.]+)\.\d+(\.[^.]+)?")
"""Kaggle's: `cat.0.jpg`."""
TRAIN, VALIDATION, TEST = "train", "validation", "test"
FOLDERS = {TRAIN: ("train", "training"), VALIDATION: ("validation", "valid", "val"), TEST: ("test", "testing")}
"""Names of the folders of a ready-made split, in small letters."""
