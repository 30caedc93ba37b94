"""TensorProto to numpy and back, by hand: the generic converters cost ten times as much on a small tensor."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from fovea_wire import tensor_pb2, types_pb2

from fovea_serving.protocol.element_types import NUMPY, SMALL_FLOATS, SMALL_INTEGERS, VALUE_FIELDS

Array = npt.NDArray[Any]

MOST_DIMENSIONS: Final = 64
"""Dimensions of an array of numpy; the runtime itself would take 254."""

LARGEST_REPETITION: Final = 64 * 2**20
"""Bytes a tensor may grow to when fewer values are sent than its shape asks for: else a few bytes could ask for any
amount of memory."""

_NUMBER: Final = {numpy: number for number, numpy in NUMPY.items()}
_FIELDS: Final = {name: field.number for name, field in tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name.items()}
_AS_THEY_ARE: Final = frozenset({"float_val", "double_val", "scomplex_val", "dcomplex_val"})
"""Value fields whose packed form is the bytes of the array."""


class TensorParsingError(ValueError):
    """A TensorProto whose parts contradict each other or whose type this server cannot feed."""


def to_array(tensor: Any) -> Array:
    """The array a TensorProto stands for; accepts `tensor_content` and the typed `*_val` fields. Raises TensorParsingError.

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


def _flat(tensor: Any, size: int) -> Array:
    """The values, as many as the shape asks for."""
    if tensor.dtype == types_pb2.DT_STRING:
        strings = _string_content(tensor.tensor_content, size) if tensor.tensor_content else list(tensor.string_val)
        _bounded(len(strings), size, np.dtype(object))
        array = np.empty(size, dtype=object)
        array[: len(strings)] = strings[:size]
        if len(strings) < size:
            array[len(strings) :] = strings[-1] if strings else b""
        return array
    if tensor.dtype not in NUMPY:
        raise TensorParsingError(f"data type {tensor.dtype} cannot be fed")
    dtype = NUMPY[tensor.dtype]
    if tensor.tensor_content:
        if len(tensor.tensor_content) != size * dtype.itemsize:
            raise TensorParsingError("tensor_content does not have the size of the shape")
        return np.frombuffer(tensor.tensor_content, dtype=dtype)
    return _typed_values(tensor, dtype, size)


def _bounded(sent: int, size: int, dtype: np.dtype[Any]) -> None:
    if sent < size and size * dtype.itemsize > LARGEST_REPETITION:
        raise TensorParsingError(f"{sent} values were sent, the shape asks for {size}")


def _shape(tensor: Any) -> tuple[int, ...]:
    if tensor.tensor_shape.unknown_rank:
        raise TensorParsingError("the shape has no rank")
    shape = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise TensorParsingError("the shape has a negative dimension")
    if len(shape) > MOST_DIMENSIONS:
        raise TensorParsingError(f"the shape has {len(shape)} dimensions, at most {MOST_DIMENSIONS} can be fed")
    return shape


def _typed_values(tensor: Any, dtype: np.dtype[Any], size: int) -> Array:
    values: Any = getattr(tensor, VALUE_FIELDS[tensor.dtype])
    try:
        if tensor.dtype in (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16):
            found = _narrowed(np.asarray(values, dtype=np.int32), np.dtype(np.uint16)).view(dtype)
        elif tensor.dtype in (types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128):
            found = np.asarray(values, dtype=dtype.type(0).real.dtype)[: len(values) // 2 * 2].view(dtype)
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


def wire(array: Array, *, as_content: bool) -> list[bytes | memoryview]:
    """The serialised TensorProto of an array, in parts: typed values (what every client reads) or raw bytes (cheaper).

    Raises TensorParsingError for an array of a type that has no place in a message.

    Written by hand: a message is filled value by value, under the interpreter's lock, which for a million floats takes
    half a second and 28 bytes a float; packed values are the array's own bytes.
    """
    if array.dtype == object:
        strings = [bytes_of(value) for value in array.ravel().tolist()]
        values: list[bytes | memoryview] = []
        for one in strings:
            values += [_tag(_FIELDS["string_val"]) + varint(len(one)), one]
        return [*_head(types_pb2.DT_STRING, array.shape), *values]
    number = _NUMBER.get(array.dtype)
    if number is None:
        return [_few_bits(array)]
    if not array.size:
        return _head(number, array.shape)
    field = "tensor_content" if as_content else VALUE_FIELDS[number]
    payload = _raw(array) if as_content or field in _AS_THEY_ARE else _varints(array.ravel()).data
    return [*_head(number, array.shape), _tag(_FIELDS[field]), varint(payload.nbytes), payload]


def _few_bits(array: Array) -> bytes:
    """The same for an array of 8, 4 or 2 bits a number, in the fields that TensorFlow's own converter chooses."""
    number = SMALL_INTEGERS.get(array.dtype) or SMALL_FLOATS.get(array.dtype)
    if number is None:
        raise TensorParsingError(f"values of type {array.dtype} cannot be sent")
    tensor = tensor_pb2.TensorProto(dtype=number)
    tensor.tensor_shape.SetInParent()
    tensor.tensor_shape.dim.extend([tensor_pb2.TensorShapeProto.Dim(size=size) for size in array.shape])
    if array.dtype in SMALL_INTEGERS:
        tensor.int_val.extend(array.astype(np.int8).ravel().tolist())
    elif array.size > 1:
        tensor.tensor_content = array.tobytes()
    else:
        tensor.float8_val = array.tobytes()
    return tensor.SerializeToString()


def _head(number: int, shape: tuple[int, ...]) -> list[bytes | memoryview]:
    """Type and shape of a TensorProto."""
    parts: list[bytes | memoryview] = [_tag(_FIELDS["dtype"], 0), varint(number)]
    sizes = [_tag(1, 0) + varint(size) for size in shape]
    dims = b"".join(_tag(2) + varint(len(size)) + size for size in sizes)
    return [*parts, _tag(_FIELDS["tensor_shape"]), varint(len(dims)), dims]


def _tag(field: int, kind: int = 2) -> bytes:
    return varint(field << 3 | kind)


def varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _raw(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _varints(values: Array) -> Array:
    """Whole numbers as protobuf packs them; negative ones take ten bytes."""
    if values.dtype.kind not in "iub":
        values = values.view(np.uint16)  # halves
    wide = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64).view(np.uint64)
    lengths = np.ones(len(wide), dtype=np.intp)
    for bits in range(7, 64, 7):
        longer = wide >= np.uint64(1 << bits)
        if not longer.any():
            break
        lengths += longer
    ends = np.cumsum(lengths)
    encoded = np.zeros(ends[-1], dtype=np.uint8)
    for place in range(int(lengths.max())):
        has = lengths > place
        more = np.where(lengths[has] > place + 1, 0x80, 0).astype(np.uint8)
        byte = (wide[has] >> np.uint64(7 * place)).astype(np.uint8) & np.uint8(0x7F)
        encoded[(ends - lengths)[has] + place] = byte | more
    return encoded


def bytes_of(value: object) -> bytes:
    """A string element as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()
