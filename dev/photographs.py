"""Writes crops of five photographs of scikit-image as class folders: `python dev/photographs.py OUT`.

Each photograph is divided into 4 × 4 tiles, of which every fourth is the test's: OUT/test/<name>/*.jpg are cut from those,
OUT/train/<name>/*.jpg from the others. No pixel of a test picture is in a training picture: what a class has in common has
to be seen, not learnt by heart.
"""

import sys
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

NAMES = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}
PER_CLASS = 100
TEST_PER_CLASS = 40
TILES = 4
"""Tiles of a photograph in each direction."""
SIDES = (0.6, 1.0)
"""Least and greatest side of a crop, as a share of a tile's shorter side."""


def write(out: Path, *, per_class: int = PER_CLASS, test_per_class: int = TEST_PER_CLASS, seed: int = 1) -> None:
    """Write every crop; the same bytes each time, so a second run changes nothing."""
    for label, (name, file) in enumerate(NAMES.items()):
        with Image.open(Path(skimage.__file__).parent / "data" / file) as opened:
            photograph = opened.convert("RGB")
        for part, count in (("train", per_class), ("test", test_per_class)):
            folder = out / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                random = np.random.default_rng([seed, label, part == "test", number])
                photograph.crop(_box(photograph.size, part, random)).save(folder / f"{number:03d}.jpg", quality=90)


def _box(size: tuple[int, int], part: str, random: np.random.Generator) -> tuple[int, int, int, int]:
    """A random square within a random tile of one part: left, top, right, bottom."""
    places = [(i, j) for i in range(TILES) for j in range(TILES) if ((i + 2 * j) % 4 == 0) == (part == "test")]
    column, row = places[random.integers(len(places))]
    width, height = size[0] // TILES, size[1] // TILES
    side = int(random.uniform(*SIDES) * min(width, height))
    left = column * width + int(random.integers(0, width - side + 1))
    top = row * height + int(random.integers(0, height - side + 1))
    return left, top, left + side, top + side


def main() -> int:
    """The program."""
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} OUT", file=sys.stderr)
        return 2
    write(Path(sys.argv[1]))
    print(f"wrote {PER_CLASS} and {TEST_PER_CLASS} crops of each of {', '.join(NAMES)} to {sys.argv[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
