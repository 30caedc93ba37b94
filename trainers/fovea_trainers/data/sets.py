"""Labelled pictures as training, validation and test set."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fovea_trainers.data import augmentation, formats, image_folders, images
from fovea_trainers.data.augmentation import Augmentation
from fovea_trainers.data.images import Images
from fovea_trainers.data.source import Source
from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sets:
    """Indices into `images`; validation and test may be empty."""

    images: Images
    train: Array
    validation: Array
    test: Array

    def training_batches(
        self, epoch: int, first: int, batch_size: int, *, seed: int, distortion: Augmentation | None
    ) -> Iterable[tuple[Any, Any]]:
        """An epoch's batches from number `first` on; order and distortion follow from (seed, epoch, picture) only."""
        size = len(self.train)
        order = augmentation.order(size, seed=seed, epoch=epoch)[first * batch_size :]
        if distortion is None:
            return self.images.batches(self.train[order], batch_size)
        maps = augmentation.transforms(distortion, size, self.images.size, seed=seed, epoch=epoch)
        return self.images.batches(self.train[order], batch_size, maps[order])

    def evaluated(self) -> dict[str, Array]:
        """The sets beside the training set that hold pictures, by the prefix of their metrics."""
        return {name: part for name, part in (("val", self.validation), ("test", self.test)) if len(part)}

    def readable(self, part: Array) -> int:
        """How many pictures of a set were not found to be unreadable so far."""
        return len(part) - int(np.isin(part, np.array(sorted(self.images.unreadable), np.int64)).sum())

    def describe(self) -> str:
        """One line for the log."""
        parts = f"{len(self.train)} training, {len(self.validation)} validation, {len(self.test)} test pictures"
        return f"{parts} of {len(self.images.classes)} classes"


def read(
    source: Source,
    *,
    size: int,
    exif_orientation: bool,
    validation_ratio: float,
    test_ratio: float,
    seed: int,
    cache_bytes: int,
    max_unreadable: float,
    say: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
) -> Sets:
    """Scan and split a folder, and decode it if it fits; raises DataError when it cannot be trained on.

    `check` is called often, and may raise to give up.
    """
    listing = image_folders.scan(source.folder, check)
    if left_out := listing.left_out():
        say(left_out)
    found = images.read(
        listing,
        size,
        fingerprint=source.fingerprint(listing),
        exif_orientation=exif_orientation,
        cache_bytes=cache_bytes,
        max_unreadable=max_unreadable,
        say=say,
        check=check,
    )
    parts = image_folders.split(
        listing, validation_ratio=validation_ratio, test_ratio=test_ratio, seed=seed, check=check
    )
    train, validation, test = (
        parts[part] for part in (image_folders.TRAIN, image_folders.VALIDATION, image_folders.TEST)
    )
    _require_every_class(found, train, check)
    sets = Sets(found, train, validation, test)
    say(sets.describe())
    return sets


def _require_every_class(found: Images, train: Array, check: Callable[[], None]) -> None:
    """Raises DataError naming the classes of which no training picture can be read."""
    missing = []
    for name, pictures in zip(found.classes, image_folders.by_class(found.listing, train), strict=True):
        check()
        if not found.any_readable(pictures):
            missing.append(name)
    if missing:
        raise DataError(
            f"data folder {found.listing.root}: no picture of class {image_folders.some(missing)} can be read: formats "
            f"are {formats.DECODED}; replace the pictures, or remove the class"
        )
