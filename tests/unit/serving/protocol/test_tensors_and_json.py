"""TensorProto and JSON against arrays: whatever TensorFlow's own converters write is read, and the other way round."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fovea_serving.protocol import element_types, json_requests, json_tensors, predict, signatures, tensors
from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.signatures import Signature, Slot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

TYPES = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
         "float16",         "complex64", "complex128"]  # fmt: skip


@given(st.sampled_from(TYPES).flatmap(
    lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))))  # fmt: skip
def test_numbers_are_what_tensorflow_makes_of_them(array: Any) -> None:
    for as_content in (True, False):
        proto = tensor_pb2.TensorProto.FromString(b"".join(tensors.wire(array, as_content=as_content)))
        np.testing.assert_array_equal(tf.make_ndarray(proto), array)
        np.testing.assert_array_equal(tensors.to_array(proto), array)
    np.testing.assert_array_equal(tensors.to_array(tf.make_tensor_proto(array, shape=array.shape)), array)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_strings_are_read_from_values_and_from_packed_content(strings: list[bytes]) -> None:
    array = np.empty(len(strings), dtype=object)
    array[:] = strings
    proto = tensor_pb2.TensorProto.FromString(b"".join(tensors.wire(array, as_content=True)))
    assert tensors.to_array(proto).tolist() == strings
    lengths = b"".join(_varint(len(value)) for value in strings)
    packed = tensor_pb2.TensorProto(
        dtype=7, tensor_shape=proto.tensor_shape, tensor_content=lengths + b"".join(strings)
    )
    if strings:
        assert tensors.to_array(packed).tolist() == strings


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


class Whole:
    """Values of a message's field: they can be had as a whole, and not one by one."""

    def __init__(self, values: list[float], dtype: str) -> None:
        self._values = np.array(values, dtype)

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._values.astype(dtype)

    def __iter__(self) -> Any:
        raise AssertionError("the values were read one by one")


@pytest.mark.parametrize("name", [*TYPES, "bfloat16"])
def test_values_are_read_as_a_whole(name: str) -> None:
    proto = tf.make_tensor_proto(np.arange(6).astype(tf.dtypes.as_dtype(name).as_numpy_dtype))
    proto.tensor_content = b""
    field = element_types.VALUE_FIELDS[proto.dtype]
    kind = {"half_val": "int32", "int_val": "int32", "float_val": "float32", "scomplex_val": "float32"}.get(
        field, "int64"
    )
    played = SimpleNamespace(dtype=proto.dtype, tensor_content=b"", tensor_shape=proto.tensor_shape)
    setattr(played, field, Whole([1, 0] * 6, "float64" if field == "dcomplex_val" else kind))
    assert tensors.to_array(played).size == 6


def test_a_half_of_more_than_16_bits_is_refused() -> None:
    for value in (2**16, -1, 2**31 - 1):
        with pytest.raises(tensors.TensorParsingError):
            tensors.to_array(tensor_pb2.TensorProto(dtype=19, tensor_shape=shape(1), half_val=[value]))


def shape(*sizes: int) -> Any:
    return {"dim": [{"size": size} for size in sizes]}


@pytest.mark.parametrize(
    "proto",
    [
        tensor_pb2.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=shape(-1), float_val=[1]),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=shape(3), tensor_content=b"1234"),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=shape(2**40), float_val=[1]),
        tensor_pb2.TensorProto(dtype=7, tensor_shape=shape(2**40), string_val=[b"a"]),
        tensor_pb2.TensorProto(dtype=7, tensor_shape=shape(2**40), tensor_content=b"\0"),
        tensor_pb2.TensorProto(dtype=4, tensor_shape=shape(1), int_val=[300]),
        tensor_pb2.TensorProto(dtype=7, tensor_shape=shape(1), tensor_content=b"\xff"),
        tensor_pb2.TensorProto(dtype=7, tensor_shape=shape(1), tensor_content=b"\x05ab"),
        tensor_pb2.TensorProto(dtype=20, tensor_shape=shape(1)),
        tensor_pb2.TensorProto(dtype=0),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=shape(*[1] * 300), float_val=[1]),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=shape(*[1] * 65), float_val=[1]),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=shape(0, 2**62)),
        tensor_pb2.TensorProto(dtype=7, tensor_shape=shape(0, 2**62, 2**62)),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=shape(2**62, 0, 2**63 - 1)),
    ],
    ids=str,
)
def test_a_tensor_that_contradicts_itself_is_refused(proto: Any) -> None:
    with pytest.raises(tensors.TensorParsingError):
        tensors.to_array(proto)


