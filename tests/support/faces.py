"""Pictures of made-up people in LFW's layout, for runs of the face verifier."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from fovea_trainers.datasets import identities

SMALL = ("--image-size=16", "--batch-size=8", "--epochs=1", "--no-early-stopping", "--fgsm=")
"""Flags of a run that takes no time."""


def drawn(root: Path, people: int, *, seed: int = 1) -> Path:
    """The data set `identities`."""
    root.mkdir(parents=True, exist_ok=True)
    identities.write(root, count=people, seed=seed)
    return root


def coloured(root: Path, people: int, *, pictures: int = 3, size: int = 20) -> Path:
    """A colour for each person, with noise: no network is needed to tell them apart."""
    for person in range(people):
        noise = np.random.default_rng(person)
        colour = noise.integers(0, 200, 3)
        name = f"p{person:02d}"
        (root / name).mkdir(parents=True)
        for number in range(1, pictures + 1):
            pixels = (colour + noise.integers(0, 56, (size, size, 3))).astype(np.uint8)
            (root / name / f"{name}_{number:04d}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return root
