"""Alignment: each face is turned, scaled and moved in one resampling so that its eyes are where those of all faces are."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.errors import DataError
from fovea_trainers.runtime.graph import traced
from fovea_trainers.vision import images

Array = np.ndarray[Any, Any]
EYES = tf.TensorSpec([4], tf.float32)
"""x and y of the left eye, then of the right one, in pixels of the upright picture; left is what lies left in it."""
LEFT, HEIGHT = 0.31, 0.38
"""Where an aligned face has its left eye, in shares of width and height; the right one mirrors it: as
faces were aligned for the published face descriptor."""


def read(path: Path, numbers: Mapping[str, int], count: int) -> tuple[Array, Array]:
    """Eyes float32 [count, 4] of the pictures with these `numbers` (by path), and bool [count]: which have a line.

    A line is `picture, left x, left y, right x, right y`; a first line without numbers is a heading. Raises DataError for a
    file that cannot be read, and naming the line for one that is none, or names no picture.
    """
    eyes, known = np.zeros((count, 4), np.float32), np.zeros(count, bool)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"--landmarks: {path} cannot be read: {error}; name a CSV file with the places of eyes"
        ) from error
    for number, line in enumerate(lines, 1):
        places = _places(line)
        if places is None:
            if number == 1 or not line:
                continue
            raise DataError(
                f"--landmarks: line {number} of {path} is {','.join(line)!r}: expected the path of a picture, x and y of its "
                "left eye, x and y of its right eye, where the eyes are apart"
            )
        if line[0] not in numbers:
            raise DataError(
                f"--landmarks: line {number} of {path} names {line[0]}, and the data has no such picture: upload it, or "
                "remove the line"
            )
        eyes[numbers[line[0]]], known[numbers[line[0]]] = places, True
    return eyes, known


def aligned(picture: tf.Tensor, eyes: tf.Tensor, size: int) -> tf.Tensor:
    """float32 [size, size, 3] in 0..255 of a picture [h, w, 3], rounded as in the uint8 cache; `eyes` as EYES."""
    left, right = eyes[:2] + 0.5, eyes[2:] + 0.5  # as borders count, of which pixel 0 lies between 0 and 1
    across = (right - left) / ((1 - 2 * LEFT) * size)  # in the picture, for one pixel to the right in the aligned one
    down = tf.stack([-across[1], across[0]])
    corner = left - LEFT * size * across - HEIGHT * size * down
    origin = corner + 0.5 * (across + down) - 0.5
    transform = [across[0], down[0], origin[0], across[1], down[1], origin[1], 0.0, 0.0]
    resampled = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(picture, tf.float32)[tf.newaxis],
        transforms=tf.stack(transform)[tf.newaxis],
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )[0]
    resampled.set_shape([size, size, 3])
    return tf.round(resampled)


def decoder(size: int, *, exif_orientation: bool) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A graph from an encoded file and its eyes to uint8 [size, size, 3], on the processor whatever thread calls it."""

    @traced(images.FILE, EYES)
    def decoded(file: tf.Tensor, eyes: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            return tf.cast(aligned(images.decode(file, exif_orientation=exif_orientation), eyes, size), tf.uint8)

    return decoded


def _places(line: list[str]) -> list[float] | None:
    """The four numbers of a line, unless they are none or the eyes are at one place."""
    if len(line) != 5:
        return None
    try:
        places = [float(word) for word in line[1:]]
    except ValueError:
        return None
    return places if np.isfinite(places).all() and places[:2] != places[2:] else None
