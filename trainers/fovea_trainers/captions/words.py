"""Captions as words, and words as numbers."""

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, Any]
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
"""The first words of every vocabulary: what fills a batch up, the begin and the end of a caption, any unknown word."""
PAD, START, END, UNKNOWN = range(len(SPECIAL))
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean(caption: str) -> list[str]:
    """Its words in small letters; without punctuation, single characters, and words that are not letters alone."""
    words = caption.lower().translate(_PUNCTUATION).split()
    return [word for word in words if len(word) > 1 and word.isalpha()]


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows, by their numbers."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]], size: int) -> Self:
        """The special words and the most frequent ones, `size` in all; words of one frequency in the order of letters."""
        counts = Counter(word for caption in captions for word in caption)
        known = sorted(counts, key=lambda word: (-counts[word], word))
        return cls((*SPECIAL, *known[: size - len(SPECIAL)]))

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self, caption: Sequence[str], longest: int) -> list[int]:
        """START, the caption, END; the caption is cut where it has more than `longest` words, END among them."""
        return [START, *(self._places.get(word, UNKNOWN) for word in caption[: longest - 1]), END]

    def caption(self, numbers: Iterable[int]) -> list[str]:
        """The words up to END."""
        words: list[str] = []
        for number in numbers:
            if number == END:
                break
            words.append(self.words[number])
        return words

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}


def padded(captions: Sequence[Sequence[int]]) -> Array:
    """int32 [n, longest]: filled up with PAD behind each caption; at least START and END wide, also without any."""
    width = max((len(caption) for caption in captions), default=2)
    rows = np.full((len(captions), width), PAD, np.int32)
    for row, caption in zip(rows, captions, strict=True):
        row[: len(caption)] = caption
    return rows
