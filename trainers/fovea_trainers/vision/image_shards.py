"""Labelled pictures in TFRecord shards, the third layout: a record is an Example with a picture and its class.

Its keys are `image/encoded` (or `image`) and `image/class/label` (or `label`), a number from 0 on; `classes.txt` names the
classes, or `image/class/text` of each record does. Shards whose names begin with train, validation (val, valid) or test
are that set. `fovea data convert images tfrecord` writes all of it, and beside each shard the class numbers of its
records: without those, every record is read once before the training.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract import shards as contract
from fovea_api.contract.picture_names import FOLDERS, TRAIN

from fovea_trainers.data import example_records, shards, split
from fovea_trainers.data.files import walk
from fovea_trainers.data.shards import Shards
from fovea_trainers.data.stream import Stream, beside
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.reasons import reason
from fovea_trainers.vision.image_folders import PARTS, Listing, some

Array = np.ndarray[Any, Any]
PICTURE, LABEL, TEXT = ("image/encoded", "image"), ("image/class/label", "label"), ("image/class/text",)
"""Keys of an Example; the first that it has counts."""
_TOGETHER = 4096


@dataclass(frozen=True)
class ShardListing(Listing):
    """Pictures as records; `paths` are those of the shards."""

    shards: Shards

    def __len__(self) -> int:
        return len(self.shards)

    def name(self, number: int) -> str:
        """The place of a record."""
        return self.shards.name(number)

    def content(self, number: int) -> bytes:
        """The picture of a record. Raises Unreadable, or OSError when the disk fails."""
        return example_records.content(self.shards.record(number), PICTURE)

    def draws(self, seed: int, check: Callable[[], None]) -> Array:  # noqa: ARG002 - takes milliseconds
        """uint64 [n], by the seed, the name of the shard and the number in it."""
        sizes = zip(self.shards.names, np.diff(self.shards.starts), strict=True)
        return np.concatenate([split.draws_within(seed, name, int(size)) for name, size in sizes])


def names(root: Path, check: Callable[[], None] = lambda: None) -> list[str]:
    """Of the TFRecord files in a folder, in order; none where it has another layout."""
    found = walk(root, "", contract.is_tfrecord, check, deep=False)
    return sorted(path.decode() for path in found.paths)


def scan(
    root: Path, found: list[str], check: Callable[[], None] = lambda: None, stream: Stream | None = None
) -> ShardListing:
    """List the pictures of shards; raises DataError when they cannot be a training set for a classifier.

    Of streamed shards no record is read: their indexes, labels and names of classes must lie beside them.
    """
    opened = shards.open_all(root, found, check, stream)
    if stream is not None:
        _require_labels(stream)
    labels, classes = _labelled(opened, check)
    sizes = np.array([stream.sizes[name] if stream else (root / name).stat().st_size for name in found], np.int64)
    parts = np.repeat([PARTS.index(_part(name)) for name in found], np.diff(opened.starts)).astype(np.int8)
    listing = ShardListing(
        root, np.array([name.encode() for name in found], object), sizes, labels, parts, classes, (), opened
    )
    trained = np.unique(labels[parts <= PARTS.index(TRAIN)])
    if len(trained) < 2:
        what = f"have the single class {classes[trained[0]]}" if len(trained) else "hold no picture to train on"
        raise DataError(f"the shards in {root} {what}: two classes or more are needed")
    if missing := sorted(set(range(len(classes))) - set(trained.tolist())):
        raise DataError(
            f"the shards in {root} hold no training picture of class {some(classes[number] for number in missing)}: convert "
            f"the data again, or take the class out of {contract.CLASSES_FILE}"
        )
    return listing


def _require_labels(stream: Stream) -> None:
    beside(stream, contract.LABELS_SUFFIX)
    listed = stream.root / contract.CLASSES_FILE
    if not listed.is_file() or not listed.read_text(encoding="utf-8").splitlines():
        raise DataError(
            f"{stream.root} is streamed, and {contract.CLASSES_FILE}, which names the classes, is not there or empty: without it, "
            "every record would be read before the training. Write the shards with fovea data convert, or take the input out of "
            "spec.inputModes"
        )


def _part(name: str) -> str:
    """The set that a shard's name says; "" leaves it to the split."""
    first = name.lower().replace(".", "-").replace("_", "-").split("-")[0]
    return next((part for part, words in FOLDERS.items() if first in words), "")


