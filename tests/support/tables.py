"""Small tables that are made."""

from pathlib import Path

import numpy as np


def write(path: Path, lines: list[str]) -> Path:
    """A file of these lines, in folders that are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def flowers(rows: int, *, seed: int = 1) -> list[str]:
    """A CSV table with a heading and three classes, of which two columns tell all; one of them in large numbers."""
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 3, rows)
    width, length = kinds + random.normal(0, 0.2, rows), 10_000 + 500 * kinds + random.normal(0, 100, rows)
    noise = random.normal(0, 1, rows)
    names = ("iris", "lily", "rose")
    lines = [f"{w:.3f},{names[k]},{n:.3f},{h:.1f}" for w, k, n, h in zip(width, kinds, noise, length, strict=True)]
    return ["width,kind,noise,length", *lines]