@given(
    arrays.arrays("float32", arrays.array_shapes(min_dims=0, max_dims=3), elements=st.floats(width=32, allow_nan=False))
)
def test_floats_survive_json_in_few_digits(array: Any) -> None:
    text = written(array)
    slot = Slot("y:0", 1, None)
    np.testing.assert_array_equal(json_tensors.to_array(json.loads(text), slot), array)


def written(array: Any, *more: Any) -> str:
    """An output (or several, in row format) as REST writes it."""
    if not more:
        return json_tensors.text(json_tensors.from_array("y", array), finite=json_tensors.is_finite([array])).decode()
    outputs = {f"y{number}": one for number, one in enumerate((array, *more))}
    return json_requests.predict_reply(outputs, rows=True).decode()


@pytest.mark.parametrize("dtype", ["float32", "float16", tf.bfloat16.as_numpy_dtype])
@pytest.mark.parametrize("extra", [[], [np.nan], [2.0**25]], ids=["plain", "not finite", "large"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_float_is_written_as_short_as_it_can_be(dtype: Any, extra: list[float]) -> None:
    values = np.array([0.2, 1 / 3, 900.0, *extra], dtype=dtype)
    digits = {"float32": "0.2,0.33333334,900.0", "float16": "0.19995117,0.33325195,900.0"}
    assert written(values).startswith("[" + digits.get(dtype, "0.20019531,0.33398438,900.0"))


def test_a_float_that_is_a_whole_number_is_written_with_all_its_digits() -> None:
    values = np.array([16777216, 1435774336, -1435774336, 2.0**100, 16777215, 0.2], dtype=np.float32)
    assert written(values) == "[16777216.0,1435774336.0,-1435774336.0,1.2676506002282294e+30,16777215.0,0.2]\n"


def test_not_a_number_is_written_as_tensorflow_serving_writes_it() -> None:
    values = np.array([np.nan, np.inf, -np.inf], dtype=np.float32)
    assert written(values) == "[NaN,Infinity,-Infinity]\n"
    tenth, flag = np.array([0.1] * 3, dtype=np.float32), np.array([True] * 3)
    assert written(values, tenth, flag).startswith('{"predictions":[{"y0":NaN,"y1":0.1,"y2":true},{"y0":Infinity,')


@given(st.sampled_from(["float32", "float64", "int8", "uint64", "int64", "bool"]).flatmap(
    lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))))  # fmt: skip
def test_any_number_of_any_shape_is_written_so_that_it_is_read_back(array: Any) -> None:
    np.testing.assert_array_equal(np.array(json.loads(written(array)), dtype=array.dtype).reshape(array.shape), array)
    turned = np.array(json.loads(written(array.T)), dtype=array.dtype).reshape(array.T.shape)
    np.testing.assert_array_equal(turned, array.T)


def test_bytes_that_are_no_text_are_refused_with_the_outputs_name_and_the_way_out() -> None:
    picture = np.array([b"gr\xc3\xbcn", b"\xff\xd8"], dtype=object)
    with pytest.raises(ServingError, match=r"Output 'y' holds bytes that are no UTF-8 text.*ends in _bytes"):
        json_tensors.from_array("y", picture)
    assert json_tensors.from_array("y_bytes", picture) == [{"b64": "Z3LDvG4="}, {"b64": "/9g="}]
    assert written(picture[:1]) == '["grün"]\n'


@pytest.mark.parametrize(("dtype", "value"), [(1, 1435774380), (2, 2**53 + 1), (19, 2049), (14, 257), (1, -(2**40))])
def test_whole_numbers_beyond_the_digits_of_a_float_are_rounded(dtype: int, value: int) -> None:
    found = json_tensors.to_array([value], Slot("x:0", dtype, None))
    assert found.tolist() == np.array([value]).astype(element_types.numpy_dtype(dtype)).tolist()


@pytest.mark.parametrize(("dtype", "value"), [(19, 70_000), (1, 10**39), (2, 10**400), (1, 1e39)])
def test_numbers_beyond_the_range_of_a_float_are_refused(dtype: int, value: float) -> None:
    with pytest.raises(ServingError, match="without loss of precision"):
        json_tensors.to_array([value], Slot("x:0", dtype, None))


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({"b64": "aa"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "b64", "q"]), inner, max_size=2),
    max_leaves=12,
), st.sampled_from([1, 2, 3, 4, 7, 9, 10, 19]), st.sampled_from(["instances", "inputs"]))  # fmt: skip
def test_any_json_is_either_read_or_refused_in_words(value: Any, dtype: int, key: str) -> None:
    signature = Signature("s", "", {"x": Slot("x:0", dtype, None)}, {})
    with contextlib.suppress(ServingError):
        found, _ = json_requests.predict_inputs({key: value}, signature)
        assert found["x"].dtype == element_types.numpy_dtype(dtype)


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (r'{"inputs": ["\ud800"]}', 13),
        (r'{"examples": [{"x": ["a", "\uDC00"]}]}', 27),
        (r'{"\ud800": 1}', 2),
        (r'{"signature_name": "\ud83d\ude00 \ud83d"}', 20),
    ],
)
def test_half_of_a_surrogate_pair_is_no_string(body: str, offset: int) -> None:
    with pytest.raises(ServingError) as caught:
        json_requests.parse(body.encode(), 100)
    assert caught.value.message == f"JSON Parse error: The surrogate pair in string is invalid. at offset: {offset}"


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert json_requests.parse(rb'{"\\ud800": "\ud83d\ude00"}', 100) == {"\\ud800": "\U0001f600"}


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
DOCUMENTS = st.dictionaries(
    st.text(), st.recursive(LEAVES, lambda of: st.lists(of) | st.dictionaries(st.text(), of), max_leaves=20)
)


