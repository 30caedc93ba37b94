"""TensorProto to numpy and back, by hand: the generic converters cost ten times as much on a small tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

Array = npt.NDArray[Any]

MOST_DIMENSIONS: Final = 64
"""Dimensions of an array of numpy; the runtime itself would take 254."""

LARGEST_REPETITION: Final = 64 * 2**20
"""Bytes a tensor may grow to when fewer values are sent than its shape asks for: else a few bytes could ask for any
amount of memory."""

_VALUE_FIELDS: Final = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
}
_NUMPY: Final = {number: np.dtype(tf.dtypes.as_dtype(number).as_numpy_dtype) for number in _VALUE_FIELDS}
_NUMBER: Final = {numpy: number for number, numpy in _NUMPY.items()}


class TensorParsingError(ValueError):
    """A TensorProto whose parts contradict each other or whose type this server cannot feed."""


def dtype_name(number: int) -> str:
    """TensorFlow's word for a DataType: `float`, `string`, `int32`."""
    if number == types_pb2.DT_INVALID:
        return "invalid"
    name = str(tf.dtypes.as_dtype(number).name)
    return {"float32": "float", "float64": "double", "float16": "half"}.get(name, name)


def numpy_dtype(number: int) -> np.dtype[Any]:
    """The numpy type of the array that carries a DataType (`object` for strings)."""
    return np.dtype(object) if number == types_pb2.DT_STRING else _NUMPY[number]


def to_array(tensor: tensor_pb2.TensorProto) -> Array:
    """The array a TensorProto stands for; accepts `tensor_content` and the typed `*_val` fields.

    Fewer values than the shape asks for are completed with the last one (none: with zeros), as in TensorFlow.
    """
    shape = _shape(tensor)
    try:
        return _flat(tensor, math.prod(shape)).reshape(shape)
    except (ValueError, OverflowError) as error:
        if isinstance(error, TensorParsingError):
            raise
        # Dimensions of which one is 0 may still be too large for an array, whatever their product is.
        raise TensorParsingError(f"the shape {list(shape)[:MOST_DIMENSIONS]} cannot be fed: {error}") from error


def _flat(tensor: tensor_pb2.TensorProto, size: int) -> Array:
    """The values, as many as the shape asks for."""
    if tensor.dtype == types_pb2.DT_STRING:
        strings = _string_content(tensor.tensor_content, size) if tensor.tensor_content else list(tensor.string_val)
        _bounded(len(strings), size, np.dtype(object))
        array = np.empty(size, dtype=object)
        array[: len(strings)] = strings[:size]
        if len(strings) < size:
            array[len(strings) :] = strings[-1] if strings else b""
        return array
    if tensor.dtype not in _NUMPY:
        raise TensorParsingError(f"data type {tensor.dtype} cannot be fed")
    dtype = _NUMPY[tensor.dtype]
    if tensor.tensor_content:
        if len(tensor.tensor_content) != size * dtype.itemsize:
            raise TensorParsingError("tensor_content does not have the size of the shape")
        return np.frombuffer(tensor.tensor_content, dtype=dtype)
    return _typed_values(tensor, dtype, size)


def _bounded(sent: int, size: int, dtype: np.dtype[Any]) -> None:
    if sent < size and size * dtype.itemsize > LARGEST_REPETITION:
        raise TensorParsingError(f"{sent} values were sent, the shape asks for {size}")


def _shape(tensor: tensor_pb2.TensorProto) -> tuple[int, ...]:
    if tensor.tensor_shape.unknown_rank:
        raise TensorParsingError("the shape has no rank")
    shape = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise TensorParsingError("the shape has a negative dimension")
    if len(shape) > MOST_DIMENSIONS:
        raise TensorParsingError(f"the shape has {len(shape)} dimensions, at most {MOST_DIMENSIONS} can be fed")
    return shape


def _typed_values(tensor: tensor_pb2.TensorProto, dtype: np.dtype[Any], size: int) -> Array:
    values: Any = getattr(tensor, _VALUE_FIELDS[tensor.dtype])
    try:
        if tensor.dtype in (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16):
            found = np.fromiter(values, dtype=np.uint16, count=len(values)).view(dtype)
        elif tensor.dtype in (types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128):
            found = np.asarray(list(values)[: len(values) // 2 * 2], dtype=dtype.type(0).real.dtype).view(dtype)
        elif dtype.kind in "iu" and dtype.itemsize < 4:
            found = _narrowed(np.asarray(values, dtype=np.int32), dtype)
        else:
            found = np.asarray(values, dtype=dtype)
    except OverflowError as error:
        raise TensorParsingError(str(error)) from error
    _bounded(len(found), size, dtype)
    if len(found) >= size:
        return found[:size]
    array = np.empty(size, dtype=dtype)
    array[: len(found)] = found
    array[len(found) :] = found[-1] if len(found) else dtype.type(0)
    return array


def _narrowed(values: Array, dtype: np.dtype[Any]) -> Array:
    limits = np.iinfo(dtype)
    if len(values) and (values.min() < limits.min or values.max() > limits.max):
        raise TensorParsingError(f"a value does not fit {dtype}")
    return values.astype(dtype)


def _string_content(content: bytes, size: int) -> list[bytes]:
    """Strings packed into `tensor_content`: their lengths as varints, then their bytes."""
    position, lengths = 0, []
    for _ in range(size):
        length, shift = 0, 0
        while True:
            if position >= len(content) or shift > 63:
                raise TensorParsingError("tensor_content ends within the lengths of its strings")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise TensorParsingError("tensor_content does not have the size of its strings")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings


def fill(tensor: tensor_pb2.TensorProto, array: Array, *, as_content: bool) -> None:
    """Write an array into a TensorProto: as typed values (what every client reads) or as raw bytes (cheaper)."""
    shape = tensor.tensor_shape
    for size in array.shape:
        shape.dim.add().size = size
    if array.dtype == object:
        tensor.dtype = types_pb2.DT_STRING
        tensor.string_val.extend([bytes_of(value) for value in array.ravel().tolist()])
        return
    number = _NUMBER.get(array.dtype)
    if number is None:
        raise TensorParsingError(f"an output of type {array.dtype} cannot be sent")
    tensor.dtype = number
    if as_content:
        tensor.tensor_content = array.tobytes()
        return
    _ADD.get(number, _add_plain)(tensor, array)


def bytes_of(value: object) -> bytes:
    """A string element as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


def _add_plain(tensor: tensor_pb2.TensorProto, array: Array) -> None:
    getattr(tensor, _VALUE_FIELDS[tensor.dtype]).extend(array.ravel().tolist())


def _add_half(tensor: tensor_pb2.TensorProto, array: Array) -> None:
    tensor.half_val.extend(array.ravel().view(np.uint16).tolist())


def _add_complex(tensor: tensor_pb2.TensorProto, array: Array) -> None:
    flat = array.ravel()
    getattr(tensor, _VALUE_FIELDS[tensor.dtype]).extend(flat.view(flat.real.dtype).tolist())


_ADD: Final[dict[int, Callable[[tensor_pb2.TensorProto, Array], None]]] = {
    types_pb2.DT_HALF: _add_half,
    types_pb2.DT_BFLOAT16: _add_half,
    types_pb2.DT_COMPLEX64: _add_complex,
    types_pb2.DT_COMPLEX128: _add_complex,
}
