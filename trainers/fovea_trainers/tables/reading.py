"""Files of tables into memory. A line that cannot be read is left out, named and counted."""

import hashlib
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fovea_trainers.data.files import walk
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.progress import say
from fovea_trainers.tables.flags import AUTO, CSV, LIBSVM, TableFlags
from fovea_trainers.tables.lines import BadLine, Columns, cells, csv_row, is_heading, libsvm_row
from fovea_trainers.tables.rows import Dense, Rows, Sparse

Array = np.ndarray[Any, Any]
NAMED = 5
"""Bad lines that are named in the log one by one."""


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
    """int32 [rows]: class numbers."""
    classes: tuple[str, ...]
    trained: int
    """How many rows are of training files."""
    columns: tuple[str, ...]
    """Names of the features of a CSV file; empty for libsvm."""
    bad: int
    """Lines that were left out."""
    digests: list[tuple[bytes, int]]
    """Of each file: a hash of its name and content, and its size in bytes."""


def find(root: Path, flags: TableFlags) -> Files:
    """The files that the flags name; raises DataError when there are none to train on, or of both formats."""
    if root.is_file():
        names, base = [root.name], root.parent
    elif root.is_dir():
        found = walk(root, "", lambda _path: True, lambda: None)
        names, base = sorted(os.fsdecode(path) for path in found.paths), root
    else:
        raise DataError(f"data {root} does not exist; give --data=DIR, or a file")
    validation = [name for name in names if flags.validation_files and fnmatchcase(name, flags.validation_files)]
    wanted = [name for name in names if fnmatchcase(name, flags.train_files or "*")]
    train = [name for name in wanted if name not in validation]
    for flag, pattern, matching in (
        ("--train-files", flags.train_files, train),
        ("--validation-files", flags.validation_files, validation),
    ):
        if pattern and not matching:
            raise DataError(f"data {root}: no file matches {flag}={pattern}; there is {_some(names)}")
    if not train:
        raise DataError(f"data {root} holds no file to train on; there is {_some(names)}")
    kinds = {CSV if name.lower().endswith(".csv") else LIBSVM for name in train + validation}
    if flags.format == AUTO and len(kinds) > 1:
        raise DataError(
            f"data {root} holds files whose names end in .csv and others ({_some(train + validation)}): choose by "
            "--train-files and --validation-files, or say what all of them are by --format"
        )
    return Files(base, train, validation, kinds.pop() if flags.format == AUTO else flags.format)


def read(files: Files, flags: TableFlags, *, standardize: bool) -> Table:
    """All rows; raises DataError for more bad lines than allowed, and for tables without two classes."""
    reader: _Reader = _Csv(flags) if files.format == CSV else _Libsvm(flags)
    lines = _Lines(files.root, reader)
    digests = [lines.of(name) for name in files.train]
    trained = len(reader.labels)
    reader.settle()
    digests += [lines.of(name) for name in files.validation]
    lines.require_few(flags.max_bad_ratio)
    classes, labels = _numbered(reader, trained, files)
    rows = reader.rows(standardize=standardize)
    return Table(rows, labels, classes, trained, reader.columns, lines.bad, digests)


class _Reader(Protocol):
    """Takes lines in, and gives rows."""

    labels: "array[int]"
    """Of each row, a number into `names`."""
    names: dict[str, int]
    remark: str
    """What begins a remark, up to the end of a line; empty: there are none."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, where they have some."""

    def begins(self, text: str) -> bool:
        """Take in the first line of a file; whether it is a heading, and no row."""

    def add(self, text: str) -> None:
        """Take in a row. Raises BadLine, and is then as before."""

    def settle(self) -> None:
        """All training rows are in."""

    def rows(self, *, standardize: bool) -> Rows:
        """All that was taken in."""


class _Csv:
    remark = ""

    def __init__(self, flags: TableFlags) -> None:
        self.labels: array[int] = array("i")
        self.names: dict[str, int] = {}
        self._flags = flags
        self._columns: Columns | None = None
        self._values = array("f")

    @property
    def columns(self) -> tuple[str, ...]:
        return self._columns.features if self._columns else ()

    def begins(self, text: str) -> bool:
        try:
            first = cells(text)
        except BadLine as error:
            raise DataError(f"the first line cannot be read: {error}") from error
        heading = is_heading(first) if self._flags.heading == AUTO else self._flags.heading == "yes"
        if self._columns is None:
            self._columns = Columns.of(first, self._flags.label_column, heading=heading)
        elif heading and tuple(cell.strip() for cell in first) != self._columns.names:
            raise DataError(
                f"the columns are {', '.join(first)}, those of the files before {', '.join(self._columns.names)}: all "
                "files need the same columns in the same order"
            )
        return heading

    def add(self, text: str) -> None:
        if self._columns is None:
            raise ValueError("a row before the first line of a file")
        label, values = csv_row(text, self._columns)
        self._values.extend(values)
        self.labels.append(self.names.setdefault(label, len(self.names)))

    def settle(self) -> None:
        pass

    def rows(self, *, standardize: bool) -> Rows:
        features = _flat(self._values, np.float32).reshape(len(self.labels), len(self.columns))
        return Dense(features, standardize)


