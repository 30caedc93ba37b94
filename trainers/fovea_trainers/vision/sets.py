"""Labelled pictures as training, validation and test set."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import tensorflow as tf
from fovea_api.contract.picture_names import TEST, TRAIN, VALIDATION

from fovea_trainers.data import order, stream
from fovea_trainers.data.examples import Examples, Finish
from fovea_trainers.data.source import Source
from fovea_trainers.data.streamed import Streamed
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Batches, Dataset, Shard, Single
from fovea_trainers.vision import augmentation, formats, image_folders, image_shards, images
from fovea_trainers.vision.augmentation import Augmentation
from fovea_trainers.vision.flags import ClassifierFlags
from fovea_trainers.vision.image_folders import Listing
from fovea_trainers.vision.image_shards import ShardListing

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sets:
    """Indices into `images`; validation and test may be empty."""

    images: Examples
    listing: Listing
    size: int
    """Width and height of the pictures."""
    train: Array
    validation: Array
    test: Array
    streamed: Streamed | None = None
    """The order, where shards arrive while they are read."""
    window: int | None = None
    """How many shards a streamed training set is shuffled over at once."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the class numbers."""
        return self.listing.classes

    def steps(self, batch_size: int) -> int:
        """Batches of an epoch."""
        return -(-len(self.train) // batch_size)

    def training(self, batch_size: int, *, seed: int, distortion: Augmentation | None) -> Dataset:
        """Batches of the training set; order and distortion follow from (seed, epoch, picture) only."""
        size = len(self.train)

        def dataset(epoch: int, first: int, shard: Shard) -> Batches:
            places: Iterable[Array]
            if self.streamed is None:
                places = order.batches(size, batch_size, seed=seed, epoch=epoch, first=first, shard=shard)
            else:
                places = self.streamed.training(batch_size, epoch=epoch, first=first, shard=shard)
            if distortion is None:
                return self._batches(self.train[place] for place in places)
            maps = augmentation.transforms(distortion, size, self.size, seed=seed, epoch=epoch)
            return self.images.batches(
                (self.train[place], self._finish(self.train[place], maps[place])) for place in places
            )

        return dataset

    def evaluated(self, batch_size: int) -> dict[str, Callable[[], Batches]]:
        """Batches of the sets beside the training set that hold pictures, by the prefix of their metrics."""
        return {
            name: partial(self._in_order, part, batch_size)
            for name, part in (("val", self.validation), ("test", self.test))
            if len(part)
        }

    def readable(self) -> dict[str, int]:
        """How many pictures of each set were not found to be unreadable so far."""
        parts = {"train": self.train, "val": self.validation, "test": self.test}
        return {name: self.images.readable(part) for name, part in parts.items()}

    def describe(self) -> str:
        """One line for the log."""
        parts = f"{len(self.train)} training, {len(self.validation)} validation, {len(self.test)} test pictures"
        return f"{parts} of {len(self.classes)} classes"

    def _in_order(self, part: Array, batch_size: int) -> Batches:
        if self.streamed is not None:
            return self._batches(self.streamed.in_order(part, batch_size))
        return self._batches(order.cut(part, batch_size))

    def _batches(self, wanted: Iterable[Array]) -> Batches:
        return self.images.batches((numbers, self._finish(numbers)) for numbers in wanted)

    def _finish(self, numbers: Array, maps: Array | None = None) -> Finish:
        """Pixels as images float32 [n, size, size, 3] in 0..255, distorted by `maps`, and class numbers int32 [n]."""

        def finish(kept: Array, pixels: Array) -> tuple[Any, ...]:
            images = tf.cast(tf.constant(pixels), tf.float32)
            if maps is not None and len(pixels):
                images = augmentation.apply(images, tf.constant(maps[kept]))
            return images, tf.constant(self.listing.labels[numbers[kept]])

        return finish


def read(flags: ClassifierFlags, seed: int, session: Session, window: int | None = None) -> Sets:
    """Scan and split a folder, and decode it if it fits; raises DataError when it cannot be trained on.

    `window`: how many shards of a streamed input to shuffle over at once; None for a recipe that needs all of the data at once.
    """
    check = session.interruption.check
    source = Source(session.workspace.data(flags.data, streamed=window is not None), session.workspace.inputs)
    listing, arriving = _list(source, session)
    if left_out := listing.left_out(flags.unlabelled):
        say(left_out)
    fingerprint = source.fingerprint(zip(listing.paths, listing.sizes, strict=True))
    kept = flags if arriving is None else replace(flags, cache_images=False)
    examples = images.read(listing, kept, fingerprint=fingerprint, check=check)
    parts = image_folders.split(
        listing,
        validation_ratio=flags.validation_ratio,
        test_ratio=flags.test_ratio,
        seed=seed,
        limit=flags.limit,
        check=check,
    )
    train, validation, test = (parts[part] for part in (TRAIN, VALIDATION, TEST))
    sets = Sets(examples, listing, flags.image_size, train, validation, test)
    if arriving is None or window is None:
        _require_every_class(examples, listing, train, check)
    else:
        shards = cast("ShardListing", listing).shards
        streamed = Streamed(arriving, shards, train, (validation, test), window=window, seed=seed)
        sets = replace(sets, streamed=streamed, window=window)
        say(f"{len(shards.names)} shards of {sum(arriving.sizes.values()):,} bytes arrive while they are trained on")
    say(sets.describe())
    return sets


def _list(source: Source, session: Session) -> tuple[Listing, stream.Stream | None]:
    """The pictures of a folder; and where they arrive while they are read, their stream."""
    check, path = session.interruption.check, source.path
    # In a job of several processes all stop at the same step: a wait that one of them gives up would hold up the others.
    waits = check if isinstance(session.strategy, Single) else lambda: None
    if (arriving := stream.find(path, source.inputs, say, waits)) is not None:
        return image_shards.scan(path, list(arriving.sizes), check, arriving), arriving
    found = image_shards.names(path, check) if path.is_dir() else []
    return (image_shards.scan(path, found, check) if found else image_folders.scan(path, check)), None


def identity(flags: ClassifierFlags, sets: Sets) -> dict[str, Any]:
    """What of the pictures must be equal for a run to go on where another stopped."""
    return {
        "data": sets.images.fingerprint,
        "validation_ratio": flags.validation_ratio,
        "test_ratio": flags.test_ratio,
        "exif_orientation": flags.exif_orientation,
    } | {name: value for name, value in (("limit", flags.limit), ("shuffle_shards", sets.window)) if value is not None}


def unvalidated(flags: ClassifierFlags) -> str:
    """Why there may be no validation set."""
    return (
        "no picture is kept for validation "
        f"(--validation-ratio={flags.validation_ratio} of each class, rounded, and one is left for training)"
    )


def _require_every_class(found: Examples, listing: Listing, train: Array, check: Callable[[], None]) -> None:
    """Raises DataError naming the classes of which no training picture can be read."""
    missing = []
    for name, pictures in zip(listing.classes, image_folders.by_class(listing, train), strict=True):
        check()
        if not found.any_readable(pictures):
            missing.append(name)
    if missing:
        raise DataError(
            f"data folder {listing.root}: no picture of class {image_folders.some(missing)} can be read: formats "
            f"are {formats.DECODED}; replace the pictures, or remove the class"
        )
