"""Label pictures as the class of every pixel.

A label picture of two classes is dark where the object is; one of more classes has their numbers as its pixels. In a PNG
with a palette these are the indices into it. TensorFlow's decoder gives the palette's colours instead, so such a file is
rewritten as a grey PNG before: its pixels (the IDAT chunks) stay as they are, and the palette is left out.

PNG: 8 bytes of signature, then chunks <length, 4 bytes, big-endian> <kind> <content> <CRC-32 of kind and content>. The
first is IHDR: width and height, 4 bytes each, depth in bits, colour type, three bytes more.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data.examples import Unreadable
from fovea_trainers.runtime.reasons import reason

Array = np.ndarray[Any, Any]
DARK = 127.5
"""Pixels up to this brightness are the object's."""
VOID, MARGIN = 255, 254
"""In the place of a class number: pixels that count nothing, and those around the picture in its frame."""
MOST_CLASSES = MARGIN
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33
_COLOUR_TYPES = _GREY, _PALETTE = (0, 3)


@dataclass(frozen=True)
class Rule:
    """What the pixels of label pictures mean."""

    classes: int
    """Number of classes; with two and without `numbered`, the object is class 1."""
    numbered: bool
    """Whether pixels are class numbers."""
    void: int
    """The number of pixels that belong to no class."""

    def read(self, content: bytes) -> Array:
        """uint8 [h, w] of a file: class numbers, and VOID. Raises Unreadable."""
        step = 1
        if self.numbered:
            content, step = plain(content)
        try:
            pixels = tf.io.decode_image(content, channels=3, expand_animations=False).numpy()
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            raise Unreadable(reason(error)) from error
        return self._numbers(pixels, step) if self.numbered else (pixels.mean(axis=2) <= DARK).astype(np.uint8)

    def drawn(self, classes: tf.Tensor) -> tf.Tensor:
        """uint8 pixels of a label picture, of class numbers of any shape: what `read` reads as these."""
        numbers = tf.cast(classes, tf.uint8)
        return numbers if self.numbered else tf.constant(255, tf.uint8) * (1 - numbers)

    def _numbers(self, pixels: Array, step: int) -> Array:
        if (pixels != pixels[..., :1]).any():
            raise Unreadable("its pixels are colours, not class numbers: save it in grey or with a palette")
        numbers = pixels[..., 0] // step
        counted = numbers != self.void
        if (beyond := numbers[counted & (numbers >= self.classes)]).size:
            raise Unreadable(
                f"it has a pixel of class {beyond.max()}, and the last class is {self.classes - 1}: give --classes, or "
                "--void-number for pixels that count nothing"
            )
        return np.where(counted, numbers, VOID).astype(np.uint8)


def plain(content: bytes) -> tuple[bytes, int]:
    """A file whose decoded values are its pixels' numbers times a step, and the step: fewer than 8 bits are spread to 255.

    Raises Unreadable for a PNG of 16 bits. A file that is no PNG stays as it is.
    """
    if not content.startswith(_SIGNATURE) or len(content) < _HEADER_END:
        return content, 1
    depth, colour_type = content[24], content[25]
    if depth > 8:
        raise Unreadable(f"it has {depth} bits for each pixel: class numbers have 8 at most")
    step = 255 // (2**depth - 1) if depth and colour_type in _COLOUR_TYPES else 1
    if colour_type != _PALETTE:
        return content, step
    header = content[16:25] + bytes([_GREY]) + content[26:29]
    return _SIGNATURE + _chunk(b"IHDR", header) + _pixels(content), step


def _pixels(png: bytes) -> bytes:
    """The chunks IDAT and IEND, as far as the file goes."""
    found, at = [], _HEADER_END
    while at + 8 <= len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind in (b"IDAT", b"IEND"):
            found.append(png[at : at + 12 + length])
        at += 12 + length
    return b"".join(found)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
