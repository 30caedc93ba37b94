"""a8a: 123 binary features of 14 attributes and two classes in libsvm files, which a linear model cannot learn well.

About a quarter of the rows is +1, by single attributes and by two that count only together; 5 % of the labels are wrong.
"""

from pathlib import Path

import numpy as np

HELP = "Two classes by 123 binary features as libsvm, as in a8a: the files a8a and, half as many rows, a8a.t."
COUNT = 3000
GROUPS = (5, 8, 7, 16, 7, 14, 6, 5, 2, 5, 5, 5, 37, 1)
"""How many of the binary features each attribute has, of which one is 1."""


def write(root: Path, *, count: int, seed: int) -> None:
    """Two thirds of `count` rows into the file a8a, the others into a8a.t."""
    made = lines(count, seed=seed)
    trained = count - count // 3
    for name, part in (("a8a", made[:trained]), ("a8a.t", made[trained:])):
        (root / name).write_text("".join(f"{line}\n" for line in part), encoding="utf-8")


def lines(rows: int, *, seed: int = 1) -> list[str]:
    """Lines `+1 3:1 11:1 …`."""
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
