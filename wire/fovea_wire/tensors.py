"""Tensors to and from the wire, by hand: no TensorFlow, and NumPy only where a caller brings or asks for an array."""

import math
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fovea_wire import tensor_pb2, types_pb2

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class _Kind:
    """How one element type stands on the wire: struct code in tensor_content, list field, name for people and NumPy."""

    code: str
    field: str
    name: str


_KINDS: dict[int, _Kind] = {
    types_pb2.DT_FLOAT: _Kind("f", "float_val", "float32"),
    types_pb2.DT_DOUBLE: _Kind("d", "double_val", "float64"),
    types_pb2.DT_HALF: _Kind("e", "half_val", "float16"),
    types_pb2.DT_BFLOAT16: _Kind("H", "half_val", "bfloat16"),
    types_pb2.DT_INT8: _Kind("b", "int_val", "int8"),
    types_pb2.DT_INT16: _Kind("h", "int_val", "int16"),
    types_pb2.DT_INT32: _Kind("i", "int_val", "int32"),
    types_pb2.DT_INT64: _Kind("q", "int64_val", "int64"),
    types_pb2.DT_UINT8: _Kind("B", "int_val", "uint8"),
    types_pb2.DT_UINT16: _Kind("H", "int_val", "uint16"),
    types_pb2.DT_UINT32: _Kind("I", "uint32_val", "uint32"),
    types_pb2.DT_UINT64: _Kind("Q", "uint64_val", "uint64"),
    types_pb2.DT_BOOL: _Kind("?", "bool_val", "bool"),
    types_pb2.DT_COMPLEX64: _Kind("f", "scomplex_val", "complex64"),
    types_pb2.DT_COMPLEX128: _Kind("d", "dcomplex_val", "complex128"),
    types_pb2.DT_STRING: _Kind("", "string_val", "object"),
}
_COMPLEX = (types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128)
_BY_NAME = {kind.name: number for number, kind in _KINDS.items() if kind.code}


class TensorError(ValueError):
    """A tensor that cannot be written or read; the message says why."""


@dataclass(frozen=True)
class Tensor:
    """A decoded tensor: elements in row-major order. Strings are bytes."""

    dtype: int
    shape: tuple[int, ...]
    values: Sequence[Any]

    def tolist(self) -> Any:
        """Nested lists by shape; a scalar for rank 0."""
        return _nest(iter(self.values), self.shape)

    def numpy(self) -> "np.ndarray[Any, Any]":
        """A NumPy array of this shape; strings become bytes objects, bfloat16 float32. NumPy must be installed."""
        import numpy as np

        name = "float32" if self.dtype == types_pb2.DT_BFLOAT16 else _KINDS[self.dtype].name
        flat = np.empty(len(self.values), dtype=name)
        flat[:] = self.values
        return flat.reshape(self.shape)


def encode(values: Any, dtype: int | None = None) -> tensor_pb2.TensorProto:
    """A TensorProto from a scalar, nested lists or a NumPy array.

    Without `dtype`: bytes and str become strings, bool bool, int int64, float float32, an array its own type.
    Raises TensorError for ragged lists and for elements that do not fit the type.
    """
    if hasattr(values, "__array__") and hasattr(values, "dtype"):
        return _encode_array(values, dtype)
    flat: list[Any] = []
    shape = _flatten(values, flat)
    if dtype is None:
        dtype = _guess(flat)
    if dtype not in _KINDS:
        raise TensorError(f"element type {dtype} is not one that can be sent")
    tensor = _header(dtype, shape)
    if dtype == types_pb2.DT_STRING:
        tensor.string_val.extend(v.encode() if isinstance(v, str) else v for v in flat)
        return tensor
    try:
        tensor.tensor_content = _pack(dtype, flat)
    except (struct.error, TypeError, OverflowError) as error:
        raise TensorError(f"an element is no {_KINDS[dtype].name}: {error}") from error
    return tensor


def decode(tensor: tensor_pb2.TensorProto) -> Tensor:
    """Read a TensorProto, from tensor_content or the list of its type; TensorError when it does not fit the shape."""
    if tensor.dtype not in _KINDS:
        raise TensorError(f"element type {tensor.dtype} is not one that can be read")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    count = math.prod(shape)
    values: Sequence[Any]
    try:
        values = _unpack(tensor.dtype, tensor.tensor_content, count) if tensor.tensor_content else _listed(tensor)
    except (struct.error, ValueError) as error:
        if isinstance(error, TensorError):
            raise
        raise TensorError(f"an element is no {_KINDS[tensor.dtype].name}: {error}") from error
    if not tensor.tensor_content and len(values) < count:
        # A short list stands for its last element repeated; an empty one for zeros (or empty strings).
        last = values[-1] if values else _zero(tensor.dtype)
        values = [*values, *[last] * (count - len(values))]
    if len(values) != count:
        raise TensorError(f"tensor of shape {list(shape)} has {len(values)} elements, not {count}")
    return Tensor(tensor.dtype, shape, values)


