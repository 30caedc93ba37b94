"""Writes scikit-learn's 1,797 handwritten digits as PNG class folders: `python dev/digits.py OUT`.

OUT/train/<digit>/<number>.png are all pictures but three; OUT/held-out/<digit>-<number>.png are those three, to ask the
model about. The originals are 8x8 with 17 shades of grey; they are written as 64x64.
"""

import sys
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

SIZE = 64
HELD_OUT = (1234, 1500, 1725)
"""Indices in the data set, of three different digits."""


def write(out: Path) -> None:
    """Write every picture; the same bytes each time, so a second run changes nothing."""
    digits = load_digits()
    for index, (shades, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if index in HELD_OUT:
            path = out / "held-out" / f"{label}-{index}.png"
        else:
            path = out / "train" / str(label) / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((shades * 255 / 16).round().astype("uint8"))
        picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR).save(path)


def main() -> int:
    """The program."""
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} OUT", file=sys.stderr)
        return 2
    write(Path(sys.argv[1]))
    print(f"wrote {len(load_digits().images)} digits to {sys.argv[1]}: train/<digit>/*.png and held-out/*.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