def _labelled(opened: Shards, check: Callable[[], None]) -> tuple[Array, tuple[str, ...]]:
    """Class number of every record int32 [n], and the names of the classes."""
    listed = opened.root / contract.CLASSES_FILE
    classes = tuple(listed.read_text(encoding="utf-8").splitlines()) if listed.is_file() else ()
    sidecars = [opened.root / (name + contract.LABELS_SUFFIX) for name in opened.names]
    if classes and all(path.is_file() for path in sidecars):
        columns = [np.fromfile(path, "<i4") for path in sidecars]
        for path, column, size in zip(sidecars, columns, np.diff(opened.starts), strict=True):
            if len(column) != size:
                raise DataError(
                    f"{path} has {len(column)} labels of {size} records: remove it, or convert the data again"
                )
        labels = np.concatenate([np.zeros(0, np.int32), *columns]).astype(np.int32)
    else:
        say(f"reading the classes of {len(opened)} records in {opened.root}")
        labels, texts = _read_labels(opened, check)
        classes = classes or _named(opened.root, labels, texts)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DataError(
            f"class numbers of the shards in {opened.root} are from {labels.min()} to {labels.max()}, but {listed.name} "
            f"names {len(classes)} classes: convert the data again"
        )
    return labels, classes


def _read_labels(opened: Shards, check: Callable[[], None]) -> tuple[Array, dict[int, str]]:
    """The class number of every record, and a text for each number that has one."""
    spec = {key: tf.io.VarLenFeature(kind) for keys, kind in ((LABEL, tf.int64), (TEXT, tf.string)) for key in keys}
    labels, texts = np.zeros(len(opened), np.int32), dict[int, str]()
    done = 0
    for name in opened.names:
        for batch in _batches(opened.root / name):
            check()
            try:
                parsed = tf.io.parse_example(batch, spec)
            except (
                tf.errors.InvalidArgumentError,
                UnicodeDecodeError,
            ) as error:  # the second of a message that quotes bytes
                raise DataError(
                    f"{opened.root}: a record from {opened.name(done)} on is no Example, or its class no whole number"
                ) from error
            size = int(batch.shape[0])
            column = next((parsed[key] for key in LABEL if len(parsed[key].values) == size), None)
            if column is None:
                raise DataError(
                    f"{opened.root}: not each record from {opened.name(done)} on has one {' or '.join(LABEL)}, the number of "
                    "its class from 0 on"
                )
            numbers = column.values.numpy()
            labels[done : done + size] = numbers
            words = parsed[TEXT[0]].values.numpy()
            if len(words) == size:
                for number, place in zip(*np.unique(numbers, return_index=True), strict=True):
                    texts.setdefault(int(number), words[place].decode(errors="replace"))
            done += size
    return labels, texts


def _batches(path: Path) -> Iterator[tf.Tensor]:
    """Records [n]. Raises DataError for a damaged shard."""
    try:
        yield from tf.data.TFRecordDataset(str(path)).batch(_TOGETHER)
    except tf.errors.DataLossError as error:
        raise DataError(f"{path} is damaged ({reason(error)}): write or fetch it again") from error


def _named(root: Path, labels: Array, texts: dict[int, str]) -> tuple[str, ...]:
    """Names of the classes up to the largest number: the records' texts, else the numbers."""
    count = int(labels.max(initial=-1)) + 1
    if count > 10_000:
        raise DataError(f"the largest class number of the shards in {root} is {count - 1}: class numbers begin with 0")
    found = tuple(texts.get(number, str(number)) for number in range(count))
    return found if len(set(found)) == len(found) else tuple(map(str, range(count)))