def _header(dtype: int, shape: Sequence[int]) -> tensor_pb2.TensorProto:
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DataType.Name(dtype), tensor_shape=tensor_pb2.TensorShapeProto(dim=dims)
    )


def _encode_array(values: Any, dtype: int | None) -> tensor_pb2.TensorProto:
    import numpy as np

    array_ = np.asarray(values)
    if array_.dtype.kind in "SUO":
        return encode(array_.tolist(), types_pb2.DT_STRING)
    if dtype is None:
        if array_.dtype.name not in _BY_NAME:
            raise TensorError(f"arrays of {array_.dtype.name} cannot be sent: convert to float32 first")
        dtype = _BY_NAME[array_.dtype.name]
    wanted = np.dtype(_KINDS[dtype].name).newbyteorder("<")
    tensor = _header(dtype, array_.shape)
    tensor.tensor_content = np.ascontiguousarray(array_, dtype=wanted).tobytes()
    return tensor


def _flatten(values: Any, into: list[Any]) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple)):
        into.append(values)
        return ()
    shapes = [_flatten(value, into) for value in values]
    if any(shape != shapes[0] for shape in shapes):
        raise TensorError(f"ragged list: rows of shapes {[list(s) for s in shapes[:4]]}")
    return (len(values), *(shapes[0] if shapes else ()))


def _guess(flat: list[Any]) -> int:
    kinds = {type(value) for value in flat}
    if not kinds:
        raise TensorError("an empty list makes no tensor without an element type: give dtype")
    if kinds <= {bytes, str}:
        return types_pb2.DT_STRING
    if kinds == {bool}:
        return types_pb2.DT_BOOL
    if kinds == {int}:
        return types_pb2.DT_INT64
    if kinds <= {int, float}:
        return types_pb2.DT_FLOAT
    raise TensorError(f"elements of types {sorted(kind.__name__ for kind in kinds)} make no tensor")


def _pack(dtype: int, flat: list[Any]) -> bytes:
    code = _KINDS[dtype].code
    if dtype == types_pb2.DT_BFLOAT16:
        flat = [_bfloat16(value) for value in flat]
    if dtype in _COMPLEX:
        flat = [part for value in flat for part in (complex(value).real, complex(value).imag)]
    return struct.pack(f"<{len(flat)}{code}", *flat)


def _unpack(dtype: int, content: bytes, count: int) -> Sequence[Any]:
    code = _KINDS[dtype].code
    if not code:
        return _unpack_strings(content, count)
    size = struct.calcsize(f"<{code}")
    if len(content) % size:
        raise TensorError(f"tensor_content of {len(content)} bytes is no whole number of {_KINDS[dtype].name}")
    if code in "fd" and sys.byteorder == "little":
        flat: Sequence[Any] = array(code, content)
    else:
        flat = struct.unpack(f"<{len(content) // size}{code}", content)
    return _composed(dtype, flat)


def _unpack_strings(content: bytes, count: int) -> list[bytes]:
    """Strings as `--enable_serialization_as_tensor_content` packs them: all lengths as varints, then all bytes."""
    position, lengths = 0, []
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if position >= len(content) or shift > 63:
                raise TensorError(f"tensor_content of {len(content)} bytes ends within the lengths of {count} strings")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise TensorError(f"tensor_content of {len(content)} bytes is not as long as its {count} strings")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings


def _listed(tensor: tensor_pb2.TensorProto) -> Sequence[Any]:
    flat: Sequence[Any] = list(getattr(tensor, _KINDS[tensor.dtype].field))
    if tensor.dtype == types_pb2.DT_HALF:
        return [struct.unpack("<e", struct.pack("<H", bits))[0] for bits in flat]
    return _composed(tensor.dtype, flat)


def _composed(dtype: int, flat: Sequence[Any]) -> Sequence[Any]:
    if dtype == types_pb2.DT_BFLOAT16:
        return [struct.unpack("<f", struct.pack("<HH", 0, bits))[0] for bits in flat]
    if dtype in _COMPLEX:
        return [complex(real, imaginary) for real, imaginary in zip(flat[::2], flat[1::2], strict=True)]
    return flat


def _bfloat16(value: float) -> int:
    """Bits of the nearest bfloat16, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    if math.isnan(value):
        return int(bits >> 16) | 0x40
    return int((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


def _zero(dtype: int) -> Any:
    if dtype == types_pb2.DT_STRING:
        return b""
    if dtype == types_pb2.DT_BOOL:
        return False
    return 0j if dtype in _COMPLEX else 0


def _nest(values: Iterator[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return next(values)
    return [_nest(values, shape[1:]) for _ in range(shape[0])]
