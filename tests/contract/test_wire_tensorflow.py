"""fovea_wire against TensorFlow Serving's own messages, in one process with TensorFlow: equal bytes, equal meaning."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fovea_wire import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    methods,
    model_pb2,
    predict_pb2,
    tensor_pb2,
    tensors,
    types_pb2,
)
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2 as tf_tensor_pb2
from tensorflow.core.framework import types_pb2 as tf_types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2 as tfs_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2 as tfs_status_pb2
from tensorflow_serving.apis import model_pb2 as tfs_model_pb2
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2
from tensorflow_serving.apis import predict_pb2 as tfs_predict_pb2

PAIRS: list[tuple[type[Message], type[Message]]] = [
    (tensor_pb2.TensorProto, tf_tensor_pb2.TensorProto),
    (model_pb2.ModelSpec, tfs_model_pb2.ModelSpec),
    (predict_pb2.PredictRequest, tfs_predict_pb2.PredictRequest),
    (predict_pb2.PredictResponse, tfs_predict_pb2.PredictResponse),
    (get_model_status_pb2.GetModelStatusRequest, tfs_status_pb2.GetModelStatusRequest),
    (get_model_status_pb2.GetModelStatusResponse, tfs_status_pb2.GetModelStatusResponse),
    (get_model_status_pb2.StatusProto, tfs_status_pb2.ModelVersionStatus.DESCRIPTOR.fields_by_name["status"]),
    (get_model_metadata_pb2.GetModelMetadataRequest, tfs_metadata_pb2.GetModelMetadataRequest),
    (get_model_metadata_pb2.GetModelMetadataResponse, tfs_metadata_pb2.GetModelMetadataResponse),
    (get_model_metadata_pb2.SignatureDefMap, tfs_metadata_pb2.SignatureDefMap),
]  # type: ignore[list-item]


def shape_of(field: Any) -> tuple[Any, ...]:
    """What of a field is on the wire, and the name by which it appears in JSON and text."""
    # An enum travels as an int32; a group of one is a group of one by any name.
    kind = "enum" if field.enum_type else field.type
    return field.name, field.number, kind, field.is_repeated, bool(field.containing_oneof)


def compare(ours: Any, theirs: Any, seen: set[str]) -> None:
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    known = {field.number: field for field in theirs.fields}
    for field in ours.fields:
        assert field.number in known, f"{theirs.full_name} has no field {field.number} ({ours.full_name}.{field.name})"
        other = known[field.number]
        assert shape_of(field)[:4] == shape_of(other)[:4], f"{ours.full_name}.{field.name}"
        if field.enum_type:
            theirs_values = {value.number for value in other.enum_type.values}
            assert {value.number for value in field.enum_type.values} <= theirs_values, field.enum_type.full_name
        elif field.message_type and not field.message_type.full_name.startswith("google."):
            compare(field.message_type, other.message_type, seen)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda kind: getattr(kind, "__name__", "status"))
def test_every_field_of_ours_is_theirs_by_number_type_and_name(ours: Any, theirs: Any) -> None:
    descriptor = theirs.DESCRIPTOR if hasattr(theirs, "DESCRIPTOR") else theirs.message_type
    compare(ours.DESCRIPTOR, descriptor, set())


def test_element_types_have_their_names_and_numbers() -> None:
    theirs = dict(tf_types_pb2.DataType.items())
    for name, number in types_pb2.DataType.items():
        assert theirs[name] == number


ARRAYS = [
    np.arange(6, dtype=dtype).reshape(2, 3)
    for dtype in (
        "float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "complex64", "complex128",
    )
] + [np.array([[True, False]]), np.array(7.5, dtype=np.float32), np.zeros((3, 0), np.float32)]  # fmt: skip
NAMES = [f"{array.dtype}{list(array.shape)}" for array in ARRAYS]


@pytest.mark.parametrize("array", ARRAYS, ids=NAMES)
def test_tensorflow_reads_what_we_encode(array: Any) -> None:
    for encoded in (tensors.encode(array), tensors.encode(array.tolist(), tensors.encode(array).dtype)):
        read = tf.make_ndarray(tf_tensor_pb2.TensorProto.FromString(encoded.SerializeToString()))
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("array", ARRAYS, ids=NAMES)
def test_we_read_what_tensorflow_encodes(array: Any) -> None:
    made = [tf.make_tensor_proto(array), tf.make_tensor_proto(array.tolist(), dtype=array.dtype, shape=array.shape)]
    for encoded in made:
        read = tensors.decode(tensor_pb2.TensorProto.FromString(encoded.SerializeToString()))
        assert read.shape == array.shape
        np.testing.assert_array_equal(read.numpy(), array)
        assert read.tolist() == array.tolist()


def test_bfloat16_rounds_as_tensorflow_does() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -3.14159, 1e-3, 65504.0, np.inf], np.float32)
    ours = tensors.encode(values.tolist(), types_pb2.DT_BFLOAT16)
    theirs = tf.cast(values, tf.bfloat16)
    read = tf.make_ndarray(tf_tensor_pb2.TensorProto.FromString(ours.SerializeToString()))
    np.testing.assert_array_equal(read.astype(np.float32), tf.cast(theirs, tf.float32).numpy())
    back = tensors.decode(tensor_pb2.TensorProto.FromString(tf.make_tensor_proto(theirs).SerializeToString()))
    np.testing.assert_array_equal(back.numpy(), tf.cast(theirs, tf.float32).numpy())


def test_strings_go_both_ways() -> None:
    values = [[b"\x89PNG\x00", b""], [b"a", "ü".encode()]]
    ours = tensors.encode(values).SerializeToString()
    theirs = tf.make_tensor_proto(values).SerializeToString()
    assert tf.make_ndarray(tf_tensor_pb2.TensorProto.FromString(ours)).tolist() == values
    assert tensors.decode(tensor_pb2.TensorProto.FromString(theirs)).tolist() == values


def fill_request(kind: Any, tensor: Any) -> Any:
    request = kind()
    request.model_spec.name = "digits"
    request.model_spec.signature_name = "serving_default"
    request.model_spec.version.value = 3
    request.inputs["image"].CopyFrom(tensor)
    request.output_filter.append("scores")
    return request


def test_a_request_is_the_same_bytes_and_parses_equal() -> None:
    ours = fill_request(predict_pb2.PredictRequest, tensors.encode([b"picture"]))
    theirs = fill_request(tfs_predict_pb2.PredictRequest, tf.make_tensor_proto([b"picture"]))
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    assert tfs_predict_pb2.PredictRequest.FromString(ours.SerializeToString()) == theirs
    assert predict_pb2.PredictRequest.FromString(theirs.SerializeToString()) == ours


def test_a_response_status_and_metadata_of_theirs_are_read() -> None:
    response = tfs_predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.version.value = "digits", 3
    response.outputs["scores"].CopyFrom(tf.make_tensor_proto([[0.5, 0.5]], dtype=tf.float32))
    read = predict_pb2.PredictResponse.FromString(response.SerializeToString())
    assert (read.model_spec.version.value, tensors.decode(read.outputs["scores"]).tolist()) == (3, [[0.5, 0.5]])
    assert tfs_predict_pb2.PredictResponse.FromString(read.SerializeToString()) == response

    states = tfs_status_pb2.GetModelStatusResponse()
    state = states.model_version_status.add(version=3, state="END")
    state.status.error_code, state.status.error_message = 13, "broken"
    ours = get_model_status_pb2.GetModelStatusResponse.FromString(states.SerializeToString())
    entry = ours.model_version_status[0]
    assert (entry.version, entry.state, entry.status.error_code, entry.status.error_message) == (3, 50, 13, "broken")
    assert tfs_status_pb2.GetModelStatusResponse.FromString(ours.SerializeToString()) == states

    signatures = tfs_metadata_pb2.SignatureDefMap()
    signatures.signature_def["serving_default"].inputs["image"].CopyFrom(
        meta_graph_pb2.TensorInfo(name="image:0", dtype=tf_types_pb2.DT_STRING)
    )
    metadata = tfs_metadata_pb2.GetModelMetadataResponse()
    metadata.metadata["signature_def"].Pack(signatures)
    packed = get_model_metadata_pb2.GetModelMetadataResponse.FromString(metadata.SerializeToString())
    found = get_model_metadata_pb2.SignatureDefMap.FromString(packed.metadata["signature_def"].value)
    assert found.signature_def["serving_default"].inputs["image"].name == "image:0"


def test_the_method_paths_are_theirs() -> None:
    services = [
        *prediction_service_pb2.DESCRIPTOR.services_by_name.values(),
        *model_service_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    paths = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert {methods.PREDICT, methods.GET_MODEL_METADATA, methods.GET_MODEL_STATUS} <= paths