class _Libsvm:
    columns: tuple[str, ...] = ()
    remark = "#"

    def __init__(self, flags: TableFlags) -> None:
        self.labels: array[int] = array("i")
        self.names: dict[str, int] = {}
        self._given = flags.feature_size
        self._width = 0
        self._ends, self._ids, self._values = array("q", [0]), array("i"), array("f")

    def begins(self, _text: str) -> bool:
        return False

    def add(self, text: str) -> None:
        label, ids, values = libsvm_row(text)
        self._ids.extend(ids)
        self._values.extend(values)
        self._ends.append(len(self._ids))
        self.labels.append(self.names.setdefault(label, len(self.names)))

    def settle(self) -> None:
        largest = int(_flat(self._ids, np.int32).max(initial=0))
        limit = 10_000_000
        if self._given is None and largest >= limit:
            raise DataError(
                f"the largest index is {largest}: every index below it gets weights, and more than {limit} are not made; "
                "correct the line that has it, or give --feature-size"
            )
        self._width = self._given or largest + 1

    def rows(self, *, standardize: bool) -> Rows:  # noqa: ARG002 - a mean would fill every row
        ids, values = _flat(self._ids, np.int32), _flat(self._values, np.float32)
        return Sparse(_flat(self._ends, np.int64), ids, values, self._width)


@dataclass
class _Lines:
    """Reads files line by line, and counts."""

    root: Path
    reader: _Reader
    total: int = 0
    bad: int = 0
    first: str = field(default="")
    """The first bad line, with what is wrong with it."""

    def of(self, name: str) -> tuple[bytes, int]:
        """Take in a file; its digest and size."""
        digest = hashlib.sha256(os.fsencode(name) + b"\0")
        path = self.root / name
        began = False
        try:
            for number, text in _numbered_lines(path, digest, self.reader.remark):
                if not began:
                    began = True
                    if self.reader.begins(text):
                        continue
                self.total += 1
                try:
                    self.reader.add(text)
                except BadLine as error:
                    self._leave_out(f"{name} line {number} ({error})")
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        except PermissionError as error:
            raise DataError(f"{path} cannot be opened ({error.strerror}): make it readable (chmod a+r)") from error
        return digest.digest(), path.stat().st_size

    def require_few(self, ratio: float) -> None:
        """Raises DataError when more lines than this share are bad, or none is good."""
        if self.bad > ratio * self.total or (self.bad and self.bad == self.total):
            raise DataError(
                f"{self.bad} of {self.total} lines in {self.root} cannot be read, the first is {self.first}; repair or remove "
                f"them, choose other files by --train-files, or allow more by --max-bad-ratio (now {ratio})"
            )

    def _leave_out(self, line: str) -> None:
        self.bad += 1
        self.first = self.first or line
        if self.bad <= NAMED:
            say(f"{line} cannot be read; it is left out")
        elif self.bad == NAMED + 1:
            say("further lines that cannot be read are counted, not named")


def _numbered_lines(path: Path, digest: Any, remark: str) -> Iterator[tuple[int, str]]:
    """Lines without remarks that are not empty, with their numbers from 1 on; the file's bytes go into the digest."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            digest.update(line)
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip("\r\n")
            if remark:
                text = text.partition(remark)[0]
            if text.strip():
                yield number, text


def _flat(values: "array[Any]", dtype: Any) -> Array:
    """The same memory; NumPy refuses an empty one."""
    return np.frombuffer(values, dtype) if values else np.zeros(0, dtype)


def _numbered(reader: _Reader, trained: int, files: Files) -> tuple[tuple[str, ...], Array]:
    """The classes in order (numbers by value, else as texts), and the class number of every row."""
    given = _flat(reader.labels, np.int32)
    named = list(reader.names)
    known = {named[i] for i in np.unique(given[:trained])}
    if len(known) < 2:
        what = f"have the single class {known.pop()}" if known else "have no row"
        raise DataError(f"the training files in {files.root} {what}: two classes or more are needed")
    if len(named) > 1000:
        raise DataError(
            f"the files in {files.root} have {len(named)} classes, such as {_some(named)}: at most 1000 are possible; is "
            "--label-column right?"
        )
    if unknown := sorted(set(named) - known):
        raise DataError(
            f"class {_some(unknown)} is in the validation files in {files.root}, but not in the training files"
        )
    classes = tuple(sorted(named, key=_order))
    places = np.array([classes.index(name) for name in named], np.int32)
    return classes, places[given]


def _order(label: str) -> tuple[int, float, str]:
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _some(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "") or "none"
