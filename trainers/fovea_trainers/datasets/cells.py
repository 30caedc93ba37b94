"""cells: rendered cells on an uneven ground, with label pictures, in the layout of PASCAL VOC.

Brightness tells little. Some cells are filled and lighter than the ground, some darker, some only a ring around what
looks as the ground does; light and brightness of the ground vary within a picture. Beside the cells lie bright and dark
threads and crumbs, which are none.
"""

from pathlib import Path
from typing import Any

import numpy as np

HELP = "Rendered cells with a label picture each (dark where a cell is): Images/, Labels/, ImageSets/Segmentation/."
COUNT = 240
SIDE = 64
Array = np.ndarray[Any, Any]


def write(root: Path, *, count: int, seed: int) -> None:
    """PNGs of 64 × 64 pixels; three quarters of their names are in train.txt, the others in val.txt."""
    import tensorflow as tf

    for folder in ("Images", "Labels", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    names = [f"cells-{number:04}" for number in range(count)]
    for number, name in enumerate(names):
        pixels, inside = picture(np.random.default_rng([seed, number]))
        label = np.where(inside, 0, 255).astype(np.uint8)[..., np.newaxis]
        for folder, content in (("Images", pixels), ("Labels", label)):
            (root / folder / f"{name}.png").write_bytes(tf.io.encode_png(content).numpy())
    trained = count - count // 4
    for part, listed in (("train", names[:trained]), ("val", names[trained:])):
        text = "".join(f"{name}\n" for name in listed)
        (root / "ImageSets/Segmentation" / f"{part}.txt").write_text(text, encoding="utf-8")


def picture(random: np.random.Generator) -> tuple[Array, Array]:
    """uint8 [64, 64, 3], and bool [64, 64]: what belongs to a cell."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    canvas = _ground(rows, columns, random)
    inside = np.zeros((SIDE, SIDE), bool)
    for _ in range(int(random.integers(2, 7))):
        _thread(canvas, rows, columns, random)
    for _ in range(int(random.integers(3, 8))):
        inside |= _cell(canvas, rows, columns, random)
    for _ in range(int(random.integers(3, 9))):
        _crumb(canvas, rows, columns, random)
    tint = random.uniform(0.9, 1.1, 3)
    noisy = canvas[..., np.newaxis] * tint + random.normal(0, random.uniform(3, 9), (SIDE, SIDE, 3))
    return np.clip(noisy, 0, 255).round().astype(np.uint8), inside


def _ground(rows: Array, columns: Array, random: np.random.Generator) -> Array:
    """float64 [64, 64]: light from one side, and waves."""
    angle = random.uniform(0, 2 * np.pi)
    along = (np.cos(angle) * columns + np.sin(angle) * rows) / SIDE
    ground: Array = random.uniform(90, 150) + random.uniform(15, 50) * along
    for _ in range(4):
        wave = random.normal(0, 2 * np.pi / 14, 2)
        ground += random.uniform(2, 7) * np.sin(wave[0] * rows + wave[1] * columns + random.uniform(0, 6))
    return ground


def _cell(canvas: Array, rows: Array, columns: Array, random: np.random.Generator) -> Array:
    """Draw a cell; returns where it is."""
    y, x = random.uniform(4, SIDE - 4, 2)
    radius, turn, phase = random.uniform(6, 11), random.uniform(0, np.pi), random.uniform(0, 6)
    direction = np.arctan2(rows - y, columns - x)
    edge = radius * (1 + 0.15 * np.cos(2 * (direction - turn)) + 0.06 * np.cos(3 * direction + phase))
    distance = np.hypot(rows - y, columns - x) - edge
    inside: Array = distance < 0
    contrast = random.choice((-1, 1)) * random.uniform(24, 50)
    ring = np.exp(-((distance + 1.2) ** 2) / 2)
    if random.random() < 0.5:
        canvas += contrast * ring
    else:
        canvas += 0.6 * contrast * np.clip(0.5 - distance, 0, 1) + 0.5 * contrast * ring
    nucleus = np.hypot(rows - y - random.uniform(-2, 2), columns - x - random.uniform(-2, 2)) - radius * 0.3
    canvas -= 0.7 * contrast * np.clip(0.5 - nucleus, 0, 1)
    return inside


def _thread(canvas: Array, rows: Array, columns: Array, random: np.random.Generator) -> None:
    """A bent line, as bright or dark as the rim of a cell."""
    angle, offset = random.uniform(0, np.pi), random.uniform(0, SIDE, 2)
    along = np.cos(angle) * (columns - offset[1]) + np.sin(angle) * (rows - offset[0])
    across = np.cos(angle) * (rows - offset[0]) - np.sin(angle) * (columns - offset[1])
    bend = random.uniform(-0.01, 0.01)
    away = np.abs(across - bend * along**2)
    end = np.clip((random.uniform(10, 28) - np.abs(along)) / 2, 0, 1)
    canvas += random.choice((-1, 1)) * random.uniform(20, 50) * np.exp(-(away**2) / 2) * end


def _crumb(canvas: Array, rows: Array, columns: Array, random: np.random.Generator) -> None:
    """A small filled spot, brighter or darker than any cell."""
    y, x = random.uniform(0, SIDE, 2)
    radius = random.uniform(1.2, 3)
    spot = np.clip(radius - np.hypot(rows - y, columns - x), 0, 1)
    canvas += random.choice((-1, 1)) * random.uniform(30, 70) * spot
