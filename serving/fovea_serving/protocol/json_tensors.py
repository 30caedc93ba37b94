"""JSON values to arrays and back, by the rules and with the words of TensorFlow Serving's REST API.

A well-formed value is converted level by level at the speed of C; only a value that is not is walked again, to say
where it is wrong.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import string
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import orjson
from fovea_wire import types_pb2

from fovea_serving.protocol.element_types import SMALL_INTEGERS, dtype_name, numpy_dtype
from fovea_serving.protocol.errors import failed_precondition, invalid_argument, unimplemented
from fovea_serving.protocol.signatures import Slot
from fovea_serving.protocol.tensors import Array, bytes_of

DEEPEST_TENSOR: Final = 32
"""Dimensions of an array; a value nested deeper is no tensor."""
LONGEST_QUOTE: Final = 256
"""Characters of a value that an error message repeats."""

FIRST_WHOLE: Final = 2.0**24
"""From here on 32-bit floats are whole numbers."""

_INTEGERS: Final = frozenset({
    types_pb2.DT_INT32, types_pb2.DT_INT16, types_pb2.DT_INT8, types_pb2.DT_UINT8, types_pb2.DT_UINT16,
    types_pb2.DT_INT64, types_pb2.DT_UINT32, types_pb2.DT_UINT64,
})  # fmt: skip
_FLOATS: Final = frozenset({types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16})


class _Walk(Exception):
    """The fast way found something wrong."""


def quoted(value: Any) -> str:
    """A value as JSON, short enough for a message."""
    text = ""
    try:
        for piece in json.JSONEncoder().iterencode(value):
            text += piece
            if len(text) > LONGEST_QUOTE:
                return text[:LONGEST_QUOTE] + "..."
    except (TypeError, ValueError, RecursionError):
        return str(type(value))
    return text


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(value: Any) -> bytes:
    """Bytes of `{"b64": "..."}`; raises INVALID_ARGUMENT."""
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {quoted(value)} not formatted correctly for base64 data")
    text = value["b64"].translate(_AS_USUAL)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


_AS_USUAL: Final = str.maketrans("-_", "+/", string.whitespace)
"""The URL's alphabet for base64 as the usual one, and no line breaks."""


def to_array(value: Any, slot: Slot) -> Array:
    """The array of a JSON value (a scalar, or lists of lists of equal lengths); raises INVALID_ARGUMENT."""
    try:
        return _fast(value, slot.dtype)
    except _Walk:
        _explain(value, slot.dtype)
        raise invalid_argument(
            f"JSON Value: {quoted(value)} is not of expected type: {dtype_name(slot.dtype)}"
        ) from None


def _fast(value: Any, dtype: int) -> Array:
    shape: list[int] = []
    level: list[Any] = [value]
    while level and type(level[0]) is list:
        if len(shape) >= DEEPEST_TENSOR or set(map(type, level)) != {list}:
            raise _Walk
        sizes = set(map(len, level))
        if len(sizes) != 1:
            raise _Walk
        shape.append(sizes.pop())
        level = list(itertools.chain.from_iterable(level))
    return _leaves(level, dtype).reshape(shape)


def _leaves(values: list[Any], dtype: int) -> Array:
    kinds = set(map(type, values))
    if dtype == types_pb2.DT_STRING:
        if kinds - {str, dict}:
            raise _Walk
        array = np.empty(len(values), dtype=object)
        array[:] = [v.encode() if type(v) is str else decode_base64(v) for v in values]
        return array
    if dtype in _FLOATS:
        return _floats(values, kinds, dtype)
    if dtype in _INTEGERS:
        return _whole(values, kinds, dtype)
    if dtype == types_pb2.DT_BOOL and not kinds - {bool}:
        return np.array(values, dtype=bool)
    raise _Walk


def _floats(values: list[Any], kinds: set[type], dtype: int) -> Array:
    if kinds - {int, float}:
        raise _Walk
    try:
        wide = np.array(values, dtype=np.float64)
    except OverflowError as error:  # a whole number of more than 308 digits
        raise _Walk from error
    with np.errstate(over="ignore"):
        array = wide.astype(numpy_dtype(dtype))
    if (np.isinf(array) & np.isfinite(wide)).any():
        raise _Walk
    return array


def _whole(values: list[Any], kinds: set[type], dtype: int) -> Array:
    if kinds - {int}:
        raise _Walk
    limits = np.iinfo(numpy_dtype(dtype))
    if values and (min(values) < limits.min or max(values) > limits.max):
        raise _Walk
    return np.array(values, dtype=numpy_dtype(dtype))


