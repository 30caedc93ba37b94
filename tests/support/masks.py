"""Small pictures with label pictures in the layout of PASCAL VOC, learnt within seconds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

SIDES = (32, 24, 40)
"""Heights of the pictures in turn; all are 32 wide."""


def write(root: Path, count: int, *, lists: bool = True) -> Path:
    """Bright squares on noise, dark in the label; a third of the names in val.txt, or no lists."""
    noise = np.random.default_rng(5)
    names = [f"p{number:02}" for number in range(count)]
    for number, name in enumerate(names):
        height = SIDES[number % len(SIDES)]
        inside = np.zeros((height, 32), bool)
        top, left = noise.integers(0, height - 10), noise.integers(0, 20)
        inside[top : top + 10, left : left + 12] = True
        pixels = np.clip(noise.normal(90, 25, (height, 32, 3)) + 90 * inside[..., np.newaxis], 0, 255)
        encoded = {"Images": pixels.astype(np.uint8), "Labels": np.where(inside, 0, 255).astype(np.uint8)[..., None]}
        for folder, content in encoded.items():
            path = root / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(content).numpy())
    if lists:
        listed(root, train=names[: count - count // 3], val=names[count - count // 3 :])
    return root


def listed(root: Path, **parts: Sequence[str]) -> None:
    """Write the lists of the sets."""
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    for part, names in parts.items():
        (folder / f"{part}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
