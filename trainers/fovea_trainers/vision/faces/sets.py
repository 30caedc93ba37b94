"""Pictures of people as batches: of training people to learn from, of pairs of other people to verify."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data import order
from fovea_trainers.data.examples import Examples, Finish
from fovea_trainers.data.source import Source
from fovea_trainers.errors import DataError, FlagError
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Batches, Dataset, Shard
from fovea_trainers.vision import augmentation, images
from fovea_trainers.vision.augmentation import Augmentation
from fovea_trainers.vision.faces import landmarks, pairs, people
from fovea_trainers.vision.faces.flags import FaceFlags
from fovea_trainers.vision.faces.people import People
from fovea_trainers.vision.image_folders import some

Array = np.ndarray[Any, Any]
BATCH = (tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([None], tf.int32))
"""Images in 0..255, and whose they are. Of pairs, the rows 2i and 2i + 1 are compared."""


@dataclass(frozen=True)
class Sets:
    """Whom a network learns from, and which pairs it is measured on."""

    images: Examples
    people: People
    learners: tuple[str, ...]
    """The people of the training set, in the order of their numbers in batches."""
    train: list[Array]
    """Numbers of the pictures of each of them."""
    pairs: Mapping[str, Array]
    """Pairs of pictures [m, 2] of the people of the validation (`val`) and the test set (`test`); empty ones left out."""

    def plain(self, batch_size: int, distortion: Augmentation | None, *, seed: int) -> tuple[Dataset, int]:
        """Batches of training pictures in any order, and their number."""
        numbers = np.concatenate([np.zeros(0, np.int64), *self.train])

        def dataset(epoch: int, first: int, shard: Shard) -> Batches:
            places = order.batches(len(numbers), batch_size, seed=seed, epoch=epoch, first=first, shard=shard)
            return self._learnt((numbers[place] for place in places), self._maps(distortion, seed, epoch))

        return dataset, -(-len(numbers) // batch_size)

    def grouped(self, batch_size: int, size: int, distortion: Augmentation | None, *, seed: int) -> tuple[Dataset, int]:
        """Batches of as many people as fit, with up to `size` pictures each, and the number of batches."""
        together = batch_size // size
        if together < 2:
            raise FlagError(
                f"--batch-size={batch_size} holds fewer than two people with --pictures-per-person={size} pictures: raise "
                "the one, or lower the other"
            )
        count = sum(-(-len(own) // size) for own in self.train)

        def dataset(epoch: int, first: int, shard: Shard) -> Batches:
            groups = people.grouped(self.train, size, seed=seed, epoch=epoch)
            batches = [np.concatenate(groups[start : start + together]) for start in range(0, count, together)]
            return self._learnt(order.divided(batches, first, shard), self._maps(distortion, seed, epoch))

        return dataset, -(-count // together)

    def compared(self, batch_size: int) -> dict[str, Callable[[], Batches]]:
        """Batches of pairs, by the prefix of their metrics; a pair is left out where one picture cannot be read."""
        return {name: partial(self.of_pairs, chosen, batch_size) for name, chosen in self.pairs.items()}

    def of_pairs(self, chosen: Array, batch_size: int) -> Batches:
        """Batches of these pairs [m, 2], with up to `batch_size` pictures each."""
        batches = (cut.reshape(-1) for cut in order.cut(chosen, max(batch_size // 2, 1)))
        return self.images.batches(
            (numbers, self._finish(self.people.labels[numbers], paired=True)) for numbers in batches
        )

    def sizes(self) -> dict[str, Any]:
        """For evaluation.json."""
        learnt = np.concatenate([np.zeros(0, np.int64), *self.train])
        return {
            "people": len(self.people.names),
            "images": len(self.people),
            "unreadable": len(self.images.unreadable),
            "training": {"people": len(self.learners), "images": self.images.readable(learnt)},
        }

    def _learnt(self, batches: Iterable[Array], maps: Array | None) -> Batches:
        whose = np.zeros(len(self.people), np.int32)
        for label, own in enumerate(self.train):
            whose[own] = label
        return self.images.batches(
            (numbers, self._finish(whose[numbers], None if maps is None else maps[numbers])) for numbers in batches
        )

    def _maps(self, distortion: Augmentation | None, seed: int, epoch: int) -> Array | None:
        if distortion is None:
            return None
        return augmentation.transforms(distortion, len(self.people), self.images.shapes[0][0], seed=seed, epoch=epoch)

    def _finish(self, whose: Array, maps: Array | None = None, *, paired: bool = False) -> Finish:
        def finish(kept: Array, pixels: Array) -> tuple[Any, ...]:
            whole = np.repeat(kept.reshape(-1, 2).all(axis=1), 2) if paired else kept
            pictures = tf.cast(tf.constant(pixels[whole[kept]]), tf.float32)
            if maps is not None and len(pixels):
                pictures = augmentation.apply(pictures, tf.constant(maps[whole]))
            return pictures, tf.constant(whose[whole])

        return finish


def read(flags: FaceFlags, seed: int, session: Session, *, learning: bool, threshold: bool) -> Sets:
    """Scan a folder, split its people, make or read pairs, decode pictures if they fit into memory.

    Without `learning` nobody is in the training set; with a `threshold` nobody needs to be in the validation set. Raises
    DataError for data that cannot be used so.
    """
    check = session.interruption.check
    source = Source(session.workspace.data(flags.data), session.workspace.inputs)
    found = people.scan(source.path, say, check)
    state = list(zip(found.paths, found.sizes, strict=True))
    found, eyes = _with_eyes(flags, found)
    pictures = found.pictures()
    tested = pairs.read(found.root / flags.pairs, found.numbers()) if flags.pairs else None
    # What these files say, not their size alone: other eyes make other pictures.
    state += [(said.tobytes(), len(said)) for said in (eyes, tested) if said is not None]
    fingerprint = source.fingerprint(state)
    parts = _parts(flags, found, tested, seed, learning=learning)
    made = {
        name: pairs.generated([pictures[i] for i in part], each=flags.pairs_per_person, seed=seed, check=check)
        for name, part in (("val", parts[1]), ("test", parts[2]))
        if len(part)
    }
    compared = made if tested is None else {**made, "test": tested}
    if not compared or not (threshold or "val" in compared):
        raise DataError(
            "nobody is kept for validation, and a threshold is chosen on validation pairs: raise --validation-ratio (now "
            f"{flags.validation_ratio}), or give --threshold and a --test-ratio above 0"
        )
    for name, chosen in compared.items():
        _require_both(found, name, chosen)
    decoded = None if eyes is None else _aligned(flags, eyes)
    read_pictures = images.read(found, flags, fingerprint=fingerprint, check=check, decoded=decoded)
    sets = Sets(
        read_pictures, found, tuple(found.names[i] for i in parts[0]), [pictures[i] for i in parts[0]], compared
    )
    measured = ", ".join(f"{len(chosen)} {name} pairs" for name, chosen in compared.items())
    say(f"{len(found)} pictures of {len(found.names)} people: {len(parts[0])} to learn from; {measured or 'no pairs'}")
    return sets


def identity(flags: FaceFlags, sets: Sets) -> dict[str, Any]:
    """What of the data must be equal for a run to go on where another stopped."""
    return {
        "data": sets.images.fingerprint,
        "validation_ratio": flags.validation_ratio,
        "test_ratio": flags.test_ratio,
        "pairs": flags.pairs,
        "pairs_per_person": flags.pairs_per_person,
        "landmarks": flags.landmarks,
        "exif_orientation": flags.exif_orientation,
    }


def _with_eyes(flags: FaceFlags, found: People) -> tuple[People, Array | None]:
    """The people who have pictures with known eyes, and these eyes; everybody where no file is given."""
    if not flags.landmarks:
        return found, None
    names = {found.name(number): number for number in range(len(found))}
    eyes, known = landmarks.read(found.root / flags.landmarks, names, len(found))
    if missing := [found.name(int(number)) for number in np.flatnonzero(~known)]:
        say(f"{len(missing)} pictures have no line in {flags.landmarks} and are left out: {some(missing)}")
    kept = found.only(known)
    if len(kept.names) < 2:
        raise DataError(
            f"--landmarks: {flags.landmarks} has pictures of {len(kept.names)} people: at least 2 are needed"
        )
    return kept, eyes[known]


def _aligned(flags: FaceFlags, eyes: Array) -> Callable[[tf.Tensor, int], tf.Tensor]:
    decoded = landmarks.decoder(flags.image_size, exif_orientation=flags.exif_orientation)
    return lambda file, number: decoded(file, tf.constant(eyes[number]))


def _parts(
    flags: FaceFlags, found: People, tested: Array | None, seed: int, *, learning: bool
) -> tuple[Array, Array, Array]:
    """The people of training, validation and test set. Raises DataError for a training set of fewer than two."""
    named = np.unique(found.labels[tested]) if tested is not None else np.zeros(0, np.int64)
    among = np.setdiff1d(np.arange(len(found.names)), named)
    test = 0.0 if tested is not None else flags.test_ratio
    parts = people.split(found, among, (flags.validation_ratio if learning else 1 - test, test), seed)
    if learning and len(parts[0]) < 2:
        raise DataError(
            f"{len(parts[0])} of {len(found.names)} people in {found.root} are left to learn from, and at least 2 are needed: "
            "lower --validation-ratio and --test-ratio, or add people"
        )
    return parts if tested is None else (parts[0], parts[1], named)


def _require_both(found: People, name: str, chosen: Array) -> None:
    """Raises DataError for a set whose pairs are all of one person, or all of two."""
    same = found.labels[chosen[:, 0]] == found.labels[chosen[:, 1]]
    if not same.any() or same.all():
        flag = {"val": "--validation-ratio", "test": "--test-ratio (or --pairs)"}[name]
        missing = "has two pictures" if not same.any() else "can be compared with another one"
        raise DataError(
            f"no person of the {name} set {missing}, and pairs of one person and of two are needed: add people with several "
            f"pictures to {found.root}, or change {flag}"
        )
