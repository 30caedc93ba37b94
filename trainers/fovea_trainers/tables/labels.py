"""Labels of rows while they are read: classes by name, or numbers. No TensorFlow."""

from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from fovea_api.contract.table_lines import BadLine, number

from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]
_TEXT = 1, 0.0
"""How a label that is no number is sorted, before its letters."""


class Labels(Protocol):
    """Takes the label of one row after the other."""

    def __len__(self) -> int:
        """How many."""

    def add(self, text: str) -> None:
        """One more. Raises BadLine, and is then as before."""

    def settled(self, trained: int, root: Path) -> tuple[tuple[str, ...], Array]:
        """The classes in order, if there are any, and of every row the number of its class, int32, or its value, float32.

        The first `trained` rows are of training files. Raises DataError for labels that cannot be trained on.
        """


class Classes:
    """Names, of which each row has one."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._given = array("i")

    def __len__(self) -> int:
        return len(self._given)

    def add(self, text: str) -> None:
        """As `Labels`; an empty name is none."""
        if not text:
            raise BadLine("the label is empty")
        self._given.append(self._names.setdefault(text, len(self._names)))

    def settled(self, trained: int, root: Path) -> tuple[tuple[str, ...], Array]:
        """Numbers are in the order of their values, other names in that of texts."""
        given = flat(self._given, np.int32)
        named = list(self._names)
        known = {named[i] for i in np.unique(given[:trained])}
        if len(known) < 2:
            what = f"have the single class {known.pop()}" if known else "have no row"
            raise DataError(f"the training files in {root} {what}: two classes or more are needed")
        if len(named) > 1000:
            raise DataError(
                f"the files in {root} have {len(named)} classes, such as {some(named)}: at most 1000 are possible; is "
                "--label-column right? For numbers that are no classes there is --task=regression"
            )
        if unknown := sorted(set(named) - known):
            raise DataError(
                f"class {some(unknown)} is in the validation files in {root}, but not in the training files"
            )
        classes = tuple(sorted(named, key=_order))
        for one, other in pairwise(classes):
            if _order(one)[:2] == _order(other)[:2] != _TEXT:
                raise DataError(
                    f"the files in {root}: class {one} and class {other} are the same number: write it alike in all rows"
                )
        places = np.array([classes.index(name) for name in named], np.int32)
        return classes, places[given]


class Targets:
    """Numbers to be predicted."""

    def __init__(self) -> None:
        self._given = array("f")

    def __len__(self) -> int:
        return len(self._given)

    def add(self, text: str) -> None:
        """As `Labels`; a text that is no number is none."""
        self._given.append(number(text, "the label"))

    def settled(self, trained: int, root: Path) -> tuple[tuple[str, ...], Array]:
        """No classes."""
        given = flat(self._given, np.float32)
        if not trained:
            raise DataError(f"the training files in {root} have no row")
        return (), given


class Truths:
    """Texts as they are in the files, which may be empty: nothing is learnt from them."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._given = array("i")

    def __len__(self) -> int:
        return len(self._given)

    def add(self, text: str) -> None:
        """As `Labels`; any text will do."""
        self._given.append(self._names.setdefault(text, len(self._names)))

    def settled(self, trained: int, root: Path) -> tuple[tuple[str, ...], Array]:
        """The texts in the order in which they came."""
        if not trained:
            raise DataError(f"the files in {root} have no row")
        return tuple(self._names), flat(self._given, np.int32)


def flat(values: "array[Any]", dtype: Any) -> Array:
    """The same memory; NumPy refuses an empty one."""
    return np.frombuffer(values, dtype) if values else np.zeros(0, dtype)


def some(names: list[str], limit: int = 5) -> str:
    """The first few of many names, for a message."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "") or "none"


def _order(label: str) -> tuple[int, float, str]:
    try:
        return 0, float(label), label
    except ValueError:
        return *_TEXT, label
