"""CSV and libsvm files, line by line, into a store. A line that cannot be read is left out, named and counted."""

import hashlib
import os
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fovea_api.contract.table_lines import BadLine, Columns, cells, csv_row, is_heading, libsvm_row

from fovea_trainers.data.left_out import LeftOut
from fovea_trainers.data.lines import numbered
from fovea_trainers.errors import DataError
from fovea_trainers.tables.flags import AUTO, TableFlags
from fovea_trainers.tables.labels import Labels
from fovea_trainers.tables.stores import DenseStore, SparseStore, Store


@dataclass(frozen=True)
class Asked:
    """What a model takes of each row that it is asked about."""

    features: int
    """How many numbers; 0 where it takes some of many."""
    columns: tuple[str, ...] = ()
    """Their names, where it has some."""


class Lines(Protocol):
    """What the lines of a format are, and where their rows go."""

    remark: str
    """What begins a remark, up to the end of a line; empty: there are none."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, where they have some."""

    @property
    def store(self) -> Store:
        """The rows so far."""

    def begins(self, text: str) -> bool:
        """Take in the first line of a file; whether it is a heading, and no row. Raises DataError."""

    def add(self, text: str) -> None:
        """Take in a row. Raises BadLine, and is then as before."""


class TextFiles:
    """Reads files of lines; `numbers` has the number of each row's line, from 1 on."""

    def __init__(self, root: Path, lines: Lines, left_out: LeftOut) -> None:
        self.numbers = array("q")
        self._root, self._lines, self._left_out = root, lines, left_out

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features of a CSV file; empty for libsvm."""
        return self._lines.columns

    @property
    def store(self) -> Store:
        """The rows so far."""
        return self._lines.store

    def read(self, name: str) -> bytes:
        """Take in a file; its digest. Raises DataError for one that is no table."""
        digest = hashlib.sha256(os.fsencode(name) + b"\0")
        began = False
        for number, text in numbered(self._root / name, digest, self._lines.remark):
            if not began:
                began = True
                if self._lines.begins(text):
                    continue
            try:
                self._lines.add(text)
                self.numbers.append(number)
            except BadLine as error:
                self._left_out.note(f"{name} line {number} ({error})")
        return digest.digest()


class Csv:
    """A number in each column, and a label; `asked` is what a model takes that is to be asked."""

    remark = ""

    def __init__(self, flags: TableFlags, labels: Labels, asked: Asked | None = None) -> None:
        self._flags, self._labels, self._asked = flags, labels, asked
        self._columns: Columns | None = None
        self._store = DenseStore(0)

    @property
    def columns(self) -> tuple[str, ...]:
        """As `Lines`."""
        return self._columns.features if self._columns else ()

    @property
    def store(self) -> Store:
        """As `Lines`."""
        return self._store

    def begins(self, text: str) -> bool:
        """As `Lines`."""
        try:
            first = cells(text)
        except BadLine as error:
            raise DataError(f"the first line cannot be read: {error}") from error
        heading = is_heading(first) if self._flags.heading == AUTO else self._flags.heading == "yes"
        if self._columns is None:
            self._columns = self._first(first, heading=heading)
            self._store.width = len(self._columns.features)
        elif heading and tuple(cell.strip() for cell in first) != self._columns.names:
            raise DataError(
                f"the columns are {', '.join(first)}, those of the files before {', '.join(self._columns.names)}: all "
                "files need the same columns in the same order"
            )
        return heading

    def add(self, text: str) -> None:
        """As `Lines`."""
        if self._columns is None:
            raise ValueError("a row before the first line of a file")
        label, values = csv_row(text, self._columns)
        self._labels.add(label)
        self._store.values.extend(values)

    def _first(self, first: list[str], *, heading: bool) -> Columns:
        if self._asked is None:
            return Columns.of(first, self._flags.label_column, heading=heading)
        if heading and self._asked.columns:
            return self._of_the_model(tuple(cell.strip() for cell in first), self._asked.columns)
        if self._asked.features == len(first):
            return Columns.without_label(first, heading=heading)
        columns = Columns.of(first, self._flags.label_column, heading=heading)
        if self._asked.features != len(columns.features):
            raise DataError(
                f"the first line has {len(first)} columns: the model takes {self._asked.features} features, without a label or "
                "with one beside them"
            )
        return columns

    def _of_the_model(self, names: tuple[str, ...], wanted: tuple[str, ...]) -> Columns:
        """The columns of a file that has those of the model, and perhaps one more, the label."""
        for label in (None, *range(len(names))):
            columns = Columns(names, label)
            if columns.features == wanted:
                return columns
        raise DataError(
            f"the columns are {', '.join(names)}, but the model was trained on {', '.join(wanted)}: write them in this order, "
            "and at most a label beside them"
        )


class Libsvm:
    """A label, and index:value for each feature that is not 0."""

    columns: tuple[str, ...] = ()
    remark = "#"

    def __init__(self, flags: TableFlags, labels: Labels) -> None:
        self._labels = labels
        self._store = SparseStore(flags.feature_size)

    @property
    def store(self) -> Store:
        """As `Lines`."""
        return self._store

    def begins(self, _text: str) -> bool:
        """No heading."""
        return False

    def add(self, text: str) -> None:
        """As `Lines`."""
        label, ids, values = libsvm_row(text)
        self._labels.add(label)
        self._store.ids.extend(ids)
        self._store.values.extend(values)
        self._store.ends.append(len(self._store.ids))
