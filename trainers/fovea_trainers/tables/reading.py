"""Files of tables into memory. A row that cannot be read is left out, named and counted."""

import os
from array import array
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from fovea_api.contract import shards
from fovea_api.contract.table_lines import BadTable

from fovea_trainers.data.files import walk
from fovea_trainers.data.left_out import LeftOut
from fovea_trainers.errors import DataError
from fovea_trainers.tables.flags import AUTO, CSV, LIBSVM, TFRECORD, TableFlags
from fovea_trainers.tables.labels import Labels, flat, some
from fovea_trainers.tables.record_files import RecordFiles
from fovea_trainers.tables.rows import Rows
from fovea_trainers.tables.stores import Store
from fovea_trainers.tables.text_files import Asked, Csv, Libsvm, TextFiles

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Files:
    """Names below `root`, in the order in which they are read."""

    root: Path
    train: list[str]
    validation: list[str]
    format: str


@dataclass(frozen=True)
class Table:
    """What was read: first the rows of the training files."""

    rows: Rows
    labels: Array
    """[rows]: class numbers, int32, or the numbers to be predicted, float32."""
    classes: tuple[str, ...]
    """Names in the order of their numbers; empty where numbers are predicted."""
    trained: int
    """How many rows are of training files."""
    columns: tuple[str, ...]
    """Names of the features of a CSV file; else empty."""
    bad: int
    """Rows that were left out."""
    digests: list[tuple[bytes, int]]
    """Of each file: a hash of its name and content, and its size in bytes."""
    numbers: Array
    """int64 [rows]: of the line or record in its file, from 1 on."""
    ends: Array
    """int64 [files]: how many rows there are up to the end of each file."""


def find(root: Path, flags: TableFlags) -> Files:
    """The files that the flags name; raises DataError when there are none to train on, or of several formats."""
    if root.is_file():
        names, base = [root.name], root.parent
    elif root.is_dir():
        found = walk(root, "", lambda _path: True, lambda: None)
        names, base = sorted(os.fsdecode(path) for path in found.paths), root
    else:
        raise DataError(f"data {root} does not exist; give --data=DIR, or a file")
    names = [name for name in names if not shards.is_beside(name)]
    validation = [name for name in names if flags.validation_files and fnmatchcase(name, flags.validation_files)]
    wanted = [name for name in names if fnmatchcase(name, flags.train_files or "*")]
    train = [name for name in wanted if name not in validation]
    for flag, pattern, matching in (
        ("--train-files", flags.train_files, train),
        ("--validation-files", flags.validation_files, validation),
    ):
        if pattern and not matching:
            raise DataError(f"data {root}: no file matches {flag}={pattern}; there is {some(names)}")
    if not train:
        raise DataError(f"data {root} holds no file to train on; there is {some(names)}")
    kinds = {_format(name) for name in train + validation}
    if flags.format == AUTO and len(kinds) > 1:
        raise DataError(
            f"data {root} holds files of several formats, by their names ({some(train + validation)}): choose by "
            "--train-files and --validation-files, or say what all of them are by --format"
        )
    return Files(base, train, validation, kinds.pop() if flags.format == AUTO else flags.format)


def read(files: Files, flags: TableFlags, labels: Labels, *, standardize: bool, asked: Asked | None = None) -> Table:
    """All rows; raises DataError for more bad ones than allowed, and for labels that cannot be trained on.

    `asked` is what a model takes that is to be asked: then a row may lack its label.
    """
    left_out = LeftOut(files.root, "records" if files.format == TFRECORD else "lines")
    reader = _reader(files, flags, labels, left_out, asked)
    digests: list[tuple[bytes, int]] = []
    ends: list[int] = []

    def take(names: list[str]) -> None:
        for name in names:
            digests.append(_taken(reader, files.root, name))
            ends.append(len(labels))

    take(files.train)
    trained = len(labels)
    if trained or not left_out.bad:  # else the files are no table, which is said below
        reader.store.settle()
        take(files.validation)
    left_out.require_few(flags.max_bad_ratio, len(labels), "choose other files by --train-files")
    classes, values = labels.settled(trained, files.root)
    rows, numbers = reader.store.rows(standardize=standardize), flat(reader.numbers, np.int64)
    return Table(
        rows, values, classes, trained, reader.columns, left_out.bad, digests, numbers, np.array(ends, np.int64)
    )


class _Reader(Protocol):
    """Takes files in."""

    numbers: "array[int]"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, where they have some."""

    @property
    def store(self) -> Store:
        """The features so far."""

    def read(self, name: str) -> bytes:
        """Take in a file; its digest. Raises DataError."""


def _reader(files: Files, flags: TableFlags, labels: Labels, left_out: LeftOut, asked: Asked | None) -> _Reader:
    if files.format == TFRECORD:
        return RecordFiles(files.root, flags, labels, left_out, None if asked is None else asked.features)
    lines = Csv(flags, labels, asked) if files.format == CSV else Libsvm(flags, labels)
    return TextFiles(files.root, lines, left_out)


def _taken(reader: _Reader, root: Path, name: str) -> tuple[bytes, int]:
    """The digest and size of a file that was read."""
    path = root / name
    try:
        return reader.read(name), path.stat().st_size
    except (DataError, BadTable) as error:
        raise DataError(f"{path}: {error}") from error
    except PermissionError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}): make it readable (chmod a+r)") from error


def _format(name: str) -> str:
    if shards.is_tfrecord(name):
        return TFRECORD
    return CSV if name.lower().endswith(".csv") else LIBSVM
