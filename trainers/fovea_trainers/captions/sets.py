"""Pictures with captions as training, validation and test set. All captions of a picture are in one set."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.captions import reading
from fovea_trainers.captions.flags import CaptionFlags
from fovea_trainers.captions.reading import Captioned
from fovea_trainers.captions.words import Vocabulary, padded
from fovea_trainers.data import order
from fovea_trainers.data.examples import Examples, Finish
from fovea_trainers.data.source import Source
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Batches, Dataset, Shard
from fovea_trainers.vision import features, images
from fovea_trainers.vision.backbones import Backbone

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sets:
    """Numbers of the pictures of each set; validation and test may be empty. An example is a caption with its picture."""

    data: Captioned
    pictures: Examples
    """Pixels uint8 [size, size, 3]."""
    seen: Examples
    """What the trained network gets: the features of a backbone float32 [rows, columns, channels], else the pixels."""
    vocabulary: Vocabulary
    numbers: Sequence[Sequence[int]]
    """Of the words of each caption, in the order of the pictures."""
    picture: Array
    """int64 [captions]: the picture that each belongs to."""
    train: Array
    validation: Array
    test: Array

    @property
    def signature(self) -> Sequence[tf.TensorSpec]:
        """Of a batch: what the network sees, float32 [n, …], and captions int32 [n, longest of the batch]."""
        return [tf.TensorSpec([None, *self.seen.shapes[0]], tf.float32), tf.TensorSpec([None, None], tf.int32)]

    def steps(self, batch_size: int) -> int:
        """Batches of an epoch."""
        return -(-len(self._captions_of(self.train)) // batch_size)

    def training(self, batch_size: int, *, seed: int) -> Dataset:
        """Batches of captions of the training set; their order follows from (seed, epoch) only."""
        mine = self._captions_of(self.train)

        def dataset(epoch: int, first: int, shard: Shard) -> Batches:
            places = order.batches(len(mine), batch_size, seed=seed, epoch=epoch, first=first, shard=shard)
            return self._batches([mine[place] for place in places])

        return dataset

    def evaluated(self, batch_size: int) -> dict[str, Callable[[], Batches]]:
        """Batches of captions of the sets beside the training set that hold any, by the prefix of their metrics."""
        return {
            name: partial(self._batches, order.cut(self._captions_of(part), batch_size))
            for name, part in self.beside().items()
        }

    def beside(self) -> dict[str, Array]:
        """Pictures of the sets beside the training set that hold any."""
        return {name: part for name, part in (("val", self.validation), ("test", self.test)) if len(part)}

    def one_by_one(self, pictures: Array, batch_size: int) -> Iterator[tuple[Array, tf.Tensor]]:
        """Each of these pictures once: numbers [n] of those that can be read, and what the network sees of them."""

        def finish(numbers: Array, kept: Array, values: Array) -> tuple[Any, ...]:
            return numbers[kept], tf.constant(values.astype(np.float32))

        cut = order.cut(pictures, batch_size)
        yield from self.seen.batches((numbers, partial(finish, numbers)) for numbers in cut)

    def most_frequent(self) -> tuple[str, ...]:
        """The caption that occurs most often in training: what a model that sees nothing could say."""
        counts: dict[tuple[str, ...], int] = {}
        for picture in self.train:
            for caption in self.data.captions[picture]:
                counts[caption] = counts.get(caption, 0) + 1
        return min(counts, key=lambda caption: (-counts[caption], caption))

    def sizes(self) -> dict[str, int]:
        """Pictures of each set that were not found to be unreadable so far."""
        parts = {"train": self.train, "val": self.validation, "test": self.test}
        return {name: self.seen.readable(part) for name, part in parts.items()}

    def _captions_of(self, pictures: Array) -> Array:
        return np.flatnonzero(np.isin(self.picture, pictures))

    def _batches(self, wanted: Sequence[Array]) -> Batches:
        return self.seen.batches((self.picture[captions], self._finish(captions)) for captions in wanted)

    def _finish(self, captions: Array) -> Finish:
        def finish(kept: Array, values: Array) -> tuple[Any, ...]:
            words = padded([self.numbers[caption] for caption in captions[kept]])
            return tf.constant(values.astype(np.float32)), tf.constant(words)

        return finish


def read(flags: CaptionFlags, seed: int, session: Session, backbone: Backbone | None) -> Sets:
    """Read captions, find and split their pictures, and with a backbone compute the features that are not in the cache.

    Raises DataError when they cannot be trained on, Interrupted when asked to stop.
    """
    check = session.interruption.check
    source = Source(session.workspace.data(flags.data), session.workspace.inputs)
    data = reading.read(source.path, flags.token_file, max_bad_ratio=flags.max_bad_ratio, check=check)
    train, validation, test = reading.split(
        data, validation_ratio=flags.validation_ratio, test_ratio=flags.test_ratio, seed=seed
    )
    state = [(data.digest, len(data)), *zip(data.paths, data.sizes, strict=True)]
    looked_at = flags if backbone is None else replace(flags, cache_images=False)  # once each, for its features
    pictures = images.read(data, looked_at, fingerprint=source.fingerprint(state), check=check)
    seen = pictures
    if backbone is not None:
        wanted = np.concatenate([train, validation, test])
        seen = features.of(backbone, pictures, wanted, session, exif_orientation=flags.exif_orientation)
    vocabulary = Vocabulary.of((c for picture in train for c in data.captions[picture]), flags.vocabulary)
    numbers = [vocabulary.numbers(caption, flags.longest) for of in data.captions for caption in of]
    picture = np.repeat(np.arange(len(data)), [len(of) for of in data.captions])
    sets = Sets(data, pictures, seen, vocabulary, numbers, picture, train, validation, test)
    parts = f"{len(train)} training, {len(validation)} validation, {len(test)} test pictures"
    say(f"{parts} with {len(numbers)} captions; the vocabulary has {len(vocabulary)} words")
    return sets


def identity(flags: CaptionFlags, sets: Sets) -> dict[str, Any]:
    """What of the data must be equal for a run to go on where another stopped."""
    return {
        "data": sets.seen.fingerprint,
        "image_size": flags.image_size,  # features of other sizes may have one shape
        "token_file": flags.token_file,
        "validation_ratio": flags.validation_ratio,
        "test_ratio": flags.test_ratio,
        "longest": flags.longest,
        "exif_orientation": flags.exif_orientation,
    }


def unvalidated(flags: CaptionFlags) -> str:
    """Why there may be no validation set."""
    return f"no picture is kept for validation (--validation-ratio={flags.validation_ratio}, and no list names any)"
