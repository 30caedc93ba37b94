"""Pairs of pictures: which are compared, made by a rule or read from a file in the format of LFW's pairs.txt.

A pair is a row of two numbers of pictures; whether it is of one person follows from whose pictures they are.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]
_HEADING = re.compile(r"\s*\d+(\s+\d+)?\s*")
_FORMAT = "expected `name i j` or `name1 i name2 j`, separated by tabs"


def generated(pictures: Sequence[Array], *, each: int, seed: int, check: Callable[[], None] = lambda: None) -> Array:
    """int64 [m, 2] for people, of whom each has an array of pictures: of everyone `each` pairs with somebody else at random,
    and as many of their own pictures as there are up to `each`, the first two first. A person with one picture has no pair
    of their own.

    `check` may raise to give up. With fewer than two people there is no pair of two.
    """
    random = np.random.default_rng(seed)
    pairs: list[tuple[int, int]] = []
    for place, own in enumerate(pictures):
        check()
        pairs += [pair for pair, _ in zip(_own_pairs(own), range(each), strict=False)]
        for number in range(each if len(pictures) > 1 else 0):
            other = int(random.integers(len(pictures) - 1))
            theirs = pictures[other + (other >= place)]  # everybody but this person
            pairs.append((int(own[number % len(own)]), int(theirs[random.integers(len(theirs))])))
    return np.array(pairs, np.int64).reshape(-1, 2)


def _own_pairs(own: Array) -> Iterator[tuple[int, int]]:
    """Neighbours first, so that few pairs are of many pictures."""
    for gap in range(1, len(own)):
        for first in range(len(own) - gap):
            yield int(own[first]), int(own[first + gap])


def read(path: Path, numbers: Mapping[str, int]) -> Array:
    """int64 [m, 2] of a file; `numbers` are those of the pictures by their paths without suffix: `name/name_0001`.

    Lines are `name i j` for one person and `name1 i name2 j` for two; a first line of one or two numbers is a heading.
    Raises DataError for a file that cannot be read, and naming the line for one that is no pair or names no picture.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--pairs: {path} cannot be read: {error}; name a file in the format of LFW's pairs.txt"
        ) from error
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and _HEADING.fullmatch(line)):
            continue
        named = _named(line)
        if named is None:
            raise DataError(f"--pairs: line {number} of {path} is {line.strip()!r}: {_FORMAT}")
        if missing := [name for name in named if name not in numbers]:
            raise DataError(
                f"--pairs: line {number} of {path} names {missing[0]}, and the data has no such picture: upload it, or "
                "remove the line"
            )
        pairs.append([numbers[name] for name in named])
    if not pairs:
        raise DataError(f"--pairs: {path} has no pairs: {_FORMAT}")
    return np.array(pairs, np.int64)


def spread(pairs: Array, most: int) -> Array:
    """At most `most` of the pairs [m, 2], evenly spread over them."""
    chosen: Array = pairs[np.unique(np.linspace(0, len(pairs) - 1, most).astype(int))]
    return chosen


def _named(line: str) -> tuple[str, str] | None:
    """The two pictures of a line as paths without suffix."""
    words = [word.strip() for word in (line.split("\t") if "\t" in line else line.split())]
    if len(words) == 3:
        words = [words[0], words[1], words[0], words[2]]
    if len(words) != 4 or not (words[1].isdecimal() and words[3].isdecimal()):
        return None
    first, second = (f"{name}/{name}_{int(place):04d}" for name, place in (words[:2], words[2:]))
    return first, second
