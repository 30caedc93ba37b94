"""pets: rendered heads of cats and dogs under Kaggle's flat names, `cat.0.jpg` and `dog.0.jpg`.

Shapes tell the kind: a cat's ears are pointed and stand, a dog's are round and hang, and its muzzle is long. What is
lighter than the fur, and what darker, is drawn for each picture, and so are ground, place, size, turn and noise: hardly
any pixel tells, and no mean colour.
"""

from pathlib import Path
from typing import Any

import numpy as np

HELP = "Rendered cats and dogs under Kaggle's flat names: cat.0.jpg, dog.0.jpg, …; the count is that of all pictures."
COUNT = 800
KINDS = ("cat", "dog")
Array = np.ndarray[Any, Any]


def write(root: Path, *, count: int, seed: int) -> None:
    """JPEGs of 72 to 128 pixels a side; the kinds take turns."""
    import tensorflow as tf

    for number in range(count):
        kind = KINDS[number % 2]
        pixels = picture(kind, np.random.default_rng([seed, number]))
        encoded = tf.io.encode_jpeg(tf.constant(pixels), quality=90).numpy()
        (root / f"{kind}.{number // 2}.jpg").write_bytes(encoded)


def picture(kind: str, random: np.random.Generator) -> Array:
    """uint8 [h, w, 3] of one animal."""
    height, width = (int(side) for side in random.integers(72, 129, 2))
    canvas = _ground(height, width, random)
    x, y, scale = _animal(height, width, random)
    soft = 1.5 / scale  # edges of one and a half pixels
    fur = random.uniform(40, 215, 3) * random.uniform(0.6, 1, 1)
    inner, patch, whiskers = (np.clip(fur + random.choice((-1, 1)) * random.uniform(35, 90), 0, 255) for _ in range(3))
    white, dark = np.full(3, 235.0), random.uniform(0, 40, 3)

    def paint(distance: Array, colour: Array, strength: float = 1.0) -> None:
        cover = np.clip(0.5 - distance / soft, 0, 1)[..., np.newaxis] * strength
        canvas[:] = canvas * (1 - cover) + colour * cover

    spread, length = random.uniform(0.5, 0.7), random.uniform(0.85, 1.15)
    for side in (-1.0, 1.0):
        if kind == "cat":
            tip = (side * spread * 1.25, -1.15 * length)
            paint(_triangle(x, y, (side * 0.15, -0.7), (side * 0.95, -0.25), tip), fur)
            paint(_triangle(x, y, (side * 0.4, -0.68), (side * 0.8, -0.45), (tip[0] * 0.95, tip[1] * 0.88)), inner)
        else:
            paint(_ellipse(x - side * 0.95, y + 0.1 - 0.25 * length, 0.3, 0.65 * length, turn=side * 0.25), inner)
    paint(_ellipse(x, y, 0.95, 0.85), fur)
    for side in (-1.0, 1.0):
        paint(_ellipse(x - side * 0.38, y + 0.2, 0.17, 0.15), white)
        paint(_ellipse(x - side * 0.38, y + 0.2, 0.08, 0.13), dark)
    paint(_ellipse(x, y - 0.45, 0.4, 0.5) if kind == "dog" else _ellipse(x, y - 0.35, 0.55, 0.3), patch)
    paint(_ellipse(x, y - 0.25, 0.16, 0.11), dark)
    if kind == "cat":
        for side in (-1.0, 1.0):
            for slope in (-0.2, 0.05, 0.3):
                away = np.abs((y - 0.35) - slope * (side * x - 0.2)) - 0.015
                paint(np.maximum(away, np.abs(side * x - 0.7) - 0.5), whiskers, 0.8)
    return _photographed(canvas, random)


def _ground(height: int, width: int, random: np.random.Generator) -> Array:
    """float64 [h, w, 3]: a slope of two colours, with blots."""
    rows, columns = np.mgrid[0:height, 0:width]
    angle = random.uniform(0, 2 * np.pi)
    along = np.cos(angle) * columns / width + np.sin(angle) * rows / height
    along = ((along - along.min()) / (along.max() - along.min()))[..., np.newaxis]
    ground: Array = random.uniform(30, 225, 3) * (1 - along) + random.uniform(30, 225, 3) * along
    for _ in range(int(random.integers(1, 5))):
        place, sides = random.uniform(0, 1, 2) * (width, height), random.uniform(4, 28, 2)
        blot = _ellipse((columns - place[0]) / sides[0], (rows - place[1]) / sides[1], 1, 1) < 0
        ground[blot] = random.uniform(30, 225, 3)
    return ground


def _animal(height: int, width: int, random: np.random.Generator) -> tuple[Array, Array, float]:
    """Coordinates of every pixel in the animal's own frame [h, w], its head about 1 in radius, and pixels for each unit."""
    scale = min(height, width) * random.uniform(0.26, 0.36)
    middle = (width * random.uniform(0.4, 0.6), height * random.uniform(0.46, 0.58))
    turn = random.uniform(-0.35, 0.35)
    rows, columns = np.mgrid[0:height, 0:width]
    x, y = (columns - middle[0]) / scale, (rows - middle[1]) / scale
    return np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x, scale


def _photographed(canvas: Array, random: np.random.Generator) -> Array:
    lit = canvas * random.uniform(0.65, 1.2) + random.normal(0, random.uniform(4, 16), canvas.shape)
    return np.clip(lit, 0, 255).round().astype(np.uint8)


def _ellipse(x: Array, y: Array, a: float, b: float, turn: float = 0.0) -> Array:
    """About the distance to an ellipse around the origin, negative within."""
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    distance: Array = (np.hypot(along / a, across / b) - 1) * min(a, b)
    return distance


def _triangle(x: Array, y: Array, *corners: tuple[float, float]) -> Array:
    """About the distance to a triangle, negative within."""
    (ax, ay), (bx, by), (cx, cy) = corners
    way = np.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    sides = []
    for (px, py), (qx, qy) in zip(corners, (corners[1], corners[2], corners[0]), strict=True):
        edge = np.hypot(qx - px, qy - py)
        sides.append(way * ((y - py) * (qx - px) - (x - px) * (qy - py)) / -edge)
    distance: Array = np.maximum.reduce(sides)
    return distance
