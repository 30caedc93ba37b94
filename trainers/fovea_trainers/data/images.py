"""Pictures as tensors: decoding, the cache in memory, and batches in a given order."""

import json
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_trainers.data import augmentation
from fovea_trainers.data.image_folders import Listing, Picture, some
from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]


def decode(file: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 3] of an encoded PNG, JPEG, BMP or GIF (its first frame)."""
    image = tf.io.decode_image(file, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def fit_size(images: tf.Tensor, size: int) -> tf.Tensor:
    """float32 [..., size, size, 3] in 0..255, rounded as in the uint8 cache: a picture is served as it was trained."""
    return tf.round(tf.image.resize(tf.cast(images, tf.float32), [size, size]))


@dataclass(frozen=True)
class Images:
    """Readable pictures with their class numbers."""

    pictures: Sequence[Picture]
    labels: Array
    classes: Sequence[str]
    size: int
    fingerprint: str
    """Of names, sizes and contents of all files: another value means other data."""
    pixels: tf.Tensor | None
    """uint8 [files, size, size, 3], or None if too large."""
    rows: Array
    """Where in `pixels` each picture is: unreadable files have a row, so that the rest need not be copied together."""

    def batches(self, indices: Array, batch_size: int, transforms: Array | None = None) -> tf.data.Dataset:
        """Batches (images float32 [n, size, size, 3] in 0..255, class numbers int32 [n]) in the order of `indices`.

        `transforms` [len(indices), 8] distorts each picture, see `augmentation`.
        """
        labels = self.labels[indices]
        extra = np.zeros((len(indices), 0), np.float32) if transforms is None else transforms
        if self.pixels is not None:
            pixels = self.pixels
            chosen = tf.data.Dataset.from_tensor_slices((self.rows[indices], labels, extra)).batch(batch_size)
            dataset = chosen.map(lambda i, label, t: (tf.cast(tf.gather(pixels, i), tf.float32), label, t))
        else:
            paths = [str(self.pictures[i].path) for i in indices]
            chosen = tf.data.Dataset.from_tensor_slices((paths, labels, extra))
            size = self.size
            dataset = chosen.map(
                lambda path, label, t: (fit_size(decode(tf.io.read_file(path)), size), label, t),
                num_parallel_calls=tf.data.AUTOTUNE,
            ).batch(batch_size)
        if transforms is None:
            dataset = dataset.map(lambda images, label, _: (images, label))
        else:
            dataset = dataset.map(
                lambda images, label, t: (augmentation.apply(images, t), label), num_parallel_calls=tf.data.AUTOTUNE
            )
        return dataset.prefetch(2)


def read(listing: Listing, size: int, *, cache_bytes: int, max_unreadable: float, say: Callable[[str], None]) -> Images:
    """Decode every file once, and cache it if all fit; unreadable ones are left out (DataError if too many)."""
    count = len(listing.pictures)
    say(f"reading {count} pictures from {listing.root}")
    cached = count * size * size * 3 <= cache_bytes
    store = np.empty((count, size, size, 3), np.uint8) if cached else None

    def one(index: int) -> tuple[int, str]:
        """Checksum of the file and what is wrong with it, if anything."""
        try:
            content = listing.pictures[index].path.read_bytes()
        except OSError as error:
            return 0, error.strerror or str(error)
        try:
            with tf.device("/CPU:0"):  # holds for this thread alone
                image = decode(tf.constant(content))
                if store is not None:
                    store[index] = fit_size(image, size).numpy()
        except tf.errors.InvalidArgumentError as error:
            return 0, str(error.message).splitlines()[0] if content else "the file is empty"
        return zlib.crc32(content), ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(one, range(count)))
    unreadable = [i for i, (_, problem) in enumerate(results) if problem]
    _report(listing, {listing.pictures[i].path: results[i][1] for i in unreadable}, max_unreadable, say)
    kept = np.array([i for i in range(count) if not results[i][1]], np.int64)
    pictures = [listing.pictures[i] for i in kept]
    classes = listing.classes
    if missing := sorted(set(classes) - {p.label for p in pictures if p.part in ("", "train")}):
        raise DataError(f"data folder {listing.root}: no picture of class {some(missing)} could be read; replace it")
    contents = [f"{p.path.relative_to(listing.root)} {results[i][0]}" for i, p in zip(kept, pictures, strict=True)]
    with tf.device("/CPU:0"):
        pixels = None if store is None else tf.constant(store)  # a copy; `store` goes when this function returns
    return Images(
        pictures=pictures,
        labels=np.array([classes.index(p.label) for p in pictures], np.int32),
        classes=classes,
        size=size,
        fingerprint=f"{zlib.crc32(json.dumps(contents).encode()):08x}-{len(kept)}",
        pixels=pixels,
        rows=kept,
    )


def _report(listing: Listing, problems: dict[Path, str], max_unreadable: float, say: Callable[[str], None]) -> None:
    if listing.ignored:
        names = some(path.name for path in listing.ignored)
        say(f"ignored {len(listing.ignored)} files or folders that hold no labelled pictures: {names}")
    if not problems:
        return
    named = some(f"{path.relative_to(listing.root)} ({problem})" for path, problem in problems.items())
    sentence = f"{len(problems)} of {len(listing.pictures)} pictures in {listing.root} cannot be read: {named}"
    if len(problems) > max_unreadable * len(listing.pictures):
        raise DataError(f"{sentence}; repair or remove them, or allow more by --max-unreadable (now {max_unreadable})")
    say(f"{sentence}; they are left out")
