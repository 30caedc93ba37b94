"""Pictures as tensors: decoding, the cache in memory, and batches in a given order.

A picture that cannot be read is no error of its batch: it is left out of it, and the batch is that much smaller. What a
batch holds follows from the order and from the files alone, not from when a file was found to be damaged (ADR 44).
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.errors import DataError
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.reasons import reason
from fovea_trainers.vision import augmentation, orientation
from fovea_trainers.vision.image_folders import Listing

Array = np.ndarray[Any, Any]
FILE = tf.TensorSpec([], tf.string)
AHEAD = 2
"""Batches that are read while one is trained on: what bounds the memory of pictures that are not cached."""
NAMED = 5
"""Unreadable pictures that are named in the log one by one."""


def decode(file: tf.Tensor, *, exif_orientation: bool) -> tf.Tensor:
    """uint8 [h, w, 3] of an encoded JPEG, PNG, BMP, GIF (its first frame) or WebP, upright if its EXIF is heeded."""
    image = tf.io.decode_image(file, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    if exif_orientation:
        image = orientation.upright(image, orientation.of(file))
        image.set_shape([None, None, 3])
    return image


def fit_size(images: tf.Tensor, size: int) -> tf.Tensor:
    """float32 [..., size, size, 3] in 0..255, rounded as in the uint8 cache: a picture is served as it was trained."""
    return tf.round(tf.image.resize(tf.cast(images, tf.float32), [size, size]))


def decoder(size: int, *, exif_orientation: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph from an encoded file to uint8 [size, size, 3], on the processor whatever thread calls it."""

    @traced(FILE)
    def decoded(file: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            return tf.cast(fit_size(decode(file, exif_orientation=exif_orientation), size), tf.uint8)

    return decoded


@dataclass(frozen=True)
class Images:
    """Labelled pictures, of which some may turn out to be unreadable."""

    listing: Listing
    size: int
    decoded: Callable[[tf.Tensor], tf.Tensor]
    max_unreadable: float
    """Greatest share of unreadable pictures."""
    say: Callable[[str], None]
    fingerprint: str
    """Of the data: another value means other data."""
    pixels: Array | None = None
    """uint8 [pictures, size, size, 3], or None if too large."""
    unreadable: set[int] = field(default_factory=set)
    """Pictures that were found to be unreadable so far; grows while pictures are read."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the class numbers."""
        return self.listing.classes

    def batches(self, wanted: Iterable[tuple[Array, Array | None]]) -> Iterator[tuple[Any, Any]]:
        """Batches (images float32 [n, size, size, 3] in 0..255, class numbers int32 [n]) of the `wanted` pictures.

        Of each batch, `wanted` has the numbers of the pictures and, to distort them, transforms [pictures, 8], see
        `augmentation`. n is less by the unreadable ones: 0 is possible. Raises DataError when more pictures are
        unreadable than allowed, OSError when the disk fails.
        """
        readers, assemblers = ThreadPoolExecutor(os.cpu_count()), ThreadPoolExecutor(AHEAD)
        waiting: deque[Future[tuple[Any, Any, dict[int, str]]]] = deque()
        try:
            for chosen, maps in wanted:
                reading = None if self.pixels is not None else [readers.submit(self.read, int(i)) for i in chosen]
                waiting.append(assemblers.submit(self._assemble, chosen, reading, maps))
                if len(waiting) > AHEAD:
                    yield self._taken(waiting.popleft().result())
            while waiting:
                yield self._taken(waiting.popleft().result())
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
            assemblers.shutdown(cancel_futures=True)
            readers.shutdown()

    def any_readable(self, indices: Iterable[int]) -> bool:
        """Whether any of these pictures can be read: they are tried in this order up to the first."""
        for index in indices:
            if index in self.unreadable:
                continue
            if self.pixels is not None:
                return True
            picture, problem = self.read(int(index))
            if picture is not None:
                return True
            self.leave_out({int(index): problem})
        return False

    def leave_out(self, problems: dict[int, str]) -> None:
        """Take note of unreadable pictures, and name them; raises DataError when they are too many."""
        for index, problem in problems.items():
            if index in self.unreadable:
                continue
            self.unreadable.add(index)
            name = f"{self.listing.name(index)} ({problem})"
            count, total = len(self.unreadable), len(self.listing)
            if count > self.max_unreadable * total:
                raise DataError(
                    f"{count} of {total} pictures in {self.listing.root} cannot be read so far, the last is {name}; "
                    f"repair or remove them, or allow more by --max-unreadable (now {self.max_unreadable})"
                )
            if count <= NAMED:
                self.say(f"picture {name} cannot be read; it is left out")
            elif count == NAMED + 1:
                self.say("further pictures that cannot be read are counted, not named")

    def read(self, index: int) -> tuple[Any, str]:
        """Pixels of a picture, or None and what is wrong with the file. Raises OSError when the disk fails."""
        if index in self.unreadable:
            return None, ""
        try:
            content = self.listing.path(index).read_bytes()
        except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
            return None, error.strerror or str(error)
        if not content:
            return None, "the file is empty"
        try:
            return self.decoded(tf.constant(content)).numpy(), ""
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            return None, reason(error)

    def _assemble(
        self, chosen: Array, reading: list[Future[tuple[Any, str]]] | None, maps: Array | None
    ) -> tuple[Any, Any, dict[int, str]]:
        problems: dict[int, str] = {}
        if self.pixels is not None:
            kept = np.array([index not in self.unreadable for index in chosen], bool)
            pixels = self.pixels[chosen[kept]]
        else:
            results = [future.result() for future in reading or []]
            kept = np.array([picture is not None for picture, _ in results], bool)
            problems = {int(i): text for i, (picture, text) in zip(chosen, results, strict=True) if picture is None}
            pixels = np.zeros((int(kept.sum()), self.size, self.size, 3), np.uint8)
            for place, (picture, _) in enumerate(result for result in results if result[0] is not None):
                pixels[place] = picture
        with tf.device("/CPU:0"):  # holds for this thread alone
            images = tf.cast(tf.constant(pixels), tf.float32)
            if maps is not None and len(pixels):
                images = augmentation.apply(images, tf.constant(maps[kept]))
            return images, tf.constant(self.listing.labels[chosen[kept]]), problems

    def _taken(self, batch: tuple[Any, Any, dict[int, str]]) -> tuple[Any, Any]:
        images, labels, problems = batch
        self.leave_out(problems)
        return images, labels


def read(
    listing: Listing,
    size: int,
    *,
    fingerprint: str,
    exif_orientation: bool,
    cache_bytes: int,
    max_unreadable: float,
    say: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
) -> Images:
    """Pictures of a listing: decoded now if all fit into `cache_bytes`, else each time one is needed.

    Raises DataError as `Images.batches`; `check` is called for every picture, and may raise to give up.
    """
    count = len(listing)
    decoded = decoder(size, exif_orientation=exif_orientation)
    lazy = Images(listing, size, decoded, max_unreadable, say, fingerprint)
    if count * size * size * 3 > cache_bytes:
        say(f"{count} pictures in {listing.root} do not fit into the cache: each is read when it is needed")
        return lazy
    say(f"reading {count} pictures from {listing.root}")
    store = np.zeros((count, size, size, 3), np.uint8)

    def fill(index: int) -> str:
        picture, problem = lazy.read(index)
        if picture is not None:
            store[index] = picture
        return problem

    window = 4 * (os.cpu_count() or 1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[int, Future[str]]] = deque()
        try:
            for index in range(count + window):
                check()
                if index < count:
                    waiting.append((index, pool.submit(fill, index)))
                if waiting and index >= window:
                    done, future = waiting.popleft()
                    if problem := future.result():
                        lazy.leave_out({done: problem})
        finally:
            pool.shutdown(cancel_futures=True)
    return Images(listing, size, decoded, max_unreadable, say, fingerprint, store, lazy.unreadable)