def _explain(value: Any, dtype: int) -> None:
    """Find what the fast way stumbled over and raise it in words."""
    shape = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
        if len(shape) > DEEPEST_TENSOR:
            raise invalid_argument(f"Encountered list at unexpected level: {len(shape)} expected < {DEEPEST_TENSOR}")
    _explain_level(value, 0, shape, dtype)


def _explain_level(value: Any, level: int, shape: list[int], dtype: int) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {quoted(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        _explain_leaf(value, dtype)
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _explain_level(item, level + 1, shape, dtype)


def _explain_leaf(value: Any, dtype: int) -> None:
    name = dtype_name(dtype)
    if dtype not in _FLOATS | _INTEGERS | {types_pb2.DT_STRING, types_pb2.DT_BOOL}:
        raise unimplemented(f"Conversion of JSON Value: {quoted(value)} to type: {name}")
    if dtype == types_pb2.DT_STRING and isinstance(value, dict):
        decode_base64(value)
        return
    try:
        _leaves([value], dtype)
    except _Walk:
        if dtype in _FLOATS and type(value) in (int, float):
            raise invalid_argument(
                f"Cannot convert JSON value: {quoted(value)} to {name} without loss of precision."
            ) from None
        raise invalid_argument(
            f"JSON Value: {quoted(value)} Type: {json_type(value)} is not of expected type: {name}"
        ) from None


def json_type(value: Any) -> str:
    """Word for a JSON value in messages."""
    if isinstance(value, bool):
        return str(value)
    kinds = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return kinds.get(type(value), "Number")


def from_array(name: str, array: Array) -> Any:
    """What `text` writes for an output: an array, or lists of strings (`{"b64": ...}` in outputs named `..._bytes`)."""
    if array.dtype == object:
        return _strings(name, array.tolist(), as_base64=name.endswith("_bytes"))
    if array.dtype == np.float64 or array.dtype.kind in "iub":
        return _writable(array)
    if _is_float(array):
        return _writable(_decimal(array.astype(np.float32)))
    if array.dtype in SMALL_INTEGERS:
        return _writable(array.astype(np.int8))
    raise unimplemented(f"Output {name!r}: failed to write JSON values for tensor type: {array.dtype}")


def _is_float(array: Array) -> bool:
    """Those of 16 bits and less that numpy does not know are bfloat16, float8_e5m2 and the like."""
    return array.dtype.kind == "f" or (array.dtype.kind == "V" and array.dtype.name.startswith(("bfloat", "float")))


def _writable(array: Array) -> Any:
    """What the writer takes: an array whose rows lie one after the other, or a number."""
    return np.ascontiguousarray(array) if array.ndim else array[()]


def text(value: Any, *, finite: bool = True) -> bytes:
    """JSON of a value that may hold arrays; NaN and Infinity, which JSON does not have, need `finite=False`."""
    if finite:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def is_finite(arrays: Iterable[Array]) -> bool:
    """Whether no array holds NaN or an infinity."""
    numbers = (array if array.itemsize > 1 else array.astype(np.float32) for array in arrays if _is_float(array))
    return all(np.isfinite(array).all() for array in numbers)


def _plain(value: Any) -> Any:
    """Lists and numbers of Python; those of 32 bits with the digits that the other writer gives them."""
    if value.dtype == np.float32:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
    return value.tolist()


def _decimal(array: Array) -> Array:
    """32-bit floats so that they are written with the fewest digits that give them back: 0.2, not 0.20000000298.

    From 2^24 on, where they are whole numbers, all their digits are needed: a client reads 64 bits or an integer, and
    1435774300 is not 1435774336. The writer has the fewest digits for arrays of 32 bits; others are made 64 bits wide.
    """
    finite = np.isfinite(array)
    large = np.abs(array) >= FIRST_WHOLE
    if finite.all() and not large.any():
        return array
    small = np.where(finite & ~large, array, np.float32(0))
    written = orjson.dumps(small.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    shortest = np.array(orjson.loads(written), dtype=np.float64).reshape(array.shape)
    return np.where(finite & ~large, shortest, array.astype(np.float64))


def _strings(name: str, value: Any, *, as_base64: bool) -> Any:
    if isinstance(value, list):
        return [_strings(name, item, as_base64=as_base64) for item in value]
    data = bytes_of(value)
    return {"b64": base64.b64encode(data).decode()} if as_base64 else as_text(f"Output {name!r}", data)


def as_text(what: str, data: bytes) -> str:
    """Bytes as text; raises FAILED_PRECONDITION, naming what holds them, where they are no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise failed_precondition(
            f"{what} holds bytes that are no UTF-8 text (at byte {error.start} of {len(data)}), which JSON and labels "
            "cannot carry. Give the output a name that ends in _bytes, so that REST answers with base64, or call "
            "Predict over gRPC"
        ) from error
