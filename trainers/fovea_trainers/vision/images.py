"""Pictures as tensors: decoding a file, and numbered files as examples."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data.examples import Examples, Fields, Unreadable
from fovea_trainers.data.files import Files
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.reasons import reason
from fovea_trainers.vision import orientation
from fovea_trainers.vision.flags import PictureFlags

Array = np.ndarray[Any, Any]
FILE = tf.TensorSpec([], tf.string)
FILES = tf.TensorSpec([None], tf.string)
_WEBP = r"RIFF\C{4}WEBP"
"""The first 12 bytes of a WebP file (\\C is any byte). TensorFlow refuses one with transparency where three channels are
asked for."""


def decode(file: tf.Tensor, *, exif_orientation: bool) -> tf.Tensor:
    """uint8 [h, w, 3] of an encoded JPEG, PNG, BMP, GIF (its first frame) or WebP, upright if its EXIF is heeded."""

    def read(channels: int) -> tf.Tensor:
        return tf.io.decode_image(file, channels=channels, expand_animations=False)[..., :3]

    is_webp = tf.strings.regex_full_match(tf.strings.substr(file, 0, 12), _WEBP)
    image = tf.cond(is_webp, lambda: read(0), lambda: read(3))
    image.set_shape([None, None, 3])
    if exif_orientation:
        image = orientation.upright(image, orientation.of(file))
        image.set_shape([None, None, 3])
    return image


def fit_size(images: tf.Tensor, size: int) -> tf.Tensor:
    """float32 [..., size, size, 3] in 0..255, rounded as in the uint8 cache: a picture is served as it was trained."""
    return tf.round(tf.image.resize(tf.cast(images, tf.float32), [size, size]))


def decoder(size: int, *, exif_orientation: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph from encoded files [n] to uint8 [n, size, size, 3], on the processor whatever thread calls it.

    One call for several pictures: of a small one, the call costs several times what the picture does.
    """

    def decoded(file: tf.Tensor) -> tf.Tensor:
        return tf.cast(fit_size(decode(file, exif_orientation=exif_orientation), size), tf.uint8)

    @traced(FILES)
    def all_decoded(files: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            # Other pictures are decoded in other threads at the same time.
            return tf.map_fn(
                decoded, files, parallel_iterations=1, fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8)
            )

    return all_decoded


def content(files: Files, number: int) -> bytes:
    """A picture's file. Raises Unreadable, or OSError when the disk fails."""
    try:
        found = files.content(number)
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise Unreadable(error.strerror or str(error)) from error
    if not found:
        raise Unreadable("the file is empty")
    return found


def read(
    files: Files,
    flags: PictureFlags,
    *,
    fingerprint: str,
    check: Callable[[], None] = lambda: None,
    decoded: Callable[[tf.Tensor, int], tf.Tensor] | None = None,
) -> Examples:
    """Pictures uint8 [size, size, 3]: decoded now if all fit into the memory that the flags allow, else when needed.

    `decoded` makes one of an encoded file and its number; without it, pictures are scaled. Raises DataError as
    `Examples.batches`; `check` is called for every picture, and may raise to give up.
    """
    size = flags.image_size
    scaled = decoder(size, exif_orientation=flags.exif_orientation)

    def load(numbers: Array) -> Fields:
        encoded = [content(files, number) for number in numbers.tolist()]
        try:
            if decoded is None:
                return (scaled(tf.constant(encoded)).numpy(),)
            pairs = zip(encoded, numbers.tolist(), strict=True)
            return (np.stack([decoded(tf.constant(file), number).numpy() for file, number in pairs]),)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            raise Unreadable(reason(error)) from error

    pictures = Examples(files, load, ((size, size, 3),), flags.max_unreadable, say, fingerprint)
    return pictures.kept(flags.cache_mib * 2**20, check) if flags.cache_images else pictures
