"""Rows of tables as training, validation and test set."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.data import order, split
from fovea_trainers.data.source import Source
from fovea_trainers.runtime import classification, regression
from fovea_trainers.runtime.export import Signature
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Batches, Dataset, Shard
from fovea_trainers.tables import reading
from fovea_trainers.tables.flags import REGRESSION, TableFlags
from fovea_trainers.tables.labels import Classes, Targets
from fovea_trainers.tables.reading import Table

Array = np.ndarray[Any, Any]
_SPLIT = "by file and row"
"""What a row's place in the sets follows from: a run that split its rows otherwise is not gone on with."""


@dataclass(frozen=True)
class Sets:
    """Numbers of the rows of each set; validation and test may be empty."""

    table: Table
    train: Array
    validation: Array
    test: Array
    fingerprint: str
    """Of the data: another value means other data."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the class numbers; empty where numbers are predicted."""
        return self.table.classes

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and deviation of the numbers that are to be predicted, of the training set."""
        labels = self.table.labels[self.train]
        return float(labels.mean(dtype=np.float64)), float(labels.std(dtype=np.float64))

    @property
    def signature(self) -> Sequence[tf.TensorSpec]:
        """Of a batch: the features, and class numbers int32 [n], or float32 [n] numbers that are to be predicted."""
        return [*self.table.rows.signature, tf.TensorSpec([None], tf.int32 if self.classes else tf.float32)]

    def steps(self, batch_size: int) -> int:
        """Batches of an epoch."""
        return -(-len(self.train) // batch_size)

    def training(self, batch_size: int, *, seed: int) -> Dataset:
        """Batches of the training set; their order follows from (seed, epoch) only."""

        def dataset(epoch: int, first: int, shard: Shard) -> Batches:
            size = len(self.train)
            for places in order.batches(size, batch_size, seed=seed, epoch=epoch, first=first, shard=shard):
                yield self._batch(self.train[places])

        return dataset

    def evaluated(self, batch_size: int) -> dict[str, Callable[[], Batches]]:
        """Batches of the sets beside the training set that hold rows, by the prefix of their metrics."""
        return {
            name: partial(self._in_order, part, batch_size)
            for name, part in (("val", self.validation), ("test", self.test))
            if len(part)
        }

    def sizes(self) -> dict[str, int]:
        """Rows of each set."""
        return {"train": len(self.train), "val": len(self.validation), "test": len(self.test)}

    def exported(self, model: keras.Model) -> dict[str, Signature]:
        """Features to the outputs of a classifier, or of a model of numbers.

        `model` gives logits [n, classes], or numbers [n, 1], for the tensors of a batch.
        """
        rows, classes = self.table.rows, self.classes

        def serve(*features: tf.Tensor) -> Mapping[str, tf.Tensor]:
            outputs = model(list(features), training=False)
            return classification.answer(outputs, classes) if classes else regression.answer(outputs[:, 0])

        row_wise = classification.OUTPUTS if classes else regression.OUTPUTS
        served = Signature(inputs=rows.signature, function=serve, example=rows.example, row_wise=row_wise)
        return {signatures.SERVING_DEFAULT: served}

    def _in_order(self, part: Array, batch_size: int) -> Batches:
        for chosen in order.cut(part, batch_size):
            yield self._batch(chosen)

    def _batch(self, chosen: Array) -> tuple[Any, ...]:
        return (*self.table.rows.take(chosen), tf.constant(self.table.labels[chosen]))


def read(flags: TableFlags, seed: int, session: Session, *, standardize: bool) -> Sets:
    """Read and split tables; raises DataError when they cannot be trained on."""
    source = Source(session.workspace.data(flags.data), session.workspace.inputs)
    files = reading.find(source.path, flags)
    say(f"reading {len(files.train)} training and {len(files.validation)} validation files ({files.format})")
    numbers = flags.task == REGRESSION
    table = reading.read(files, flags, Targets() if numbers else Classes(), standardize=standardize)
    own = np.arange(table.trained, len(table.labels))
    ratios = (0.0 if len(own) else flags.validation_ratio, flags.test_ratio)
    validation, test, train = split.divide(groups(table), draws(table, files.train, seed), ratios)
    sets = Sets(table, train, own if len(own) else validation, test, source.fingerprint(table.digests))
    counts = ", ".join(f"{count} {name}" for name, count in sets.sizes().items())
    classes = "" if numbers else f" of {len(sets.classes)} classes"
    say(f"{counts} rows{classes} with {table.rows.width} features")
    return sets


def draws(table: Table, files: Sequence[str], seed: int) -> Array:
    """uint64 [rows] of the training `files`: by the name of a row's file and the number of its line or record there."""
    ends = [0, *table.ends[: len(files)].tolist()]
    mine = [table.numbers[start:end] for start, end in itertools.pairwise(ends)]
    drawn = [
        split.draws_within(seed, name, int(numbers.max(initial=0)) + 1)[numbers]
        for name, numbers in zip(files, mine, strict=True)
    ]
    return np.concatenate([np.zeros(0, np.uint64), *drawn])


def groups(table: Table) -> list[Array]:
    """The training rows of each class, or all in one group where numbers are predicted: each is split by the same shares."""
    rows = np.arange(table.trained)
    return [np.flatnonzero(table.labels[: table.trained] == label) for label in range(len(table.classes))] or [rows]


def identity(flags: TableFlags, sets: Sets) -> dict[str, Any]:
    """What of the tables must be equal for a run to go on where another stopped."""
    return {
        "data": sets.fingerprint,
        "split": _SPLIT,
        "train_files": flags.train_files,
        "validation_files": flags.validation_files,
        "validation_ratio": flags.validation_ratio,
        "test_ratio": flags.test_ratio,
        "heading": flags.heading,
        "label_column": flags.label_column,
    }


def unvalidated(flags: TableFlags) -> str:
    """Why there may be no validation set."""
    return (
        "no row is kept for validation "
        f"(--validation-ratio={flags.validation_ratio} of each class, rounded, and one is left for training)"
    )
