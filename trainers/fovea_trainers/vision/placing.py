"""Random distortion of pictures together with their labels: size, aspect, place and mirroring in one resampling, then colour.

Every number follows from (seed, epoch, number of the picture), so a resumed run distorts as an undisturbed one would.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data import order
from fovea_trainers.errors import FlagError
from fovea_trainers.vision import letterbox, masks
from fovea_trainers.vision.flags import PlacingFlags

Array = np.ndarray[Any, Any]
DRAWS = 11
"""Random numbers that a picture gets in an epoch."""


@dataclass(frozen=True)
class Placing:
    """How much pictures are distorted; see the flags."""

    jitter: float
    scales: tuple[float, float]
    flip: bool
    hue: float
    saturation: float
    brightness: float

    def maps(self, draws: Array, extents: Array, size: int) -> Array:
        """float32 [n, 8]: for each picture the map from a pixel of the new frame to the one of the old that it shows.

        `draws` [n, DRAWS] are in 0..1, `extents` [n, 2] heights and widths of the pictures in their frames of `size`.
        """
        height, width = extents.astype(np.float64).T
        wide, high, scale, mirrored, x, y = draws[:, :6].astype(np.float64).T
        aspect = width / height * (1 + self.jitter * (2 * wide - 1)) / (1 + self.jitter * (2 * high - 1))
        longer = size * (self.scales[0] + (self.scales[1] - self.scales[0]) * scale)
        new_width, new_height = longer * np.minimum(aspect, 1), longer * np.minimum(1 / aspect, 1)
        left, top = (size - new_width) * x, (size - new_height) * y
        a, d = width / new_width, height / new_height
        # Points are the middles of pixels: the edge of the new picture shows the edge of the old one.
        edge = (size - width) // 2
        c = edge - 0.5 + (0.5 - left) * a
        f = (size - height) // 2 - 0.5 + (0.5 - top) * d
        flipped = self.flip & (mirrored < 0.5)
        a, c = np.where(flipped, -a, a), np.where(flipped, 2 * edge + width - 1 - c, c)
        zero = np.zeros(len(draws))
        return np.stack([a, zero, c, zero, d, f, zero, zero], axis=1).astype(np.float32)

    def colours(self, draws: Array) -> Array:
        """float32 [n, 3]: what is added to the hue, and what saturation and value are multiplied by."""
        hue, saturation, up, brightness, brighter = draws[:, 6:].T
        factors = [
            np.where(side < 0.5, 1 + (most - 1) * amount, 1 / (1 + (most - 1) * amount))
            for most, amount, side in ((self.saturation, saturation, up), (self.brightness, brightness, brighter))
        ]
        return np.stack([self.hue * (2 * hue - 1), *factors], axis=1).astype(np.float32)

    def __call__(self, images: Array, classes: Array, draws: Array) -> tuple[tf.Tensor, tf.Tensor]:
        """Frames uint8 [n, size, size, 3] and their classes [n, size, size], distorted: images are float32 in 0..255."""
        size = images.shape[1]
        maps = tf.constant(self.maps(draws, extents(classes), size))
        placed = _resampled(tf.cast(images, tf.float32), maps, "BILINEAR", letterbox.GREY)
        labels = _resampled(tf.constant(classes)[..., tf.newaxis], maps, "NEAREST", masks.MARGIN)
        return coloured(placed, tf.constant(self.colours(draws))), labels[..., 0]


def of(flags: PlacingFlags) -> Placing | None:
    """What the flags say; None: pictures are not distorted. Raises FlagError."""
    if flags.min_scale > flags.max_scale:
        raise FlagError(f"--min-scale={flags.min_scale} is above --max-scale={flags.max_scale}: give a lower one")
    if not flags.augment:
        return None
    scales = (flags.min_scale, flags.max_scale)
    return Placing(flags.jitter, scales, flags.flip, flags.hue, flags.saturation, flags.brightness)


def draws(count: int, *, seed: int, epoch: int) -> Array:
    """float32 [count, DRAWS] in 0..1, for all pictures of an epoch."""
    drawn = tf.random.stateless_uniform([count, DRAWS], order.stream(order.DISTORTION, seed=seed, epoch=epoch))
    found: Array = drawn.numpy()
    return found


def extents(classes: Array) -> Array:
    """int64 [n, 2]: height and width of the pictures in their frames [n, size, size], which the margins tell."""
    middle = (classes.shape[1] - 1) // 2  # also of a single row or column
    return np.stack(
        [(classes[:, :, middle] != masks.MARGIN).sum(axis=1), (classes[:, middle, :] != masks.MARGIN).sum(axis=1)],
        axis=1,
    )


def coloured(images: tf.Tensor, colours: tf.Tensor) -> tf.Tensor:
    """Images float32 [n, h, w, 3] in 0..255 with other hue, saturation and value, by [n, 3] (`Placing.colours`)."""
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(images / 255), axis=-1)
    add, more, brighter = (colours[:, place, tf.newaxis, tf.newaxis] for place in range(3))
    changed = [tf.math.floormod(hue + add, 1.0), tf.minimum(saturation * more, 1), tf.minimum(value * brighter, 1)]
    return tf.image.hsv_to_rgb(tf.stack(changed, axis=-1)) * 255


def _resampled(images: tf.Tensor, maps: tf.Tensor, interpolation: str, fill: int) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=maps,
        output_shape=tf.shape(images)[1:3],
        fill_value=float(fill),
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )
