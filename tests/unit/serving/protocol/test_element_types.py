"""Element types and SignatureDefs without TensorFlow are what TensorFlow says that they are."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fovea_serving.protocol import element_types, signatures, tensors
from fovea_wire import get_model_metadata_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

FEW_BITS = [*element_types.SMALL_FLOATS, *element_types.SMALL_INTEGERS]
SHORT = {"float32": "float", "float64": "double", "float16": "half"}


def test_every_type_of_tensorflow_has_its_name() -> None:
    numbers = [number for number in types_pb2.DataType.values() if 0 < number < 100]
    names = [tf.dtypes.as_dtype(number).name for number in numbers]
    assert [element_types.dtype_name(number) for number in numbers] == [SHORT.get(name, name) for name in names]
    assert element_types.dtype_name(types_pb2.DT_INVALID) == "invalid"
    assert element_types.dtype_name(types_pb2.DT_INT32_REF) == "int32_ref"
    assert element_types.dtype_name(99) == "type 99"


@pytest.mark.parametrize("number", [*element_types.NUMPY, types_pb2.DT_STRING])
def test_an_array_has_the_type_of_numpy_that_the_runtime_takes(number: int) -> None:
    assert element_types.numpy_dtype(number) == np.dtype(tf.dtypes.as_dtype(number).as_numpy_dtype)


@pytest.mark.parametrize("number", element_types.VALUE_FIELDS)
def test_values_stand_where_tensorflow_puts_them(number: int) -> None:
    array = np.ones((), element_types.numpy_dtype(number))
    (field,) = [field.name for field, _ in tf.make_tensor_proto(array).ListFields() if field.name.endswith("_val")]
    assert element_types.VALUE_FIELDS[number] == field


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 2), (0,)], ids=str)
@pytest.mark.parametrize("dtype", FEW_BITS, ids=str)
def test_numbers_of_few_bits_are_written_as_tensorflow_writes_them(dtype: Any, shape: tuple[int, ...]) -> None:
    lowest = -1 if dtype.name in ("int4", "int2") or "float" in dtype.name else 1
    array = np.full(shape, lowest).astype(dtype)
    for as_content in (True, False):
        written = b"".join(tensors.wire(array, as_content=as_content))
        read = tf.io.parse_tensor(written, tf.dtypes.as_dtype(dtype))
        np.testing.assert_array_equal(read.numpy(), array)
        with contextlib.suppress(TypeError):  # its converter has no way for one number of some of these types
            assert written == tf.make_tensor_proto(array).SerializeToString()


def test_a_signature_is_the_same_read_from_a_graph_and_from_metadata_without_tensorflow() -> None:
    definition = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for alias, shape in (("b", [-1, 3]), ("a", [])):
        definition.inputs[alias].name = f"{alias}:0"
        definition.inputs[alias].dtype = types_pb2.DT_FLOAT
        definition.inputs[alias].tensor_shape.SetInParent()
        for size in shape:
            definition.inputs[alias].tensor_shape.dim.add(size=size)
    definition.inputs["c"].name = "c:0"
    definition.outputs["y"].tensor_shape.unknown_rank = True
    definition.defaults["a"].CopyFrom(tf.make_tensor_proto(np.float32(2.5)))
    own = get_model_metadata_pb2.SignatureDef.FromString(definition.SerializeToString())
    theirs, ours = (signatures.from_definition("s", one) for one in (definition, own))
    assert list(ours.inputs) == ["a", "b", "c"]
    assert (ours.name, ours.method, ours.inputs, ours.outputs) == (
        theirs.name,
        theirs.method,
        theirs.inputs,
        theirs.outputs,
    )
    assert [slot.shape for slot in ours.inputs.values()] == [(), (-1, 3), None]
    assert tensors.to_array(ours.defaults["a"]) == tensors.to_array(theirs.defaults["a"]) == 2.5
