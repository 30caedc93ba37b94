"""Which files are pictures that TensorFlow decodes. The content decides; a usual suffix saves reading it."""

import os

from fovea_api.contract.picture_names import MAGIC, SUFFIXES

__all__ = ["DECODED", "SUFFIXES", "is_picture", "suffix"]

DECODED = "JPEG, PNG, BMP, GIF and WebP"


def suffix(name: str) -> str:
    """The suffix of a file name in small letters, with its dot; empty without one."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million names is slow


def is_picture(path: str) -> bool:
    """Whether a regular file is a picture: by its suffix, else by its first bytes. Raises OSError."""
    if suffix(path) in SUFFIXES:
        return True
    with open(path, "rb") as file:  # noqa: PTH123
        return MAGIC.match(file.read(16)) is not None
