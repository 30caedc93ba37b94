"""Labelled pictures as training, validation and test set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_trainers.data import augmentation, image_folders, images
from fovea_trainers.data.augmentation import Augmentation
from fovea_trainers.data.images import Images

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sets:
    """Indices into `images`; validation and test may be empty."""

    images: Images
    train: Array
    validation: Array
    test: Array
    unreadable: int

    def training_batches(
        self, epoch: int, first: int, batch_size: int, *, seed: int, distortion: Augmentation | None
    ) -> tf.data.Dataset:
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

    def describe(self) -> str:
        """One line for the log."""
        parts = f"{len(self.train)} training, {len(self.validation)} validation, {len(self.test)} test pictures"
        return f"{parts} of {len(self.images.classes)} classes"


def read(
    folder: Path,
    *,
    size: int,
    validation_ratio: float,
    test_ratio: float,
    seed: int,
    cache_bytes: int,
    max_unreadable: float,
    say: Callable[[str], None],
) -> Sets:
    """Scan, decode and split a folder; raises DataError when it cannot be trained on."""
    listing = image_folders.scan(folder)
    found = images.read(listing, size, cache_bytes=cache_bytes, max_unreadable=max_unreadable, say=say)
    parts = image_folders.split(found.pictures, validation_ratio=validation_ratio, test_ratio=test_ratio, seed=seed)
    train, validation, test = (
        np.array(parts[part], np.int64) for part in (image_folders.TRAIN, image_folders.VALIDATION, image_folders.TEST)
    )
    sets = Sets(found, train, validation, test, unreadable=len(listing.pictures) - len(found.pictures))
    say(sets.describe())
    return sets
