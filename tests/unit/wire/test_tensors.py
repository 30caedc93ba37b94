"""Tensors by hand: what is encoded decodes equal, for every element type and shape."""

import math
import struct
from typing import Any

import pytest
from fovea_wire import tensor_pb2, types_pb2
from fovea_wire.tensors import TensorError, decode, encode
from hypothesis import given
from hypothesis import strategies as st

F32 = st.floats(width=32, allow_nan=False)
NUMBERS: dict[int, st.SearchStrategy[Any]] = {
    types_pb2.DT_FLOAT: F32,
    types_pb2.DT_DOUBLE: st.floats(allow_nan=False),
    types_pb2.DT_HALF: st.floats(width=16, allow_nan=False),
    types_pb2.DT_INT8: st.integers(-(2**7), 2**7 - 1),
    types_pb2.DT_INT16: st.integers(-(2**15), 2**15 - 1),
    types_pb2.DT_INT32: st.integers(-(2**31), 2**31 - 1),
    types_pb2.DT_INT64: st.integers(-(2**63), 2**63 - 1),
    types_pb2.DT_UINT8: st.integers(0, 2**8 - 1),
    types_pb2.DT_UINT16: st.integers(0, 2**16 - 1),
    types_pb2.DT_UINT32: st.integers(0, 2**32 - 1),
    types_pb2.DT_UINT64: st.integers(0, 2**64 - 1),
    types_pb2.DT_BOOL: st.booleans(),
    types_pb2.DT_COMPLEX64: st.complex_numbers(width=64, allow_nan=False),
    types_pb2.DT_COMPLEX128: st.complex_numbers(allow_nan=False),
    types_pb2.DT_STRING: st.binary(max_size=20),
}


def nested(element: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def fill(shape: list[int]) -> st.SearchStrategy[Any]:
        if not shape:
            return element
        return st.lists(fill(shape[1:]), min_size=shape[0], max_size=shape[0])

    return st.lists(st.integers(1, 3), max_size=3).flatmap(fill)


@pytest.mark.parametrize("dtype", NUMBERS, ids=types_pb2.DataType.Name)
def test_every_element_type_comes_back_as_it_went(dtype: int) -> None:
    @given(nested(NUMBERS[dtype]))
    def back(values: Any) -> None:
        tensor = tensor_pb2.TensorProto.FromString(encode(values, dtype).SerializeToString())
        assert tensor.dtype == dtype
        assert decode(tensor).tolist() == values

    back()


@given(F32)
def test_bfloat16_keeps_eight_bits_of_the_fraction(value: float) -> None:
    got = decode(encode([value], types_pb2.DT_BFLOAT16)).values[0]
    largest = struct.unpack("<f", b"\x00\x00\x7f\x7f")[0]
    if math.isinf(value) or abs(value) > largest:
        assert math.isinf(got) or abs(got) == largest
    else:
        assert abs(got - value) <= max(abs(value) * 2**-8, 2**-133)


@pytest.mark.parametrize(
    ("dtype", "field", "values", "expected"),
    [
        (types_pb2.DT_FLOAT, "float_val", [0.5], [0.5, 0.5, 0.5]),
        (types_pb2.DT_INT8, "int_val", [-1, 2], [-1, 2, 2]),
        (types_pb2.DT_HALF, "half_val", [0x3C00], [1.0, 1.0, 1.0]),
        (types_pb2.DT_BFLOAT16, "half_val", [0x3F80], [1.0, 1.0, 1.0]),
        (types_pb2.DT_COMPLEX64, "scomplex_val", [1, 2], [1 + 2j] * 3),
        (types_pb2.DT_STRING, "string_val", [b"a"], [b"a"] * 3),
        (types_pb2.DT_BOOL, "bool_val", [], [False] * 3),
        (types_pb2.DT_UINT64, "uint64_val", [2**64 - 1], [2**64 - 1] * 3),
    ],
)
def test_a_short_list_is_filled_up_with_its_last_element(
    dtype: int, field: str, values: list[Any], expected: list[Any]
) -> None:
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=3)])
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Name(dtype), tensor_shape=shape)
    getattr(tensor, field).extend(values)
    assert decode(tensor).tolist() == expected


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([b"a", "b"], types_pb2.DT_STRING),
        ([True], types_pb2.DT_BOOL),
        ([1, 2], types_pb2.DT_INT64),
        ([1, 2.5], types_pb2.DT_FLOAT),
        (3.5, types_pb2.DT_FLOAT),
    ],
)
def test_the_type_follows_from_the_values(values: Any, dtype: int) -> None:
    assert encode(values).dtype == dtype


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([[1], [1, 2]], None, "ragged list"),
        ([1, "a"], None, r"elements of types \['int', 'str'\] make no tensor"),
        ([], None, "an empty list makes no tensor"),
        ([300], types_pb2.DT_UINT8, "an element is no uint8"),
        (["a"], types_pb2.DT_FLOAT, "an element is no float32"),
        ([1], 99, "element type 99"),
    ],
)
def test_what_makes_no_tensor_is_refused(values: Any, dtype: int | None, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        encode(values, dtype)


def test_content_that_does_not_fit_the_shape_is_refused() -> None:
    tensor = encode([1.0, 2.0], types_pb2.DT_FLOAT)
    tensor.tensor_content = tensor.tensor_content[:5]
    with pytest.raises(TensorError, match="no whole number of float32"):
        decode(tensor)
    tensor.tensor_content = b"\0" * 12
    with pytest.raises(TensorError, match=r"shape \[2\] has 3 elements, not 2"):
        decode(tensor)
    with pytest.raises(TensorError, match="element type 0"):
        decode(tensor_pb2.TensorProto())


def test_an_empty_tensor_has_its_shape_and_no_elements() -> None:
    assert decode(encode([[], []], types_pb2.DT_FLOAT)).tolist() == [[], []]


def packed(content: bytes, *shape: int) -> tensor_pb2.TensorProto:
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DataType.Name(types_pb2.DT_STRING),
        tensor_shape=tensor_pb2.TensorShapeProto(dim=dims),
        tensor_content=content,
    )


def test_strings_are_read_from_packed_content() -> None:
    assert decode(packed(b"\x03\x00\x03catdog", 3)).tolist() == [b"cat", b"", b"dog"]
    long = b"x" * 300
    assert decode(packed(b"\xac\x02\x01" + long + b"y", 1, 2)).tolist() == [[long, b"y"]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x03", "of 1 bytes ends within the lengths of 2 strings"),
        (b"\x03\xff", "of 2 bytes ends within the lengths of 2 strings"),
        (b"\x03\x03catdo", "of 7 bytes is not as long as its 2 strings"),
        (b"\x80" * 12, "of 12 bytes ends within the lengths of 2 strings"),
    ],
)
def test_packed_strings_that_do_not_add_up_are_refused(content: bytes, text: str) -> None:
    with pytest.raises(TensorError, match=text):
        decode(packed(content, 2))


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": types_pb2.DT_HALF, "half_val": [1 << 20]},
        {"dtype": types_pb2.DT_BFLOAT16, "half_val": [1 << 20]},
        {"dtype": types_pb2.DT_COMPLEX64, "tensor_content": b"1234"},
    ],
    ids=str,
)
def test_a_damaged_element_is_an_error_in_words(fields: dict[str, Any]) -> None:
    dims = [tensor_pb2.TensorShapeProto.Dim(size=1)]
    damaged = tensor_pb2.TensorProto(tensor_shape=tensor_pb2.TensorShapeProto(dim=dims), **fields)
    with pytest.raises(TensorError, match="an element is no"):
        decode(damaged)
