"""Faces in a photograph: where they are, their landmarks, and the square around each that a descriptor is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fovea_trainers.vision.faces import descriptor, detector, landmark_network

Array = np.ndarray[Any, Any]
LEAST_SCORE = 0.6
"""With 0.5, two faces side by side may give a third one between them."""


@dataclass(frozen=True)
class Face:
    """In pixels of the photograph."""

    score: float
    """How sure the detector is, 0..1."""
    box: tuple[float, float, float, float]
    """x, y, width, height; it may reach beyond the photograph."""
    points: Array
    """Landmarks [68, 2]: x and y."""

    @property
    def eyes(self) -> Array:
        """The middles of both eyes [2, 2]: first the one on the left of the picture."""
        return np.stack(
            [self.points[eye].mean(axis=0) for eye in (landmark_network.FIRST_EYE, landmark_network.SECOND_EYE)]
        )

    @property
    def square(self) -> tuple[int, int, int]:
        """x, y and side of the square that the descriptor's weights know: placed by eyes and mouth, not turned."""
        middles = np.stack([*self.eyes, self.points[landmark_network.MOUTH].mean(axis=0)])
        side = np.linalg.norm(middles[:2] - middles[2], axis=1).mean() / 0.45
        x, y = middles.mean(axis=0) - side * np.array([0.5, 0.43])
        return int(max(0, x)), int(max(0, y)), int(side)


def find(image: tf.Tensor, detect: keras.Model, place: keras.Model, *, least_score: float = LEAST_SCORE) -> list[Face]:
    """Faces in a photograph [height, width, 3] in 0..255, the surest first; by the networks of `detector` and `landmark_network`."""
    height, width = image.shape[0], image.shape[1]
    size = detect.input_shape[1]
    found = detector.boxes(detect(detector.prepare(image, size), training=False), height, width, least_score)
    faces = []
    for box, score in zip(*found, strict=True):
        left, top = (int(max(edge, 0)) for edge in box[:2])
        right, bottom = int(min(box[0] + box[2], width)), int(min(box[1] + box[3], height))
        if left >= right or top >= bottom:
            continue
        crop = image[top:bottom, left:right]
        points = landmark_network.points(
            place(landmark_network.prepare(crop), training=False), bottom - top, right - left
        )
        faces.append(Face(float(score), tuple(box.tolist()), points + np.array([left, top])))
    return faces


def aligned(image: tf.Tensor, faces: Sequence[Face], size: int = descriptor.SIZE) -> tf.Tensor:
    """The squares of faces [faces, size, size, 3] in 0..255; zeros where a square reaches beyond the photograph."""
    pictures = []
    for face in faces:
        x, y, side = face.square
        crop = tf.cast(image[y : y + side, x : x + side], tf.float32)
        pictures.append(
            tf.image.resize(tf.image.pad_to_bounding_box(crop, 0, 0, side, side), [size, size], antialias=True)
        )
    return tf.stack(pictures) if pictures else tf.zeros([0, size, size, 3])
