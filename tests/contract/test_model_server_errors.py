"""The table of codes and texts that TensorFlow Serving's clients know, over gRPC and over REST."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from support.model_server import Client, ModelServer, png, predict_request

INVALID, MISSING, PRECONDITION = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
)


def _undecodable() -> Any:
    from tensorflow.core.framework import tensor_pb2

    broken = tensor_pb2.TensorProto(dtype=1, tensor_content=b"123")
    broken.tensor_shape.dim.add().size = 2
    return broken


GRPC = {
    "an empty model name": (lambda: predict_request(model=""), INVALID, "ModelSpec has no name specified."),
    "an unknown model": (lambda: predict_request(model="m"), MISSING, "Servable not found for request: Latest(m)"),
    "an unknown version": (
        lambda: predict_request(version=7), MISSING, "Servable not found for request: Specific(tiny, 7)"),
    "an unknown label": (
        lambda: predict_request(label="x"), INVALID, "Unrecognized servable version label: x"),
    "an unknown signature": (
        lambda: predict_request("s", {"x": [1.0]}), PRECONDITION, 'Serving signature key "s" not found.'),
    "a missing input": (
        lambda: predict_request("half_plus_two"), INVALID,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."),
    "an extra input": (
        lambda: predict_request("half_plus_two", {"x": [1.0], "z": [1.0]}), INVALID,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}."),
    "the right count but a wrong name": (
        lambda: predict_request("half_plus_two", {"z": [1.0]}), INVALID,
        "Signature input alias: x(feed name: half_plus_two_x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: "),
    "a TensorProto whose bytes do not fit its shape": (
        lambda: predict_request("half_plus_two", {"x": _undecodable()}), INVALID, "tensor parsing error: x"),
    "a wrong type": (
        lambda: predict_request("half_plus_two", {"x": [b"1"]}), INVALID,
        "Expects arg[0] to be float but string is provided"),
    "a wrong type of the second input": (
        lambda: predict_request("pair", {"a": [[1.0, 2.0]], "b": [1.0]}), INVALID,
        "Expects arg[1] to be int64 but float is provided"),
    "a shape that the model cannot work with": (
        lambda: predict_request("pair", {"a": [[1.0, 2.0]] * 3, "b": np.array([1, 2])}), INVALID,
        "Incompatible shapes"),
    "an unknown name in output_filter": (
        lambda: predict_request("half_plus_two", {"x": [1.0]}, outputs=["q"]), INVALID,
        "output tensor alias not found in signature: q Outputs expected to be in the set {y}."),
    "the same name twice in output_filter": (
        lambda: predict_request("half_plus_two", {"x": [1.0]}, outputs=["y", "y"]), INVALID,
        "duplicate output tensor alias: y"),
    "bytes that are no picture": (
        lambda: predict_request("", {"image": [b"zz"]}), INVALID, "Unknown image file format."),
}  # fmt: skip


@pytest.mark.parametrize("case", GRPC)
def test_predict_refuses(case: str, tiny_client: Client) -> None:
    make, code, text = GRPC[case]
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.prediction.Predict(make(), timeout=60)
    assert caught.value.code() is code
    details = caught.value.details()
    # The runtime adds the place in the graph, and says it twice where two outputs fail.
    assert text in details if text.startswith(("Unknown image", "Incompatible")) else details == text


PREDICT = "/v1/models/tiny:predict"
REST = {
    "an empty model name": ("POST", "/v1/models/:predict", {}, 400, "Malformed request: POST /v1/models/:predict"),
    "an unknown model": ("POST", "/v1/models/m:predict", {"instances": [1]}, 404,
                         "Servable not found for request: Latest(m)"),
    "an unknown version": ("POST", "/v1/models/tiny/versions/7:predict", {"instances": [1]}, 404,
                           "Servable not found for request: Specific(tiny, 7)"),
    "an unknown label": ("POST", "/v1/models/tiny/labels/x:predict", {"instances": [1]}, 400,
                         "Unrecognized servable version label: x"),
    "a version beyond 64 bits": ("GET", "/v1/models/tiny/versions/99999999999999999999", None, 400,
                                 "Failed to convert version: 99999999999999999999 to numeric."),
    "a version of thousands of digits": ("GET", f"/v1/models/tiny/versions/{'9' * 5000}", None, 400,
                                         f"Failed to convert version: {'9' * 5000} to numeric."),
    "an unknown signature": ("POST", PREDICT, {"signature_name": "s", "instances": [1]}, 400,
                             'Serving signature name: "s" not found in signature def'),
    "a signature name that is no string": (
        "POST", PREDICT, {"signature_name": 3}, 400,
        'JSON Value: {"signature_name": 3} not formatted correctly. \'signature_name\' key must be a string value.'),
    "a missing input in a column": ("POST", PREDICT, {"signature_name": "pair", "inputs": {"a": [[1, 2]]}}, 400,
                                    "Missing named input: b in 'inputs' object."),
    "a missing input in a row": (
        "POST", PREDICT, {"signature_name": "pair", "instances": [{"a": [1, 2]}]}, 400,
        "Failed to process element: 0 of 'instances' list. JSON object: {\"a\": [1, 2]} keys must be equal to: a,b"),
    "an unknown input in a row": (
        "POST", PREDICT, {"signature_name": "pair", "instances": [{"a": [1, 2], "b": 1, "c": 1}]}, 400,
        "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: c"),
    "a plain list for two inputs": (
        "POST", PREDICT, {"signature_name": "pair", "instances": [1]}, 400,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map"),
    "bytes for two inputs": (
        "POST", PREDICT, {"signature_name": "pair", "instances": [{"b64": "aa"}]}, 400,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map"),
    "a plain column for two inputs": (
        "POST", PREDICT, {"signature_name": "pair", "inputs": [1]}, 400,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
        "tensorinfo_map"),
    "rows and columns at once": (
        "POST", PREDICT, {"instances": [1], "inputs": [1]}, 400,
        'JSON Value: {"instances": [1], "inputs": [1]} Not formatted correctly expecting only one of \'inputs\' or '
        "'instances' keys to exist "),
    "neither rows nor columns": ("POST", PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
    "instances that are no list": (
        "POST", PREDICT, {"instances": 1}, 400,
        "JSON Value: {\"instances\": 1} Excepting 'instances' to be an list/array"),
    "no instances": (
        "POST", PREDICT, {"instances": []}, 400,
        "JSON Value: {\"instances\": []} No values in 'instances' array"),
    "a string for a float": (
        "POST", PREDICT, {"signature_name": "half_plus_two", "inputs": ["a"]}, 400,
        'JSON Value: "a" Type: String is not of expected type: float'),
    "true for a float in a row": (
        "POST", PREDICT, {"signature_name": "half_plus_two", "instances": [1.5, True]}, 400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON Value: true Type: True is not of expected type: float"),
    "a number that a float cannot hold": (
        "POST", PREDICT, {"signature_name": "half_plus_two", "inputs": [1e39]}, 400,
        "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    "lists of different lengths": (
        "POST", PREDICT, {"signature_name": "pair", "inputs": {"a": [[1, 2], [1]], "b": [1, 2]}}, 400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    "rows of different lengths": (
        "POST", PREDICT, {"signature_name": "pair", "instances": [{"a": [1, 2], "b": 1}, {"a": [1], "b": 1}]}, 400,
        "Failed to process element: 1 key: a of 'instances' list. Error: INVALID_ARGUMENT: "
        "Expecting tensor size: 2 but got: 1"),
    "an object for bytes that is not b64": (
        "POST", PREDICT, {"inputs": {"image": [{"b65": "aa"}]}}, 400,
        'JSON Value: {"b65": "aa"} not formatted correctly for base64 data'),
    "base64 that is none": ("POST", PREDICT, {"inputs": {"image": [{"b64": "!"}]}}, 400, "Unable to base64 decode"),
    "a picture that is none": ("POST", PREDICT, {"instances": [{"b64": "enp6"}]}, 400, "Unknown image file format."),
    "status of an unknown model": ("GET", "/v1/models/m", None, 404, "Could not find any versions of model m"),
    "status of an unknown version": ("GET", "/v1/models/tiny/versions/7", None, 404,
                                     "Could not find version 7 of model tiny"),
    "status without a model": ("GET", "/v1/models", None, 400, "Missing model name in request."),
    "metadata of an unknown model": ("GET", "/v1/models/m/metadata", None, 404,
                                     "Servable not found for request: Latest(m)"),
    "an unknown verb": ("POST", "/v1/models/tiny:explain", {}, 400, "Malformed request: POST /v1/models/tiny:explain"),
    "GET of predict": ("GET", PREDICT, None, 400, "Malformed request: GET /v1/models/tiny:predict"),
    "classify without examples": (
        "POST", "/v1/models/tiny:classify", {"signature_name": "classify"}, 400,
        'JSON Value: {"signature_name": "classify"} When method is classify, key \'examples\' is expected and was not '
        "found"),
    "examples that are no objects": (
        "POST", "/v1/models/tiny:regress", {"examples": [1]}, 400, "Example must be JSON object but got JSON Number"),
    "mixed types in a feature": (
        "POST", "/v1/models/tiny:regress", {"examples": [{"x": [1.5, "a"]}]}, 400,
        "Unexpected element type in feature: x expecting type: float"),
    "classify by a signature that does not": (
        "POST", "/v1/models/tiny:classify", {"signature_name": "pair", "examples": [{"x": 1.0}]}, 400,
        "Expected one input Tensor."),
}  # fmt: skip


@pytest.mark.parametrize("case", REST)
def test_rest_refuses(case: str, tiny_server: ModelServer) -> None:
    method, path, body, status, text = REST[case]
    found, answer, headers = tiny_server.rest(method, path, body)
    assert (found, headers["Content-Type"]) == (status, "application/json; charset=utf-8")
    assert list(answer) == ["error"]
    assert answer["error"].startswith(text) if text.endswith("format.") else answer["error"] == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": }', "JSON Parse error: Invalid value. at offset: 6"),
        (b"{} {}", "JSON Parse error: The document root must not be followed by other values. at offset: 3"),
        (b'{"a": "b', "JSON Parse error: Missing a closing quotation mark in string. at offset: 6"),
        (b"[1]", "JSON Value: [1] Is not object"),
        (b'{"signature_name": "\\ud83d"}', "JSON Parse error: The surrogate pair in string is invalid. at offset: 20"),
        (b'{"instances": [' + b"1," * 200_000, "JSON Parse error: more than 100000 commas and brackets; send fewer"),
        (b'{"instances": ' + b"[" * 90_000, "JSON Parse error: nested deeper than 64 levels"),
        (b'{"instances": ' + b"[" * 100 + b"]" * 100 + b"}", "JSON Parse error: nested deeper than 64 levels"),
        (b'{"instances": ' + b"[" * 40 + b"1" + b"]" * 40 + b"}", "Failed to process element: 0 of 'instances' list."),
    ],
    ids=lambda value: value[:20].decode() if isinstance(value, bytes) else None,
)
def test_rest_refuses_broken_json(raw: bytes, text: str, tiny_server: ModelServer) -> None:
    status, answer, _ = tiny_server.rest("POST", PREDICT, raw=raw)
    assert status == 400
    assert answer["error"].startswith(text)


def test_a_body_over_the_limit_is_refused_and_the_next_one_is_served(tiny_server: ModelServer) -> None:
    status, answer, _ = tiny_server.rest("POST", PREDICT, raw=b" " * 1_000_001)
    assert (status, answer) == (413, {"error": "The body is longer than 1000000 bytes"})
    assert tiny_server.rest("POST", PREDICT, {"signature_name": "half_plus_two", "instances": [2.0]})[0] == 200


def test_a_path_outside_the_api_is_a_bare_404(tiny_server: ModelServer) -> None:
    assert tiny_server.rest("GET", "/metrics")[:2] == (404, "")


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ([], INVALID, "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], INVALID, "Metadata field weights is not supported"),
    ],
)
def test_metadata_refuses(fields: list[str], code: grpc.StatusCode, text: str, tiny_client: Client) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "tiny"
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.prediction.GetModelMetadata(request, timeout=30)
    assert (caught.value.code(), caught.value.details()) == (code, text)


def test_status_refuses_unknown_names_and_a_request_without_a_model(tiny_client: Client) -> None:
    from tensorflow_serving.apis import get_model_status_pb2

    found = []
    for name, version in (("m", None), ("tiny", 7)):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        if version:
            request.model_spec.version.value = version
        with pytest.raises(grpc.RpcError) as caught:
            tiny_client.models.GetModelStatus(request, timeout=30)
        found.append((caught.value.code(), caught.value.details()))
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(), timeout=30)
    found.append((caught.value.code(), caught.value.details()))
    assert found == [
        (MISSING, "Could not find any versions of model m"),
        (MISSING, "Could not find version 7 of model tiny"),
        (INVALID, "Missing ModelSpec"),
    ]


def test_the_model_of_a_server_without_a_config_file_cannot_be_taken_away(tiny_client: Client) -> None:
    from tensorflow_serving.apis import model_management_pb2

    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.models.HandleReloadConfigRequest(request, timeout=30)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "Start it with --model_config_file" in caught.value.details()
    assert tiny_client.states() == {1: (30, "")}


def test_a_long_message_is_cut_for_the_header_it_travels_in(tiny_client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.prediction.Predict(predict_request("s" * 5000, {"x": [1.0]}), timeout=30)
    assert len(caught.value.details()) == 1024


def test_one_bad_picture_of_a_request_fails_that_request(tiny_client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.prediction.Predict(predict_request("", {"image": [png(1), b"zz"]}), timeout=30)
    assert caught.value.code() is INVALID