@given(DOCUMENTS, st.booleans(), st.booleans())
def test_whichever_parser_reads_a_body_it_says_the_same(document: Any, is_ascii: bool, has_mark: bool) -> None:
    """NaN, infinities and a byte order mark are read by the slower one."""
    text = json.dumps(document, ensure_ascii=is_ascii)
    body = text.encode("utf-8-sig" if has_mark else "utf-8")
    assert json.dumps(json_requests.parse(body, 10**6)) == json.dumps(json.loads(text))


def test_a_body_that_is_not_utf_8_is_refused() -> None:
    for body in (b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', '{"a": 1}'.encode("utf-16")):
        with pytest.raises(ServingError, match="JSON Parse error: 'utf-8' codec can't decode"):
            json_requests.parse(body, 100)


@pytest.mark.parametrize("text", ["QUI/+w==", "QUI/\n+w==", " QU\r\nI/\t+w", "QUI_-w"])
def test_base64_may_have_line_breaks_the_urls_alphabet_and_no_padding(text: str) -> None:
    assert json_tensors.decode_base64({"b64": text}) == b"AB?\xfb"


def test_a_message_quotes_the_beginning_of_a_value_without_writing_the_rest() -> None:
    class Counted(list[int]):
        seen = 0

        def __iter__(self) -> Any:
            for value in super().__iter__():
                self.seen += 1
                yield value

    value = Counted([1] * 100_000)
    assert json_tensors.quoted({"a": value}) == '{"a": [' + "1, " * 83 + "..."
    assert value.seen < 300
    assert json_tensors.quoted({"a": [1, "x"]}) == '{"a": [1, "x"]}'


SMALL = ["float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float4_e2m1fn",
         "int4", "uint4", "int2", "uint2"]  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_outputs_of_few_bits_are_sent_over_both_ports(name: str) -> None:
    array = np.array([[1, 0], [0, 1]]).astype(tf.dtypes.as_dtype(name).as_numpy_dtype)
    form = predict.ProtoForm(None)
    reply = predict_pb2.PredictResponse.FromString(form.write(predict.Prediction("m", 1, "s", {"y": array})))
    np.testing.assert_array_equal(tf.make_ndarray(reply.outputs["y"]), array)
    assert json.loads(written(array)) == [[1, 0], [0, 1]]
    if "e5m2" in name:
        assert "NaN" in written(np.array([np.nan]).astype(array.dtype))


def test_outputs_that_have_no_form_are_named_and_no_fault_of_the_server() -> None:
    handles = np.zeros(2, np.dtype([("resource", np.ubyte)]))
    for write in (
        lambda: predict.ProtoForm(None).write(predict.Prediction("m", 1, "s", {"y": handles})),
        lambda: json_requests.predict_reply({"y": handles}, rows=False),
    ):
        with pytest.raises(ServingError, match="UNIMPLEMENTED: Output 'y'"):
            write()
    signature = Signature("s", "", {}, {"y": Slot("y:0", 20, ()), "z": Slot("z:0", 21, ()), "x": Slot("x:0", 1, ())})
    for asked, kind in (([], "'y' is a resource"), (["y"], "'y' is a resource"), (["x", "z"], "'z' is a variant")):
        with pytest.raises(ServingError, match=f"UNIMPLEMENTED: Output {kind}"):
            signatures.chosen_outputs(signature, asked)
    assert signatures.chosen_outputs(signature, ["x"]) == ("x",)


@pytest.mark.parametrize("dtype", [8, 11, 20, 21, 24, 29])
def test_inputs_that_have_no_form_are_named_and_no_fault_of_the_server(dtype: int) -> None:
    for value in (1, [[1]], {"b64": ""}, "x", True, 0.5):
        with pytest.raises(ServingError) as caught:
            json_tensors.to_array(value, Slot("x:0", dtype, None))
        assert caught.value.code.name in ("UNIMPLEMENTED", "INVALID_ARGUMENT")
