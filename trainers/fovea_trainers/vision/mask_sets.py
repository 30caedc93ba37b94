"""Pictures with a class for every pixel as training, validation and test set."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract.mask_names import TEST, TRAIN, VALIDATION

from fovea_trainers.data import order
from fovea_trainers.data.examples import Examples, Fields, Finish, Unreadable, one_by_one
from fovea_trainers.data.source import Source
from fovea_trainers.errors import DataError, FlagError
from fovea_trainers.runtime.graph import traced
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.reasons import reason
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Batches, Dataset, Shard
from fovea_trainers.vision import image_shards, images, letterbox, mask_folders, mask_shards, masks, placing
from fovea_trainers.vision.flags import NUMBERS, MaskFlags
from fovea_trainers.vision.mask_folders import Pairs
from fovea_trainers.vision.masks import Rule
from fovea_trainers.vision.placing import Placing

Array = np.ndarray[Any, Any]
_SPLIT = "by name"
"""What a picture's place in the sets follows from: a run that split its pictures otherwise is not gone on with."""


@dataclass(frozen=True)
class Sets:
    """Framed pictures uint8 [size, size, 3] and their classes uint8 [size, size]; validation and test may be empty."""

    pairs: Pairs
    frames: Examples
    classes: tuple[str, ...]
    """Names in the order of the class numbers."""
    parts: Mapping[str, Array]
    """Numbers of the pictures of each set."""

    def steps(self, batch_size: int) -> int:
        """Batches of an epoch."""
        return -(-len(self.parts[TRAIN]) // batch_size)

    def training(self, batch_size: int, *, seed: int, distortion: Placing | None) -> Dataset:
        """Batches of the training set; order and distortion follow from (seed, epoch, picture) only."""
        train = self.parts[TRAIN]

        def dataset(epoch: int, first: int, shard: Shard) -> Batches:
            places = order.batches(len(train), batch_size, seed=seed, epoch=epoch, first=first, shard=shard)
            if distortion is None:
                return self.frames.batches((train[place], _as_background) for place in places)
            draws = placing.draws(len(train), seed=seed, epoch=epoch)
            return self.frames.batches((train[place], _distorted(distortion, draws[place])) for place in places)

        return dataset

    def evaluated(self, batch_size: int) -> dict[str, Callable[[], Batches]]:
        """Batches of the sets beside the training set that hold pictures, by the prefix of their metrics."""
        return {name: partial(self._in_order, name, batch_size) for name in self.evaluated_parts()}

    def evaluated_parts(self) -> list[str]:
        """Names of these sets."""
        return [name for name in (VALIDATION, TEST) if len(self.parts[name])]

    def readable(self) -> dict[str, int]:
        """How many pictures of each set were not found to be unreadable so far."""
        return {name: self.frames.readable(part) for name, part in self.parts.items()}

    def pixels(self, batch_size: int, check: Callable[[], None]) -> Iterator[Array]:
        """int64 [classes]: how many pixels of each class the training pictures of a batch have, without margins."""

        def finish(_kept: Array, _images: Array, classes: Array) -> tuple[Array]:
            counts = np.bincount(classes.ravel(), minlength=256)
            return (counts[: len(self.classes)],)

        for (counts,) in self.frames.batches((part, finish) for part in order.cut(self.parts[TRAIN], batch_size)):
            check()
            yield counts

    def shown(self, name: str, most: int) -> Iterator[tuple[str, Array, Array]]:
        """Name, frame and classes (with VOID and MARGIN) of the first readable pictures of a set."""
        found = 0
        for number in self.parts[name]:
            if found == most:
                return
            if (frame := self._frame(int(number))) is not None:
                found += 1
                pixels, classes = frame
                yield self.pairs.name(int(number)), pixels, classes

    def _frame(self, number: int) -> Fields | None:
        if self.frames.held is not None and number not in self.frames.unreadable:
            return tuple(field[number] for field in self.frames.held)
        return self.frames.read(number)[0]

    def _in_order(self, name: str, batch_size: int) -> Batches:
        return self.frames.batches((numbers, _as_void) for numbers in order.cut(self.parts[name], batch_size))


def read(flags: MaskFlags, seed: int, session: Session) -> Sets:
    """Scan and split a folder, and decode it if it fits; raises DataError when it cannot be trained on."""
    check = session.interruption.check
    source = Source(session.workspace.data(flags.data), session.workspace.inputs)
    found = image_shards.names(source.path, check) if source.path.is_dir() else []
    pairs = mask_shards.scan(source.path, found, check) if found else mask_folders.scan(source.path, check)
    shape = (flags.image_size, flags.image_size)
    lazy = Examples(
        pairs,
        one_by_one(_loader(pairs, rule(flags), flags)),
        ((*shape, 3), shape),
        flags.max_unreadable,
        say,
        source.fingerprint(pairs.contents()),
    )
    frames = lazy.kept(flags.cache_mib * 2**20 if flags.cache_images else 0, check)
    parts = mask_folders.split(pairs, validation_ratio=flags.validation_ratio, test_ratio=flags.test_ratio, seed=seed)
    sets = Sets(pairs, frames, class_names(flags), parts)
    say(", ".join(f"{len(part)} {name}" for name, part in parts.items()) + f" pictures of {flags.classes} classes")
    _require_two_classes(sets, check)
    return sets


def rule(flags: MaskFlags) -> Rule:
    """What the pixels of label pictures mean. Raises FlagError."""
    numbered = flags.label_values == NUMBERS
    if not numbered and flags.classes != 2:
        raise FlagError(
            f"--classes={flags.classes}: labels that are dark or light have 2 classes; give --label-values={NUMBERS} for "
            "label pictures that hold the numbers of the classes"
        )
    return Rule(flags.classes, numbered, flags.void_number)


def class_names(flags: MaskFlags) -> tuple[str, ...]:
    """In the order of the class numbers. Raises FlagError."""
    if not flags.class_names:
        return ("background", "object") if flags.classes == 2 else tuple(f"class-{n}" for n in range(flags.classes))
    names = tuple(name.strip() for name in flags.class_names.split(","))
    if len(names) != flags.classes or len(set(names)) != len(names) or not all(names):
        raise FlagError(
            f'--class-names="{flags.class_names}" must be {flags.classes} different names, separated by commas: as many '
            "as --classes"
        )
    return names


def balanced(sets: Sets, batch_size: int, check: Callable[[], None]) -> list[float]:
    """A weight for each class: pixels / (classes · pixels of the class), of the training set; 0 for one without pixels."""
    counts = sum(sets.pixels(batch_size, check), np.zeros(len(sets.classes), np.int64))
    weights = counts.sum() / (len(sets.classes) * np.maximum(counts, 1))
    return [float(weight) if count else 0.0 for weight, count in zip(weights, counts, strict=True)]


def identity(flags: MaskFlags, sets: Sets) -> dict[str, Any]:
    """What of the pictures must be equal for a run to go on where another stopped."""
    return {
        "data": sets.frames.fingerprint,
        "split": _SPLIT,
        "image_size": flags.image_size,
        "label_values": flags.label_values,
        "void_number": flags.void_number,
        "validation_ratio": flags.validation_ratio,
        "test_ratio": flags.test_ratio,
        "exif_orientation": flags.exif_orientation,
    }


def unvalidated(flags: MaskFlags) -> str:
    """Why there may be no validation set."""
    return (
        "no picture is kept for validation: there is no val.txt, and --validation-ratio is "
        f"{flags.validation_ratio} (rounded, and one picture is left for training)"
    )


def _loader(pairs: Pairs, labels: Rule, flags: MaskFlags) -> Callable[[int], Fields]:
    @traced(images.FILE)
    def decoded(file: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            return images.decode(file, exif_orientation=flags.exif_orientation)

    @traced(tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([None, None], tf.uint8))
    def framed(picture: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.device("/CPU:0"):
            frame = tf.cast(letterbox.fit(picture, flags.image_size), tf.uint8)
            return frame, letterbox.fit_classes(classes, flags.image_size, margin=masks.MARGIN)

    def load(number: int) -> Fields:
        try:
            picture = decoded(tf.constant(images.content(pairs, number)))
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            raise Unreadable(reason(error)) from error
        name = pairs.labels.name(number)
        try:
            classes = labels.read(images.content(pairs.labels, number))
        except Unreadable as error:
            raise Unreadable(f"its label {name}: {error}") from error
        (height, width), seen = classes.shape, tuple(int(side) for side in picture.shape[:2])
        if (height, width) != seen:
            turned = ", which its EXIF turns (--no-exif-orientation)" if (width, height) == seen else ""
            raise Unreadable(f"its label {name} has {width}×{height} pixels, the picture {seen[1]}×{seen[0]}{turned}")
        return tuple(each.numpy() for each in framed(picture, tf.constant(classes)))

    return load


def _as_background(_kept: Array, frames: Array, classes: Array) -> tuple[Any, ...]:
    """A training batch: what is around a picture is class 0, which the network learns of its grey."""
    return tf.cast(tf.constant(frames), tf.float32), tf.constant(np.where(classes == masks.MARGIN, 0, classes))


def _as_void(_kept: Array, frames: Array, classes: Array) -> tuple[Any, ...]:
    """A batch to evaluate: what is around a picture counts nothing."""
    counted = np.where(classes == masks.MARGIN, np.uint8(masks.VOID), classes)
    return tf.cast(tf.constant(frames), tf.float32), tf.constant(counted)


def _distorted(distortion: Placing, draws: Array) -> Finish:
    def finish(kept: Array, frames: Array, classes: Array) -> tuple[Any, ...]:
        if not len(frames):
            return _as_background(kept, frames, classes)
        pictures, labels = distortion(frames, classes, draws[kept])
        return pictures, tf.where(labels == masks.MARGIN, tf.constant(0, tf.uint8), labels)

    return finish


def _require_two_classes(sets: Sets, check: Callable[[], None]) -> None:
    """Raises DataError where all pixels of the training set are of one class: as many pictures as it takes are read."""
    counts = np.zeros(len(sets.classes), np.int64)
    for more in sets.pixels(1, check):
        counts += more
        if np.count_nonzero(counts) > 1:
            return
    found = [name for name, count in zip(sets.classes, counts, strict=True) if count]
    what = f"has the single class {found[0]}" if found else "has no pixel that counts"
    raise DataError(
        f"every label picture of the training set in {sets.pairs.root} {what}, {sets.pairs.labels.name(sets.parts[TRAIN][0])} "
        f"among them: check what the labels hold, and --label-values"
    )
