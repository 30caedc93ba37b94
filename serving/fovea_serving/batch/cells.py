"""What a cell of CSV is to an input of a model. Pure: no TensorFlow."""

from __future__ import annotations

from typing import Any, Final

from fovea_wire import types_pb2

from fovea_serving.protocol.element_types import dtype_name
from fovea_serving.protocol.errors import invalid_argument
from fovea_serving.protocol.signatures import Slot

_WORDS: Final = {"true": True, "1": True, "false": False, "0": False}
_SHOWN: Final = 40


def value_of(name: str, cell: str, slot: Slot) -> Any:
    """A cell as the JSON value of a REST request; raises INVALID_ARGUMENT with the name of the column."""
    if slot.dtype == types_pb2.DT_STRING:
        return cell
    text = cell.strip()
    try:
        return _WORDS[text.lower()] if slot.dtype == types_pb2.DT_BOOL else _number(text)
    except (KeyError, ValueError) as error:
        raise invalid_argument(f"Column {name} is {cell[:_SHOWN]!r}, which is no {dtype_name(slot.dtype)}") from error


def _number(text: str) -> int | float:
    # Python reads 1_000, and digits of all scripts. The trainers, which read tables as well, take neither for a number.
    if "_" in text or not text.isascii():
        raise ValueError(text)
    try:
        return int(text)
    except ValueError:
        return float(text)
