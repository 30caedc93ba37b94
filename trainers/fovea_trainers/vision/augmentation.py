"""Random distortion of pictures: shear, zoom and flip in one resampling.

Every number follows from (seed, epoch, index of the picture), so a resumed run distorts as an undisturbed one would.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data import order
from fovea_trainers.vision.flags import AugmentationFlags

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Augmentation:
    """Greatest shear (radians), greatest change of scale (0.2: 0.8 to 1.2, each axis for itself), mirroring or not."""

    shear: float
    zoom: float
    flip: bool


def transforms(augmentation: Augmentation, count: int, size: int, *, seed: int, epoch: int) -> Array:
    """float32 [count, 8]: for each picture the map from an output pixel to the input pixel it shows."""
    draws = tf.random.stateless_uniform([count, 4], order.stream(order.DISTORTION, seed=seed, epoch=epoch)).numpy()
    shear = augmentation.shear * (2 * draws[:, 0] - 1)
    zoom_x, zoom_y = 1 + augmentation.zoom * (2 * draws[:, 1:3].T - 1)
    mirror = np.where(augmentation.flip & (draws[:, 3] < 0.5), -1.0, 1.0)
    a, b = mirror * zoom_x, -mirror * np.sin(shear) * zoom_y
    d = np.cos(shear) * zoom_y
    centre, zero = (size - 1) / 2, np.zeros(count)
    rows = [a, b, centre * (1 - a - b), zero, d, centre * (1 - d), zero, zero]
    return np.stack(rows, axis=1).astype(np.float32)


def apply(images: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Distort float32 [n, h, w, 3] by [n, 8]; what lies outside is filled with the nearest pixel."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=maps,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def of(flags: AugmentationFlags) -> Augmentation | None:
    """What the flags say; None: pictures are not distorted."""
    return Augmentation(flags.shear, flags.zoom, flags.flip) if flags.augment else None
