"""TFRecord files of Examples, also compressed ones, into a store: `label`, and `features`, or `ids` and `values`.

Records are parsed a thousand at a time: no Python object for each number. One that cannot be read is left out, named and
counted.
"""

import hashlib
import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract.table_lines import LARGEST, LARGEST_INDEX, BadLine, label_of

from fovea_trainers.data import shards
from fovea_trainers.data.left_out import LeftOut
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.reasons import reason
from fovea_trainers.tables.flags import TableFlags
from fovea_trainers.tables.labels import Labels
from fovea_trainers.tables.rows import FEATURES, IDS, VALUES
from fovea_trainers.tables.stores import DenseStore, SparseStore, Store

Array = np.ndarray[Any, Any]
LABEL = "label"
REFUSED = (tf.errors.InvalidArgumentError, UnicodeDecodeError)
"""What `parse_example` raises; its message quotes a record that is none, which Python then fails to read as text."""
_TOGETHER = 1024
_BLOCK = 2**20
_KINDS = {"int64_list": tf.int64, "float_list": tf.float32, "bytes_list": tf.string}


class RecordFiles:
    """Reads TFRecord files; `numbers` has the number of each row's record, from 1 on. The first record tells the layout."""

    columns: tuple[str, ...] = ()

    def __init__(
        self, root: Path, flags: TableFlags, labels: Labels, left_out: LeftOut, features: int | None = None
    ) -> None:
        """`features` is the number of features of a model that is to be asked: labels may then be missing."""
        self.numbers = array("q")
        self._root, self._flags, self._labels, self._left_out = root, flags, labels, left_out
        self._features = features
        self._layout: _Layout | None = None

    @property
    def store(self) -> Store:
        """The rows so far."""
        return DenseStore(0) if self._layout is None else self._layout.store

    def read(self, name: str) -> bytes:
        """Take in a file; its digest. Raises DataError for one that is damaged or no table."""
        number = 1
        path = self._root / name
        packed = shards.compression(path)  # what keeps it from being opened is said by the system, not by TensorFlow
        try:
            for batch in tf.data.TFRecordDataset(str(path), packed).batch(_TOGETHER).as_numpy_iterator():
                self._take(batch, name, number)
                number += len(batch)
        except tf.errors.DataLossError as error:
            raise DataError(
                f"damaged, or no TFRecord file, after record {number - 1} ({reason(error)}): write or fetch it again"
            ) from error
        return _digest(path, name)

    def _take(self, batch: Array, name: str, first: int) -> None:
        """Take in serialized Examples, of which the first has number `first`."""
        if self._layout is None:
            self._layout = _Layout.of(batch, self._flags, self._features)
        try:
            parsed = tf.io.parse_example(tf.constant(batch), self._layout.spec)
        except REFUSED as error:
            if len(batch) == 1:
                self._left_out.note(f"{name} record {first} ({_plain(error)})")
                return
            for place in range(len(batch)):
                self._take(batch[place : place + 1], name, first + place)
            return
        columns = {key: (value.values.numpy(), value.row_splits.numpy()) for key, value in parsed.items()}
        wrong = self._layout.wrong(columns, len(batch))
        labels, starts = columns.get(LABEL, (np.zeros(0), np.zeros(len(batch) + 1, np.int64)))
        kept = np.zeros(len(batch), bool)
        for place in range(len(batch)):
            try:
                if place not in wrong:
                    given = labels[starts[place] : starts[place + 1]]
                    self._labels.add(label_of(given[0]) if len(given) else "")
                    self.numbers.append(first + place)
                    kept[place] = True
                    continue
                problem = wrong[place]
            except BadLine as error:
                problem = str(error)
            self._left_out.note(f"{name} record {first + place} ({problem})")
        self._layout.add(columns, kept)


