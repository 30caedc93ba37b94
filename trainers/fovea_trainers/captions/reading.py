"""Pictures with captions in the layout of Flickr8k.

A folder holds pictures, and a text file with lines `name.jpg#0<TAB>A child in a pink dress .`: `Flickr8k.token.txt` or
`token.txt`, at any depth. Lists of names `Flickr_8k.trainImages.txt`, `…devImages.txt` and `…testImages.txt` beside it say
which picture belongs to which set; without them the split follows from the names of the pictures and the seed. The pictures
may be records of shards instead (`data/named_records.py`), with the texts beside them.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fovea_trainers.captions.words import clean
from fovea_trainers.data import lines, named_records
from fovea_trainers.data import split as sets
from fovea_trainers.data.files import Found, walk
from fovea_trainers.data.left_out import LeftOut
from fovea_trainers.data.named_records import NamedFiles
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.progress import say
from fovea_trainers.vision import formats
from fovea_trainers.vision.image_folders import some

Array = np.ndarray[Any, Any]
TOKEN_FILES = ("Flickr8k.token.txt", "token.txt")
"""Names of the file with the captions."""
TRAIN, VALIDATION, TEST = range(3)
"""Sets of pictures."""
_LISTS = re.compile(r"(?:.*[._])?(train|dev|test)Images\.txt")
_PARTS = {"train": TRAIN, "dev": VALIDATION, "test": TEST}
_LINE = re.compile(r"(?P<name>[^\t]+)#\d+\t(?P<caption>.*)")


@dataclass(frozen=True)
class Captioned(NamedFiles):
    """Pictures that have captions, in the order of their names."""

    captions: tuple[tuple[tuple[str, ...], ...], ...]
    """The cleaned words of the captions of each picture, in the order of the file."""
    given: Array | None
    """int8 [pictures]: TRAIN, VALIDATION or TEST as the lists say, -1 for a picture in none; None: there are no lists."""
    bad_lines: int
    without_caption: int
    """Pictures that no line names."""
    digest: bytes
    """Of the files with the captions and the lists."""


def read(root: Path, token_file: str, *, max_bad_ratio: float, check: Callable[[], None] = lambda: None) -> Captioned:
    """Read the captions and find their pictures; nothing is decoded. `token_file` is a path below `root`; empty: it is searched.

    Raises DataError where there are no captions or no pictures, and for more bad lines than allowed. `check` as in `walk`.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "does not exist"
        raise DataError(f"data {root} {what}; give --data=DIR, a folder with pictures and {TOKEN_FILES[0]}")
    there = walk(root, "", formats.is_picture, check)
    packed = named_records.open_all(root, (name for name in there.others if "/" not in name), check)
    found = packed.found() if packed else there
    pictures = _by_name(root, found)
    file = _token_file(root, token_file, there.others)
    digest, left_out = hashlib.sha256(), LeftOut(root, "lines")
    captions = _captions(root / file, digest, pictures, left_out)
    left_out.require_few(max_bad_ratio, sum(map(len, captions.values())), "add the pictures that are missing")
    if not captions:
        raise DataError(f"{root / file} has no captions: a line is name.jpg#0, a tab, and the caption")
    missing = sorted(set(pictures) - set(captions))
    if missing:
        say(f"{len(missing)} pictures have no caption in {file} and are not used: {some(missing)}")
    names = sorted(captions)
    places = [pictures[name] for name in names]
    paths = np.empty(len(names), object)
    paths[:] = [found.paths[place] for place in places]
    sizes = np.array([found.sizes[place] for place in places], np.int64)
    lists = {name: root / name for name in there.others if _LISTS.fullmatch(Path(name).name)}
    given = _given(lists, names, digest)
    words = tuple(tuple(captions[name]) for name in names)
    records = packed.records(paths) if packed else None
    return Captioned(root, paths, sizes, words, given, left_out.bad, len(missing), digest.digest(), records=records)


