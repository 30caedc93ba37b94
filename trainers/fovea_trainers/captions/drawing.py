"""What a run shows of its captions: a sheet of pictures with their captions, and where the model looked at each word."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.runtime import pictures
from fovea_trainers.runtime.pictures import Tile

Array = np.ndarray[Any, Any]
_COLUMNS = 26
"""Letters of a line below a picture."""


@dataclass(frozen=True)
class Sample:
    """A picture with what the model says of it."""

    pixels: Array
    """uint8 [h, w, 3]"""
    written: Sequence[str]
    reference: Sequence[str]
    """One of its captions."""
    attention: Array
    """float32 [words, rows, columns]: where the model looked for each word, END among them; each sums to 1."""


def captions(samples: Sequence[Sample]) -> bytes | None:
    """A PNG of pictures with the model's caption and, in brackets, one of the data set; None without any picture."""
    tiles = [Tile(each.pixels, f"{_wrapped(each.written)}\n{_wrapped(each.reference, '({})')}") for each in samples]
    return pictures.sheet(tiles)


def attention(samples: Sequence[Sample]) -> bytes | None:
    """A PNG with a row for each picture: the picture, then where the model looked for each word. None without any picture."""
    columns = 1 + max((len(each.written) for each in samples), default=0)
    tiles: list[Tile] = []
    for each in samples:
        row = [Tile(each.pixels, "picture")]
        row += [Tile(lit(each.pixels, map_), word) for word, map_ in zip(each.written, each.attention, strict=False)]
        blank = Tile(np.full((1, 1, 3), 255, np.uint8), "")
        tiles += row + [blank] * (columns - len(row))
    return pictures.sheet(tiles, columns=columns)


def lit(pixels: Array, weights: Array) -> Array:
    """uint8 [h, w, 3]: the picture, bright where the weights [rows, columns] are greatest and dark where they are least."""
    height, width, _ = pixels.shape
    shares = weights / max(float(weights.max()), 1e-9)
    mask = tf.image.resize(shares[..., np.newaxis], [height, width], method="bicubic").numpy()
    light: Array = np.clip(pixels * (0.2 + 0.8 * np.clip(mask, 0, 1)), 0, 255).astype(np.uint8)
    return light


def _wrapped(words: Sequence[str], form: str = "{}") -> str:
    return textwrap.fill(form.format(" ".join(words) or "no word"), _COLUMNS)
