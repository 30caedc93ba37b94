"""The pairs that a verifier is most wrong about, as a picture."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from fovea_trainers.runtime import pictures
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.pictures import Tile
from fovea_trainers.runtime.strategy import Batches
from fovea_trainers.vision.faces.sets import BATCH
from fovea_trainers.vision.faces.verification import cosine

MOST = 16


def sheet(model: keras.Model, batches: Batches, threshold: float, title: str) -> bytes | None:
    """Both pictures of each of the worst pairs side by side, as a PNG; None where every pair is decided rightly."""
    compared = _compared(model)
    worst: list[tuple[float, Tile]] = []
    for images, people in batches:
        similarities, same = (values.numpy() for values in compared(images, people))
        sides = tf.cast(images, tf.uint8).numpy()
        wrong = np.flatnonzero((similarities >= threshold) != same)
        for place in wrong:
            who = "one person" if same[place] else "two people"
            both = np.hstack(sides[2 * place : 2 * place + 2])
            tile = Tile(both, f"{who}\nsimilarity {similarities[place]:.3f}", wrong=True)
            worst.append((abs(float(similarities[place]) - threshold), tile))
        worst = sorted(worst, key=lambda one: -one[0])[:MOST]
    return pictures.sheet([tile for _, tile in worst], title=f"{title} (threshold {threshold:.3f})")


def _compared(model: keras.Model) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    @traced(*BATCH)
    def compared(images: tf.Tensor, people: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        embeddings = model(images, training=False)
        return cosine(embeddings[0::2], embeddings[1::2]), people[0::2] == people[1::2]

    return compared
