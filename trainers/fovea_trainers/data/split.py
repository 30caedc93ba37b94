"""Which examples are trained on, validated on and tested on: the seed and the name of each decide (ADR 201).

Each example draws a number. The lowest draws of a group of n are the first set's, round(n · ratio) of them, those that follow
the next set's, and the rest is trained on. So one more example moves at most one other into or out of the first set, and at
most two across the border behind the second.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_INTERRUPTIBLE = 10_000
"""Examples between two looks at whether a stop was requested: some hundredths of a second."""


def draws(seed: int, names: Iterable[bytes], check: Callable[[], None] = lambda: None) -> Array:
    """uint64 [names]: of examples with names of their own. `check` may raise to give up."""
    start = f"{seed}/".encode()
    drawn = array("Q")
    for count, name in enumerate(names):
        if count % _INTERRUPTIBLE == 0:
            check()
        drawn.append(int.from_bytes(hashlib.sha256(start + name).digest()[:8]))
    return np.array(drawn, np.uint64)


def draws_within(seed: int, name: str, count: int) -> Array:
    """uint64 [count]: of examples that have no names, by the name of the file that holds them and their place in it.

    More examples behind them change none of these draws.
    """
    return np.random.default_rng([seed, *name.encode(errors="surrogateescape")]).integers(0, 2**64, count, np.uint64)


def sizes(count: int, ratios: Sequence[float], *, left: int = 1) -> list[int]:
    """How many of the examples each set gets; at least `left` remain, as far as there are any."""
    found: list[int] = []
    for ratio in ratios:
        found.append(max(min(round(count * ratio), count - sum(found) - left), 0))
    return found


def divide(
    groups: Iterable[Array],
    drawn: Array,
    ratios: Sequence[float],
    *,
    left: int = 1,
    used: Sequence[int] | None = None,
    check: Callable[[], None] = lambda: None,
) -> list[Array]:
    """Numbers of the examples of each set int64, ascending: a set for each ratio, and last those to train on.

    Each group (numbers of its examples) gives every set its share, and keeps at least `left` to train on. `drawn` are
    the draws of all examples, by number. With `used`, that many of each group are divided, and the others are in no set.
    """
    parts: list[list[Array]] = [[np.zeros(0, np.int64)] for _ in range(len(ratios) + 1)]
    for place, group in enumerate(groups):
        check()
        mine = group[np.argsort(drawn[group], kind="stable")][: None if used is None else used[place]]
        for part, chosen in zip(parts, np.split(mine, np.cumsum(sizes(len(mine), ratios, left=left))), strict=True):
            part.append(chosen)
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]
