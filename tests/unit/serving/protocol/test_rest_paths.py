"""What the path of a REST request asks, and of which model and version."""

import pytest
from fovea_serving.protocol import rest_paths
from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.rest_paths import LARGEST_VERSION, Target
from fovea_wire.model_pb2 import ModelSpec
from tensorflow_serving.apis import model_pb2


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/models/m:predict", Target("m", None, None, "predict")),
        ("POST", "/v1/models/m/versions/3:classify", Target("m", 3, None, "classify")),
        ("POST", "/V1/Models/a%2Fb/labels/can%20ary:Regress", Target("a/b", None, "can ary", "regress")),
        ("GET", "/v1/models/m", Target("m", None, None, "status")),
        ("GET", "/v1/models/m/versions/007/METADATA", Target("m", 7, None, "metadata")),
        ("GET", f"/v1/models/m/versions/{LARGEST_VERSION}", Target("m", LARGEST_VERSION, None, "status")),
        ("GET", "/v1/models/m/labels/stable/metadata", Target("m", None, "stable", "metadata")),
    ],
)
def test_a_path_names_a_model_a_version_or_a_label_and_what_is_asked(method: str, path: str, expected: Target) -> None:
    assert rest_paths.target(method, path) == expected


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/v1/models", "Missing model name in request."),
        ("GET", "/v1/models/m:predict", "Malformed request: GET /v1/models/m:predict"),
        ("POST", "/v1/models/m", "Malformed request: POST /v1/models/m"),
        ("POST", "/v1/models/m/versions/x:predict", "Malformed request: POST /v1/models/m/versions/x:predict"),
        ("PUT", "/v1/models/m", "Malformed request: PUT /v1/models/m"),
        ("GET", f"/v1/models/m/versions/{2**63}", f"Failed to convert version: {2**63} to numeric."),
        ("GET", f"/v1/models/m/versions/{'9' * 5000}", f"Failed to convert version: {'9' * 5000} to numeric."),
    ],
)
def test_a_path_of_another_form_is_an_invalid_argument(method: str, path: str, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        rest_paths.target(method, path)
    assert (caught.value.code.name, caught.value.message) == ("INVALID_ARGUMENT", message)


def test_a_target_fills_a_message_of_either_kind() -> None:
    for spec in (ModelSpec(), model_pb2.ModelSpec()):
        Target("m", 0, None, "status").fill(spec)
        assert (spec.name, spec.WhichOneof("version_choice"), spec.version.value) == ("m", "version", 0)
    for spec in (ModelSpec(), model_pb2.ModelSpec()):
        Target("m", None, "stable", "status").fill(spec)
        assert (spec.WhichOneof("version_choice"), spec.version_label) == ("version_label", "stable")