@dataclass(frozen=True)
class _Layout:
    """What each Example must have."""

    spec: dict[str, Any]
    """For parse_example: each feature as a ragged column."""
    store: DenseStore | SparseStore
    label_optional: bool

    @classmethod
    def of(cls, batch: Iterable[bytes], flags: TableFlags, features: int | None) -> "_Layout":
        """By the first Example of a batch that is one; raises DataError when it is none of a table."""
        found: dict[str, Any] = {}
        for record in batch:
            try:
                found = dict(tf.train.Example.FromString(record).features.feature)
            except ValueError:  # DecodeError
                continue
            if found:
                break
        kinds = {key: _KINDS.get(feature.WhichOneof("kind")) for key, feature in found.items()}
        dense = kinds.get(FEATURES) in (tf.int64, tf.float32)
        sparse = kinds.get(IDS) is tf.int64 and kinds.get(VALUES) in (tf.int64, tf.float32)
        labelled, optional = kinds.get(LABEL) is not None, features is not None
        if not (labelled or optional) or dense == sparse:
            has = ", ".join(f"{key} ({kind.name if kind else 'empty'})" for key, kind in sorted(kinds.items()))
            raise DataError(
                f"the first record has {has or 'no features of an Example'}: a table has label and features (numbers), or "
                "label, ids (int64) and values (numbers)"
            )
        wanted = [*([LABEL] if labelled else []), *([FEATURES] if dense else [IDS, VALUES])]
        spec = {key: tf.io.RaggedFeature(kinds[key], row_splits_dtype=tf.int64) for key in wanted}
        if not dense:
            return cls(spec, SparseStore(flags.feature_size), optional)
        values = getattr(found[FEATURES], found[FEATURES].WhichOneof("kind")).value
        return cls(spec, DenseStore(features or len(values)), optional)

    def wrong(self, columns: dict[str, tuple[Array, Array]], rows: int) -> dict[int, str]:
        """What is wrong with which rows of a batch."""
        found: dict[int, str] = {}

        def note(places: Array, text: str) -> None:
            for place in np.unique(places):
                found.setdefault(int(place), text)

        lengths = {key: np.diff(splits) for key, (_, splits) in columns.items()}
        if LABEL in columns:
            least = 0 if self.label_optional else 1
            given = lengths[LABEL]
            note(np.flatnonzero((given < least) | (given > 1)), "it has not one label")
        key = FEATURES if isinstance(self.store, DenseStore) else VALUES
        values, splits = columns[key]
        unusable = np.flatnonzero(~(np.abs(values.astype(np.float64)) <= LARGEST))
        note(np.searchsorted(splits, unusable, "right") - 1, f"{key} are not all numbers of 32 bits")
        if isinstance(self.store, DenseStore):
            note(np.flatnonzero(lengths[key] != self.store.width), f"it has not {self.store.width} features")
            return found
        ids, starts = columns[IDS]
        note(np.flatnonzero(lengths[IDS] != lengths[VALUES]), "it has not as many ids as values")
        outside = np.flatnonzero((ids < 0) | (ids > LARGEST_INDEX))
        note(np.searchsorted(starts, outside, "right") - 1, f"ids are not all from 0 to {LARGEST_INDEX}")
        owners = np.repeat(np.arange(rows), lengths[IDS])
        order = np.lexsort((ids, owners))
        twice = (np.diff(ids[order]) == 0) & (np.diff(owners[order]) == 0)
        note(owners[order][1:][twice], "an id is there twice")
        return found

    def add(self, columns: dict[str, tuple[Array, Array]], kept: Array) -> None:
        """Take in the features of the rows that are kept."""
        if isinstance(self.store, DenseStore):
            values, splits = columns[FEATURES]
            self.store.values.frombytes(values[np.repeat(kept, np.diff(splits))].astype(np.float32).tobytes())
            return
        (ids, splits), (values, starts) = columns[IDS], columns[VALUES]
        lengths = np.diff(splits)
        before = len(self.store.ids)
        self.store.ids.frombytes(ids[np.repeat(kept, lengths)].astype(np.int32).tobytes())
        self.store.values.frombytes(values[np.repeat(kept, np.diff(starts))].astype(np.float32).tobytes())
        self.store.ends.frombytes((before + np.cumsum(lengths[kept])).astype(np.int64).tobytes())


def _plain(error: Exception) -> str:
    text = reason(error) if isinstance(error, tf.errors.OpError) else ""
    return text.partition(" (")[0].strip(". ") or "it is no Example"


def _digest(path: Path, name: str) -> bytes:
    digest = hashlib.sha256(os.fsencode(name) + b"\0")
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()
