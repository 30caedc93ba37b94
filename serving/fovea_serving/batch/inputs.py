"""What a record is to a model: arrays for the inputs of its signature, one row each, as a REST request makes them of an instance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from fovea_api.contract import batch, columns, signatures
from fovea_wire import types_pb2

from fovea_serving.batch.cells import value_of
from fovea_serving.batch.records import Record
from fovea_serving.protocol import examples, json_requests, json_tensors
from fovea_serving.protocol.element_types import dtype_name
from fovea_serving.protocol.errors import ServingError, invalid_argument
from fovea_serving.protocol.signatures import CLASSIFY_METHOD, REGRESS_METHOD, Signature, Slot
from fovea_serving.protocol.tensors import Array

Rows = list[Array]
"""An array [1, …] for each input, in the order of the signature."""
ToRows = Callable[[Record], Rows]

_EXAMPLES: Final = frozenset({examples.INPUTS, "examples"})
"""Inputs of these names take serialised Examples."""
_PICTURE: Final = "image/encoded"
"""Feature with a picture, in the shards that Fovea writes."""


class UnfitModelError(Exception):
    """The model cannot answer records of this kind, whatever they hold."""


def for_model(signature: Signature, input_format: str, model: Path) -> ToRows:
    """What makes rows of the records of a format; it raises ServingError for a record that it cannot be done with.

    Raises UnfitModelError.
    """
    if not signature.inputs:
        raise UnfitModelError(f"signature {signature.name!r} has no input")
    if input_format == batch.IMAGES:
        return _of_pictures(signature)
    if input_format == batch.JSONL:
        return lambda record: _instance(signature, _parsed(_bytes(record)))
    if input_format == batch.CSV:
        return _Table(signature, model).rows
    if _takes_examples(signature):
        return lambda record: [_strings([_bytes(record)])]
    return lambda record: _features(signature, _bytes(record))


def _bytes(record: Record) -> bytes:
    return record.content if isinstance(record.content, bytes) else b""


def _strings(values: list[bytes]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _of_pictures(signature: Signature) -> ToRows:
    slots = list(signature.inputs.values())
    if len(slots) != 1 or slots[0].dtype != types_pb2.DT_STRING or not slots[0].fits((1,)):
        raise UnfitModelError(
            f"pictures are answered by a signature with one input, string [n], of encoded pictures; {signature.name!r} "
            f"takes {_described(signature)}"
        )
    return lambda record: [_strings([_bytes(record)])]


def _described(signature: Signature) -> str:
    def shape(slot: Slot) -> str:
        if slot.shape is None:
            return "of any shape"
        return "[" + ", ".join("n" if size == -1 else str(size) for size in slot.shape) + "]"

    return ", ".join(f"{alias} ({dtype_name(slot.dtype)} {shape(slot)})" for alias, slot in signature.inputs.items())


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode())
    except RecursionError as error:
        raise invalid_argument("The line is nested too deep") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError, too
        raise invalid_argument(f"The line is not JSON: {error}") from error


def _instance(signature: Signature, instance: Any) -> Rows:
    arrays, _ = json_requests.predict_inputs({"instances": [instance]}, signature)
    return [arrays[alias] for alias in signature.inputs]


# -- CSV ----------------------------------------------------------------------------------------------------------------


class _Table:
    """Columns named as the inputs; or one input that is a row of numbers, whose columns the model's folder may name."""

    def __init__(self, signature: Signature, model: Path) -> None:
        self._signature = signature
        (self._alias, slot), *others = signature.inputs.items()
        self._width: int | None = None
        if not others and slot.dtype != types_pb2.DT_STRING and slot.shape is not None and len(slot.shape) == 2:
            self._width = slot.shape[1]
        try:
            self._names = columns.read(model) if self._width is not None else ()
        except ValueError as error:
            raise UnfitModelError(str(error)) from error
        for alias, one in signature.inputs.items():
            if self._width is None and not (one.fits((1,)) or one.fits((1, 1))):
                raise UnfitModelError(
                    f"a row of CSV has one value for each input, but signature {signature.name!r} takes "
                    f"{_described(signature)}: {alias} needs more; choose jsonl"
                )

    def rows(self, record: Record) -> Rows:
        cells = record.content
        if isinstance(cells, bytes):
            raise invalid_argument("The row has no columns")
        slots = self._signature.inputs
        if self._width is not None and self._alias not in cells:
            slot = slots[self._alias]
            return _instance(self._signature, [value_of(name, cells[name], slot) for name in self._chosen(cells)])
        _require(slots, cells)
        values = {alias: value_of(alias, cells[alias], slot) for alias, slot in slots.items()}
        instance = {alias: value if slots[alias].fits((1,)) else [value] for alias, value in values.items()}
        return _instance(self._signature, instance)

    def _chosen(self, cells: Mapping[str, str]) -> tuple[str, ...]:
        if self._names:
            _require(self._names, cells)
            return self._names
        if self._width not in (-1, len(cells)):
            raise invalid_argument(f"The row has {len(cells)} columns, and the model takes {self._width} numbers")
        return tuple(cells)


def _require(wanted: Any, cells: Mapping[str, str]) -> None:
    missing = [name for name in wanted if name not in cells]
    if missing:
        raise invalid_argument(f"The heading has no column {', '.join(missing)}; its columns are {', '.join(cells)}")


# -- Examples -----------------------------------------------------------------------------------------------------------


def _takes_examples(signature: Signature) -> bool:
    (alias, slot), *others = signature.inputs.items()
    if others or slot.dtype != types_pb2.DT_STRING or not slot.fits((1,)):
        return False
    return alias in _EXAMPLES or signature.method in (CLASSIFY_METHOD, REGRESS_METHOD)


def _features(signature: Signature, content: bytes) -> Rows:
    try:
        features = tf.train.Example.FromString(content).features.feature
    except Exception as error:  # DecodeError, which has no public name
        raise invalid_argument(f"The record is no Example: {error}") from error
    found = []
    for alias, slot in signature.inputs.items():
        keys = (alias, _PICTURE) if alias == signatures.IMAGE_INPUT else (alias,)
        key = next((key for key in keys if key in features), None)
        if key is None:
            raise invalid_argument(f"The Example has no feature {' or '.join(keys)}")
        found.append(_array(key, features[key], slot))
    return found


def _array(key: str, feature: Any, slot: Slot) -> Array:
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    if slot.dtype == types_pb2.DT_STRING:
        if kind != "bytes_list":
            raise invalid_argument(f"Feature {key} is {kind or 'empty'}, and the model takes strings")
        array = _strings(values)
    elif kind == "bytes_list":
        raise invalid_argument(f"Feature {key} is bytes_list, and the model takes {dtype_name(slot.dtype)}")
    else:
        if slot.dtype == types_pb2.DT_BOOL:
            values = [bool(value) for value in values]
        try:
            array = json_tensors.to_array(values, slot)
        except ServingError as error:
            raise invalid_argument(f"Feature {key}: {error.message}") from error
    shape = (1, *(slot.shape[1:] if slot.shape else (-1,)))
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise invalid_argument(f"Feature {key} has {len(values)} values, and the model takes {list(shape)}") from error
