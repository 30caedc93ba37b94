"""Small tables that are made: a8a-like libsvm files, which a linear model cannot learn well, and CSV files."""

from pathlib import Path

import numpy as np

GROUPS = (5, 8, 7, 16, 7, 14, 6, 5, 2, 5, 5, 5, 37, 1)
"""How many of the 123 binary features each of the 14 attributes has, of which one is 1, as in a8a."""


def a8a_like(rows: int, *, seed: int = 1) -> list[str]:
    """Lines `+1 3:1 11:1 …`: about a quarter +1, by single attributes and by two that count only together; 5 % are wrong."""
    random = np.random.default_rng(seed)
    picks = np.stack([random.integers(0, size, rows) for size in GROUPS], axis=1)
    effects = [np.random.default_rng(100 + place).normal(0, 0.6, size) for place, size in enumerate(GROUPS)]
    score = sum(effect[picks[:, place]] for place, effect in enumerate(effects))
    together = (picks[:, 8] == 1) ^ (picks[:, 0] > 1)
    score = score + 5.0 * together
    labels = score > np.quantile(score, 0.76)
    labels ^= random.random(rows) < 0.05
    starts = np.cumsum([1, *GROUPS[:-1]])
    return [
        " ".join(["+1" if label else "-1", *(f"{place}:1" for place in starts + chosen)])
        for label, chosen in zip(labels, picks, strict=True)
    ]


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
