"""Element types of tensors by their number on the wire: the word in messages, numpy's type, the field of the values."""

from __future__ import annotations

from typing import Any, Final

import ml_dtypes
import numpy as np
from fovea_wire import types_pb2

_REFERENCE: Final = 100
"""Added to a type's number where a graph gives out the variable itself instead of its value."""

VALUE_FIELDS: Final[dict[int, str]] = {
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
"""Field of a TensorProto in which values stand that are not in `tensor_content`: of the types that are taken and given."""

NUMPY: Final[dict[int, np.dtype[Any]]] = {
    types_pb2.DT_FLOAT: np.dtype(np.float32),
    types_pb2.DT_DOUBLE: np.dtype(np.float64),
    types_pb2.DT_INT32: np.dtype(np.int32),
    types_pb2.DT_INT16: np.dtype(np.int16),
    types_pb2.DT_INT8: np.dtype(np.int8),
    types_pb2.DT_UINT16: np.dtype(np.uint16),
    types_pb2.DT_UINT8: np.dtype(np.uint8),
    types_pb2.DT_INT64: np.dtype(np.int64),
    types_pb2.DT_BOOL: np.dtype(np.bool_),
    types_pb2.DT_UINT32: np.dtype(np.uint32),
    types_pb2.DT_UINT64: np.dtype(np.uint64),
    types_pb2.DT_HALF: np.dtype(np.float16),
    types_pb2.DT_BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    types_pb2.DT_COMPLEX64: np.dtype(np.complex64),
    types_pb2.DT_COMPLEX128: np.dtype(np.complex128),
}
"""Types of arrays for the same types."""

SMALL_FLOATS: Final[dict[np.dtype[Any], types_pb2.DataType]] = {
    np.dtype(ml_dtypes.float8_e5m2): types_pb2.DT_FLOAT8_E5M2,
    np.dtype(ml_dtypes.float8_e4m3fn): types_pb2.DT_FLOAT8_E4M3FN,
    np.dtype(ml_dtypes.float8_e4m3fnuz): types_pb2.DT_FLOAT8_E4M3FNUZ,
    np.dtype(ml_dtypes.float8_e4m3b11fnuz): types_pb2.DT_FLOAT8_E4M3B11FNUZ,
    np.dtype(ml_dtypes.float8_e5m2fnuz): types_pb2.DT_FLOAT8_E5M2FNUZ,
    np.dtype(ml_dtypes.float4_e2m1fn): types_pb2.DT_FLOAT4_E2M1FN,
}
SMALL_INTEGERS: Final[dict[np.dtype[Any], types_pb2.DataType]] = {
    np.dtype(ml_dtypes.int4): types_pb2.DT_INT4,
    np.dtype(ml_dtypes.uint4): types_pb2.DT_UINT4,
    np.dtype(ml_dtypes.int2): types_pb2.DT_INT2,
    np.dtype(ml_dtypes.uint2): types_pb2.DT_UINT2,
}
"""Outputs of 8, 4 or 2 bits a number, of which numpy holds each in a byte. They are given, and not taken."""

_NAMES: Final = {number: name.removeprefix("DT_").lower() for name, number in types_pb2.DataType.items()}


def dtype_name(number: int) -> str:
    """TensorFlow's word for a DataType: `float`, `string`, `int32`; one that has none is named by its number."""
    if number > _REFERENCE:
        return f"{dtype_name(number - _REFERENCE)}_ref"
    return _NAMES.get(number, f"type {number}")


def numpy_dtype(number: int) -> np.dtype[Any]:
    """The numpy type of the array that carries a DataType (`object` for strings); KeyError for one that none carries."""
    return np.dtype(object) if number == types_pb2.DT_STRING else NUMPY[number]
