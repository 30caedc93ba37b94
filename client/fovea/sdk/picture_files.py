"""Which files on this machine are pictures."""

from pathlib import Path

from fovea_api.contract import picture_names

from . import local_files


def is_picture(path: Path) -> bool:
    """By a usual suffix, else by the first bytes. Raises InvalidError for a file that cannot be read."""
    if path.suffix.lower() in picture_names.SUFFIXES:
        return True
    with local_files.reading(path), path.open("rb") as file:
        return picture_names.MAGIC.match(file.read(16)) is not None
