"""Which files are pictures that TensorFlow decodes. The content decides; a usual suffix saves reading it."""

import os
import re

SUFFIXES = frozenset({".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"})
"""Files with these names, in any case of letters, are taken for pictures without being opened."""

DECODED = "JPEG, PNG, BMP, GIF and WebP"
_MAGIC = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|BM.{4}\0\0\0\0|GIF8[79]a|RIFF.{4}WEBP", re.DOTALL)


def suffix(name: str) -> str:
    """The suffix of a file name in small letters, with its dot; empty without one."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million names is slow


def is_picture(path: str) -> bool:
    """Whether a regular file is a picture: by its suffix, else by its first bytes. Raises OSError."""
    if suffix(path) in SUFFIXES:
        return True
    with open(path, "rb") as file:  # noqa: PTH123
        return _MAGIC.match(file.read(16)) is not None
