"""captions: rendered shapes with five captions each, in the layout of Flickr8k.

A picture has two shapes: one above the other, or one left of the other. A caption names size, colour and form of both and
where they are. Three captions begin with the upper or left one, two with the other; they are put into words in several
ways. Size, place, light and noise are drawn for each picture, so that no pixel tells.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HELP = "Rendered shapes with five captions each, in the layout of Flickr8k: pictures, token file, lists of the split."
COUNT = 1200
SIDE = 64
"""Width and height of the pictures."""
PICTURES, TEXT = "Flicker8k_Dataset", "Flickr8k_text"
"""The folders, spelt as there."""
COLOURS = {"red": (215, 45, 40), "green": (50, 175, 60), "blue": (50, 70, 215), "yellow": (235, 215, 50)}
FORMS = ("circle", "square", "triangle")
SIZES = {"large": (11.5, 13.5), "small": (6.0, 7.5)}
"""Half the width, in pixels: from, to."""
OPPOSITE = {"above": "below", "left of": "right of"}
_SENTENCES = (
    "A {first} {where} a {second} .",
    "A {first} is {where} a {second} .",
    "There is a {first} {where} a {second} .",
    "A {first} , {where} a {second} !",
)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Shape:
    """What a caption says of one shape."""

    size: str
    colour: str
    form: str

    def __str__(self) -> str:
        return f"{self.size} {self.colour} {self.form}"


@dataclass(frozen=True)
class Scene:
    """Two different shapes; `where` is the place of the first: above, or left of."""

    first: Shape
    second: Shape
    where: str


def write(root: Path, *, count: int, seed: int) -> None:
    """JPEGs with their captions; eight of ten pictures are for training, one for validation, one for the test."""
    import tensorflow as tf

    (root / PICTURES).mkdir()
    (root / TEXT).mkdir()
    lines: list[str] = []
    parts: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for number in range(count):
        random = np.random.default_rng([seed, number])
        shown = scene(random)
        name = f"{1_000_000_000 + number}_{random.bytes(5).hex()}.jpg"
        pixels = tf.constant(picture(shown, random))
        (root / PICTURES / name).write_bytes(tf.io.encode_jpeg(pixels, quality=95).numpy())
        lines += [f"{name}#{place}\t{text}" for place, text in enumerate(captions(shown, random))]
        parts["dev" if number % 10 == 8 else "test" if number % 10 == 9 else "train"].append(name)
    _write(root / TEXT / "Flickr8k.token.txt", lines)
    for part, names in parts.items():
        _write(root / TEXT / f"Flickr_8k.{part}Images.txt", names)


def scene(random: np.random.Generator) -> Scene:
    """Two shapes that differ in form or colour, so that a caption tells them apart."""
    first = second = _shape(random)
    while (first.colour, first.form) == (second.colour, second.form):
        second = _shape(random)
    return Scene(first, second, str(random.choice(list(OPPOSITE))))


def captions(shown: Scene, random: np.random.Generator) -> list[str]:
    """Five, in the order of the file."""
    ways = [(shown.first, shown.where, shown.second)] * 3 + [(shown.second, OPPOSITE[shown.where], shown.first)] * 2
    return [
        str(random.choice(_SENTENCES)).format(first=first, where=where, second=second)
        for first, where, second in (ways[place] for place in random.permutation(5))
    ]


def picture(shown: Scene, random: np.random.Generator) -> Array:
    """uint8 [SIDE, SIDE, 3]."""
    ground = random.uniform(90, 170) + random.uniform(-12, 12, 3)
    canvas = np.broadcast_to(ground, (SIDE, SIDE, 3)).copy()
    quarters = np.array([[0.27, 0.5], [0.73, 0.5]]) * SIDE
    places = quarters if shown.where == "left of" else quarters[:, ::-1]
    for shape, place in zip((shown.first, shown.second), places, strict=True):
        half = random.uniform(*SIZES[shape.size])
        x, y = place + random.uniform(-1, 1, 2) * (SIDE * 0.25 - half + 2)
        colour = np.clip(np.array(COLOURS[shape.colour]) * random.uniform(0.8, 1.1) + random.normal(0, 8, 3), 0, 255)
        rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
        cover = np.clip(0.5 - _distance(shape.form, columns - x, rows - y, half), 0, 1)[..., np.newaxis]
        canvas = canvas * (1 - cover) + colour * cover
    noisy = canvas + random.normal(0, random.uniform(1, 5), canvas.shape)
    return np.clip(noisy, 0, 255).round().astype(np.uint8)


def _shape(random: np.random.Generator) -> Shape:
    return Shape(*(str(random.choice(list(of))) for of in (SIZES, COLOURS, FORMS)))


def _distance(form: str, x: Array, y: Array, half: float) -> Array:
    """About the distance to the outline in pixels, negative within."""
    if form == "circle":
        return np.hypot(x, y) - half
    if form == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.9 * half
    return np.maximum(y - 0.8 * half, (2 * np.abs(x) - (y + half)) / 5**0.5)


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
