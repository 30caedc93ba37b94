"""Pictures without a class: what a trained classifier takes them for, as a file in the form of Kaggle's submissions."""

import csv
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.data import order
from fovea_trainers.data.examples import Examples, Finish
from fovea_trainers.data.files import Files, walk
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.vision import formats, images
from fovea_trainers.vision.flags import ClassifierFlags
from fovea_trainers.vision.image_folders import Listing, some

Array = np.ndarray[Any, Any]
SUBMISSION_FILE = "submission.csv"


@dataclass(frozen=True)
class Unlabelled:
    """Pictures that are asked about, in the order of their lines."""

    pictures: Examples
    ids: tuple[str, ...]
    """Of each picture: its path below the folder without the suffix."""


def find(flags: ClassifierFlags, session: Session) -> Unlabelled | None:
    """The pictures of --unlabelled, or of the input of that name; None without either. Raises DataError; decodes nothing."""
    folder = session.workspace.unlabelled(flags.unlabelled, session.workspace.data(flags.data, streamed=True))
    if folder is None:
        return None
    check = session.interruption.check
    try:
        found = walk(folder, "", formats.is_picture, check)
    except PermissionError as error:
        name = os.fsdecode(error.filename or folder)
        raise DataError(
            f"--unlabelled: {name} cannot be opened ({error.strerror}): make it readable (chmod -R a+rX)"
        ) from error
    if not found.paths:
        what = f"holds no picture (found: {some(found.others)})" if found.others else "is empty"
        raise DataError(f"--unlabelled: folder {folder} {what}; formats are {formats.DECODED}")
    ids = [os.path.splitext(os.fsdecode(path))[0] for path in found.paths]  # noqa: PTH122 - as in formats.suffix
    places = _in_order(folder, ids)
    paths = np.empty(len(places), object)
    paths[:] = [found.paths[place] for place in places]
    files = Files(folder, paths, np.array(found.sizes, np.int64)[places])
    once = replace(flags, cache_images=False, max_unreadable=1.0)  # a bad picture is no reason to lose a training
    return Unlabelled(images.read(files, once, fingerprint="", check=check), tuple(ids[place] for place in places))


def require_apart(asked: Unlabelled | None, listing: Listing) -> None:
    """Raises DataError where pictures that are to be asked about are among the labelled ones."""
    folder = asked.pictures.files.root.resolve() if asked else None
    if folder is None or not folder.is_relative_to(listing.root.resolve()):
        return
    start = os.fsencode(f"{folder.relative_to(listing.root.resolve())}/".removeprefix("./"))
    for path, label in zip(listing.paths, listing.labels, strict=False):
        if path.startswith(start):
            raise DataError(
                f"--unlabelled: {os.fsdecode(path)} in {listing.root} has a class, {listing.classes[label]}: put the "
                f"labelled pictures into a folder {listing.root}/train, with the pictures without a class beside it"
            )


def answer(asked: Unlabelled | None, classes: Sequence[str], batch_size: int, session: Session) -> dict[str, Any]:
    """Ask the exported model about the pictures, write submission.csv, and say what was done, for evaluation.json.

    A line has the picture's id, and as its label the probability of the second of two classes, else the class's name. A
    picture that cannot be read has no line. In memory are a few batches.
    """
    target = session.workspace.output / SUBMISSION_FILE
    target.unlink(missing_ok=True)  # of an earlier run in the same directory
    if asked is None:
        return {}
    pictures, count = asked.pictures, len(asked.ids)
    meaning = f"probability of {classes[1]}" if len(classes) == 2 else "class"
    say(f"asking the model about {count} pictures without a class in {pictures.files.root}")
    model = tf.saved_model.load(str(session.workspace.model))  # held: its signatures alone do not keep its weights
    ask = model.signatures[signatures.PIXELS]
    with target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["id", "label"])
        wanted = ((numbers, _finish(numbers)) for numbers in order.cut(np.arange(count), batch_size))
        for numbers, pixels in pictures.batches(wanted):
            session.interruption.check()
            if len(numbers):
                labels = _labels(ask(**{signatures.PIXELS_INPUT: pixels}), len(classes))
                lines.writerows((asked.ids[number], label) for number, label in zip(numbers, labels, strict=True))
    missing = len(pictures.unreadable)
    without = f"; {missing} pictures that cannot be read have no line, and Kaggle wants one for each" if missing else ""
    say(f"{target} has {count - missing} lines: id, and as label the {meaning}{without}")
    return {"unlabelled": {"images": count - missing, "unreadable": missing, "label": meaning}}


def _in_order(folder: Path, ids: list[str]) -> list[int]:
    """Places of the ids: by number where all are numbers, else as texts. Raises DataError for one that is there twice."""
    numbers = all(name.isascii() and name.isdecimal() for name in ids)
    places = sorted(range(len(ids)), key=lambda place: (int(ids[place]) if numbers else 0, ids[place]))
    twice = sorted({ids[one] for one, two in itertools.pairwise(places) if ids[one] == ids[two]})
    if twice:
        raise DataError(
            f"--unlabelled: {folder} has several pictures of one name but for the suffix: {some(twice)}; remove or rename "
            f"all but one"
        )
    return places


def _finish(numbers: Array) -> Finish:
    def finish(kept: Array, pixels: Array) -> tuple[Any, ...]:
        return numbers[kept], tf.cast(tf.constant(pixels), tf.float32)

    return finish


def _labels(answered: dict[str, tf.Tensor], classes: int) -> list[str]:
    if classes == 2:
        return [str(score) for score in answered[signatures.SCORES_OUTPUT].numpy()[:, 1]]
    return [name.decode() for name in answered[signatures.LABEL_OUTPUT].numpy()]