def split(data: Captioned, *, validation_ratio: float, test_ratio: float, seed: int) -> tuple[Array, Array, Array]:
    """Numbers of the pictures of training, validation and test set, ascending.

    As the lists say. Without lists a picture's place is decided by a hash of its name, so that all its captions are in one
    set, and adding others hardly moves it. Raises DataError where nothing is left to train on.
    """
    if data.given is not None:
        train, validation, test = (np.flatnonzero(data.given == part) for part in (TRAIN, VALIDATION, TEST))
    else:
        draws = sets.draws(seed, (path.rpartition(b"/")[2] for path in data.paths))
        validation, test, train = sets.divide([np.arange(len(data))], draws, (validation_ratio, test_ratio))
    if not len(train):
        raise DataError(f"data folder {data.root}: the list of training pictures names none that has a caption")
    return train, validation, test


def _by_name(root: Path, found: Found) -> dict[str, int]:
    """Places among the pictures that were found, by file name: captions name no folders."""
    places: dict[str, int] = {}
    for place, path in enumerate(found.paths):
        name = Path(os.fsdecode(path)).name
        if (other := places.setdefault(name, place)) != place:
            paths = some(sorted(os.fsdecode(found.paths[each]) for each in (other, place)))
            raise DataError(f"data folder {root} has two pictures that are named {name}: {paths}; remove one of them")
    if not places:
        raise DataError(f"data folder {root} holds no pictures: formats are {formats.DECODED}")
    return places


def _token_file(root: Path, given: str, others: list[str]) -> str:
    if given:
        if not (root / given).is_file():
            raise DataError(f"data folder {root} has no file {given}; name the file with the captions by --token-file")
        return given
    known = sorted(name for name in others if Path(name).name in TOKEN_FILES)
    if len(known) != 1:
        what = f"{len(known)} files with captions: {some(known)}" if known else f"no {' or '.join(TOKEN_FILES)}"
        raise DataError(f"data folder {root} has {what}; name the file with the captions by --token-file")
    return known[0]


def _captions(path: Path, digest: Any, pictures: dict[str, int], left_out: LeftOut) -> dict[str, list[tuple[str, ...]]]:
    """Words of the captions by the name of the picture; lines that name no picture, or have no words, are left out."""
    captions: dict[str, list[tuple[str, ...]]] = {}
    for number, text in _lines(path, digest):
        match = _LINE.fullmatch(text)
        words = clean(match["caption"]) if match else []
        if not match:
            problem = "it is not name.jpg#0, a tab, and a caption"
        elif match["name"] not in pictures:
            problem = f"there is no picture {match['name']}"
        elif not words:
            problem = f"its caption {match['caption']!r} has no words"
        else:
            captions.setdefault(match["name"], []).append(tuple(words))
            continue
        left_out.note(f"{path.name} line {number} ({problem})")
    return captions


def _given(lists: dict[str, Path], names: list[str], digest: Any) -> Array | None:
    """The set of each picture by the lists; raises DataError for a picture in two of them."""
    if not lists:
        return None
    given = np.full(len(names), -1, np.int8)
    places = {name: place for place, name in enumerate(names)}
    for listed, path in sorted(lists.items()):
        match = _LISTS.fullmatch(path.name)
        part = _PARTS[match[1]] if match else TRAIN
        for _, line in _lines(path, digest):
            place = places.get(line.strip())
            if place is None:
                continue  # without a caption, or without a picture: both were said
            if given[place] not in (-1, part):
                raise DataError(
                    f"picture {names[place]} is in {listed} and in the list of another set: remove one of them"
                )
            given[place] = part
    if unlisted := int((given < 0).sum()):
        say(f"{unlisted} pictures are in none of the lists {some(sorted(lists))} and are not used")
    return given


def _lines(path: Path, digest: Any) -> Iterator[tuple[int, str]]:
    """Lines with their numbers. Raises DataError for a file that cannot be opened."""
    try:
        yield from lines.numbered(path, digest)
    except PermissionError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}): make it readable (chmod a+r)") from error
