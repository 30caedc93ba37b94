"""identities: drawn faces of made-up people in LFW's layout, `person_0001/person_0001_0001.jpg`.

Geometry tells people apart: places, sizes and slants of eyes, brows, nose, mouth, hair and jaw. Every picture of a person
has a place, scale, turn, light, colour and noise of its own, and those change more pixels than another person does: the
cosine of the raw pixels hardly tells who it is. `eyes.csv` has the places of the eyes, for --landmarks.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
HELP = "Drawn faces in LFW's layout: person_0001/person_0001_0001.jpg, …; the count is that of people, with --pictures of each."
COUNT = 240
PICTURES_EACH = 8
"""Of each person. The first ones are the same however many there are."""
SIZE = 64
"""Width and height of a picture, in pixels."""
EYES = "eyes.csv"
_TRAITS = (
    # Name, least and greatest value: lengths in units of half the picture.
    ("face_width", 0.48, 0.68),
    ("face_height", 0.66, 0.86),
    ("jaw", -0.25, 0.35),
    ("eye_spacing", 0.17, 0.31),
    ("eye_height", -0.22, 0.02),
    ("eye_width", 0.06, 0.13),
    ("eye_opening", 0.035, 0.085),
    ("eye_slant", -0.35, 0.35),
    ("brow_gap", 0.09, 0.2),
    ("brow_width", 0.09, 0.19),
    ("brow_thickness", 0.015, 0.05),
    ("brow_slant", -0.45, 0.45),
    ("nose_length", 0.12, 0.34),
    ("nose_width", 0.04, 0.13),
    ("mouth_height", 0.34, 0.54),
    ("mouth_width", 0.1, 0.28),
    ("mouth_thickness", 0.025, 0.075),
    ("mouth_curve", -0.5, 0.5),
    ("hairline", -0.62, -0.36),
    ("hair_slant", -0.3, 0.3),
)


def write(root: Path, *, count: int, seed: int, pictures: int = PICTURES_EACH) -> None:
    """JPEGs of `count` people, `pictures` of each, and `eyes.csv`."""
    import tensorflow as tf

    with (root / EYES).open("w", encoding="utf-8", newline="") as file:
        eyes = csv.writer(file)
        eyes.writerow(["picture", "left_x", "left_y", "right_x", "right_y"])
        for person in range(1, count + 1):
            random = np.random.default_rng([seed, person])
            traits = {name: random.uniform(low, high) for name, low, high in _TRAITS}
            name = f"person_{person:04d}"
            (root / name).mkdir(exist_ok=True)
            for number in range(1, pictures + 1):
                picture = f"{name}/{name}_{number:04d}.jpg"
                pixels, places = rendered(traits, random)
                (root / picture).write_bytes(tf.io.encode_jpeg(pixels, quality=92).numpy())
                eyes.writerow([picture, *(f"{place:.2f}" for place in places.ravel())])


def rendered(traits: dict[str, float], random: np.random.Generator) -> tuple[Array, Array]:
    """A picture uint8 [64, 64, 3] of a person, and the places (x, y) of the left and the right eye in it, [2, 2]."""
    turn, scale = random.uniform(-0.3, 0.3), random.uniform(0.72, 1.02)
    shift = random.uniform(-0.16, 0.16, 2)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    axis = (np.arange(SIZE) + 0.5) / (SIZE / 2) - 1
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    x, y = np.moveaxis((grid - shift) @ np.linalg.inv(rotation).T, -1, 0)
    layers = _layers(traits, x, y, random.uniform(0.6, 1.4))
    pixels = _lit(_painted(layers, random), grid, random)
    eyes = np.array([[-traits["eye_spacing"], traits["eye_height"]], [traits["eye_spacing"], traits["eye_height"]]])
    places = (eyes @ rotation.T + shift + 1) * (SIZE / 2) - 0.5
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8), places


def _layers(traits: dict[str, float], x: Array, y: Array, smile: float) -> list[tuple[str, Array]]:
    """Shapes from the back to the front: a colour's name, and how much each pixel is covered, 0 to 1."""
    width = traits["face_width"] * (1 - traits["jaw"] * np.clip(y, 0, 1))
    face = _inside(np.hypot(x / width, y / traits["face_height"]) - 1, 0.5)
    hair = face * _inside(y - traits["hairline"] - traits["hair_slant"] * x, 1)
    layers = [("skin", face), ("hair", hair)]
    for side in (-1, 1):
        eye_x, eye_y = x * side - traits["eye_spacing"], y - traits["eye_height"]
        slanted = eye_y + traits["eye_slant"] * eye_x
        white = _inside(np.hypot(eye_x / traits["eye_width"], slanted / traits["eye_opening"]) - 1, 0.06)
        iris = white * _inside(np.hypot(eye_x, eye_y) - 0.75 * traits["eye_opening"], 1)
        brow_y = eye_y + traits["brow_gap"] + traits["brow_slant"] * eye_x
        brow = _inside(np.hypot(eye_x / traits["brow_width"], brow_y / traits["brow_thickness"]) - 1, 0.03)
        layers += [("white", white), ("iris", iris), ("hair", brow)]
    along = (y - traits["eye_height"]) / (traits["nose_length"] + 1e-6)
    nose = _inside(np.abs(x) - traits["nose_width"] * np.clip(along, 0, 1), 1) * ((along > 0) & (along < 1))
    bend = traits["mouth_curve"] * smile * (x / traits["mouth_width"]) ** 2 * 0.12
    mouth_y = (y - traits["mouth_height"] + bend) / traits["mouth_thickness"]
    mouth = _inside(np.hypot(x / traits["mouth_width"], mouth_y) - 1, 0.05)
    return [*layers, ("shade", 0.7 * nose), ("lip", mouth)]


def _inside(distance: Array, width: float) -> Array:
    """1 where a distance is negative, 0 where it is positive, with a soft edge of about a pixel."""
    return np.clip(0.5 - distance * width * (SIZE / 2), 0, 1)


def _painted(layers: list[tuple[str, Array]], random: np.random.Generator) -> Array:
    """The shapes in colours of this picture alone: [64, 64, 3] in 0..255."""
    skin = random.uniform([150, 110, 90], [225, 180, 150])
    dark = random.uniform(20, 90) * random.uniform(0.7, 1, 3)
    colours = {
        "skin": skin,
        "hair": dark,
        "white": np.array([225, 225, 225]),
        "iris": 0.6 * dark,
        "shade": 0.72 * skin,
        "lip": skin * [0.85, 0.5, 0.5],
    }
    pixels = np.broadcast_to(random.uniform(40, 220, 3), (SIZE, SIZE, 3))
    for name, covered in layers:
        pixels = pixels + covered[..., np.newaxis] * (colours[name] - pixels)
    return pixels


def _lit(pixels: Array, grid: Array, random: np.random.Generator) -> Array:
    """Under a light from some side, with the noise of a camera."""
    angle, strength = random.uniform(0, 2 * np.pi), random.uniform(0, 0.45)
    light = random.uniform(0.65, 1.15) * (1 + strength * (grid @ [np.cos(angle), np.sin(angle)]))
    return pixels * light[..., np.newaxis] + random.normal(0, random.uniform(2, 10), pixels.shape)
