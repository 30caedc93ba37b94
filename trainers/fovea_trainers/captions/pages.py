"""Captions of whole sets of pictures, and how good they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea_trainers.captions import bleu
from fovea_trainers.captions.decoding import Writer
from fovea_trainers.captions.drawing import Sample
from fovea_trainers.captions.sets import Sets
from fovea_trainers.runtime.graph import traced

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Page:
    """The captions of those of a set's pictures that can be read."""

    pictures: Array
    """int64 [n]: their numbers."""
    captions: list[list[str]]
    attention: Array
    """float32 [m, longest, rows, columns]: where the model looked for each word of the first m captions."""

    def bleu(self, sets: Sets) -> dict[str, float]:
        """bleu1 to bleu4, by all captions of each picture."""
        return bleu.corpus(self.captions, _references(sets, self.pictures))

    def spoken(self, sets: Sets, most: int) -> dict[str, str]:
        """The captions of the first `most` pictures, by the names of their files."""
        chosen = zip(self.pictures[:most].tolist(), self.captions, strict=False)
        return {sets.data.name(picture): " ".join(caption) for picture, caption in chosen}

    def samples(self, sets: Sets, most: int) -> list[Sample]:
        """The first `most` pictures with their captions, for drawing: as many as were said to be `drawn`."""
        samples = []
        for place, picture in enumerate(self.pictures[:most].tolist()):
            fields, _ = sets.pictures.read(picture)
            if fields is not None:
                reference = sets.data.captions[picture][0]
                samples.append(Sample(fields[0], self.captions[place], reference, self.attention[place]))
        return samples


def write(
    sets: Sets, pictures: Array, writer: Writer, batch_size: int, check: Callable[[], None], *, drawn: int = 0
) -> Page:
    """Captions for these pictures. `check` may raise to give up.

    Where the model looked is kept of the first `drawn` or a few more: of a large set it would fill the memory.
    """
    ask = traced(sets.signature[0])(writer)
    numbers: list[Array] = []
    captions: list[list[str]] = []
    attention: list[Array] = []
    for readable, seen in sets.one_by_one(pictures, batch_size):
        check()
        if len(readable):
            written = ask(seen)
            numbers.append(readable)
            captions += [sets.vocabulary.caption(row) for row in written.words.numpy()]
            if sum(map(len, attention)) < drawn:
                attention.append(written.attention.numpy())
    none = np.zeros((0, 0, 0, 0), np.float32)
    return Page(
        np.concatenate([np.zeros(0, np.int64), *numbers]), captions, np.concatenate(attention) if attention else none
    )


def most_frequent(sets: Sets, pictures: Array) -> dict[str, Any]:
    """What the most frequent caption of the training set scores on these pictures: the least that a model must beat."""
    caption = sets.most_frequent()
    return {"caption": " ".join(caption), **bleu.corpus([caption] * len(pictures), _references(sets, pictures))}


def _references(sets: Sets, pictures: Array) -> list[tuple[tuple[str, ...], ...]]:
    """The words of all captions of each picture, those that the vocabulary lacks among them."""
    return [sets.data.captions[picture] for picture in pictures.tolist()]
