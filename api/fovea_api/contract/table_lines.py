"""One line of a table as a label and numbers, read alike by the trainers and by what converts tables. Pure: no file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

LARGEST = 3.4028234e38
"""Of float32, which numbers are kept in."""
LARGEST_INDEX = 2**31 - 1
_SHOWN = 40
_REPLACEMENT = "\ufffd"
_SEPARATORS = {";": ";", "\t": "tabs", "|": "|"}


class BadLine(Exception):
    """What is wrong with a line, for a message that names file and line."""


class BadTable(Exception):
    """What is wrong with the first line of a file, so that none of it can be read."""


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV file, the label among them."""

    names: tuple[str, ...]
    label: int | None
    """None: no column is a label."""

    @classmethod
    def of(cls, cells: Sequence[str], label: str, *, heading: bool) -> Self:
        """From the first line of a file; without a heading the names are numbers from 1 on. Raises BadTable."""
        numbers = tuple(str(number + 1) for number in range(len(cells)))
        names = tuple(cell.strip() for cell in cells) if heading else numbers
        if len(names) < 2:
            raise BadTable(
                f"the first line has {len(names)} column: a feature and a label are needed{_separators(cells)}"
            )
        _require_names(names)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BadTable(f'two columns have the name "{twice}"')
        if not label:
            return cls(names, len(names) - 1)
        if label in names:
            return cls(names, names.index(label))
        if label in numbers:
            return cls(names, numbers.index(label))
        raise BadTable(f"there is no column {label}: --label-column is one of {', '.join(names)}, or a number")

    @classmethod
    def without_label(cls, cells: Sequence[str], *, heading: bool) -> Self:
        """As `of`, where each column is a feature. Raises BadTable."""
        names = tuple(cell.strip() if heading else str(place) for place, cell in enumerate(cells, 1))
        _require_names(names)
        return cls(names, None)

    @property
    def features(self) -> tuple[str, ...]:
        """Names without the label's."""
        if self.label is None:
            return self.names
        return self.names[: self.label] + self.names[self.label + 1 :]


def cells(text: str) -> list[str]:
    """The cells of a CSV line; a cell in quotes may hold commas, but no line break. Raises BadLine.

    `text` has a replacement character where its bytes are not UTF-8: two classes could become one by it.
    """
    if _REPLACEMENT in text:
        raise BadLine("it is not UTF-8: save the file as UTF-8")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadLine(str(error)) from error


def is_heading(first: Sequence[str]) -> bool:
    """Whether no cell is a number. Raises BadTable for cells that may be names as well as numbers: 0, 1, 2, kind."""
    if not any(_is_number(cell) for cell in first):
        return True
    if _counts_up(first):
        raise BadTable(
            f'the first line "{_short(",".join(first))}" may be the names of the columns, as pandas writes them, or a row: '
            "say by --heading which"
        )
    return False


def csv_row(text: str, columns: Columns) -> tuple[str, list[float]]:
    """Label (empty: there is none) and features in the order of the columns. Raises BadLine."""
    found = cells(text)
    if len(found) != len(columns.names):
        raise BadLine(f"{len(found)} columns instead of {len(columns.names)}")
    label = "" if columns.label is None else found.pop(columns.label).strip()
    values = []
    for name, cell in zip(columns.features, found, strict=True):
        values.append(number(cell, f"column {name}"))
    return label, values


def libsvm_row(text: str) -> tuple[str, list[int], list[float]]:
    """Label, indices and values of `+1 3:1 11:0.5`; +1 and 1.0 are the label "1". Raises BadLine."""
    first, *words = text.split()
    label = number(first, "label")
    indices: list[int] = []
    values: list[float] = []
    for word in words:
        index, colon, value = word.partition(":")
        if not colon or not index.isdecimal():
            raise BadLine(f'"{_short(word)}" is not index:value')
        indices.append(int(index))
        values.append(number(value, f"index {_short(index)}"))
    if indices and max(indices) > LARGEST_INDEX:
        raise BadLine(f"index {_short(str(max(indices)))} is above {LARGEST_INDEX}")
    if len(set(indices)) < len(indices):
        raise BadLine(f"index {next(index for index in indices if indices.count(index) > 1)} is there twice")
    return label_of(label), indices, values


def label_of(value: Any) -> str:
    """The label that a number or the bytes of a text stand for: 1 and 1.0 are the label "1". Raises BadLine."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    given = number(str(value), "the label")
    return str(int(given)) if given.is_integer() else str(value)


def number(text: str, what: str) -> float:
    """A number that float32 holds; `what` it is, for the message. Raises BadLine."""
    if not text.strip():
        raise BadLine(f"{what} is empty")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -LARGEST <= value <= LARGEST or "_" in text:
        raise BadLine(f'{what} is "{_short(text.strip())}", which is no number')
    return value


def _counts_up(first: Sequence[str]) -> bool:
    """Whether a line has nothing but whole numbers that follow each other, and perhaps a text before or after them."""
    filled = [cell.strip() for cell in first if cell.strip()]
    numbers = [int(cell) for cell in filled if cell.isdecimal()]
    if len(first) < 3 or len(numbers) < 2 or (numbers[0] > 1 and len(numbers) < 3):
        return False
    others = [place for place, cell in enumerate(filled) if not cell.isdecimal()]
    at_an_end = not others or (len(others) == 1 and others[0] in (0, len(filled) - 1))
    follow = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return follow and at_an_end and not any(_is_number(filled[place]) for place in others)


def _require_names(names: Sequence[str]) -> None:
    if "" in names:
        raise BadTable(
            f"column {names.index('') + 1} has no name: if it numbers the rows, leave it out (pandas: "
            "to_csv(index=False)), else give it a name"
        )


def _separators(first: Sequence[str]) -> str:
    """What to do about a line that has other separators than commas; empty where it has none."""
    found = [name for separator, name in _SEPARATORS.items() if any(separator in cell for cell in first)]
    return f"; separate columns by commas, not by {found[0]}, and write decimals with a point" if found else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 2020_01, which names a month


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
