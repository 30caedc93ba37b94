"""`fovea predict` and the Predictor against a small gRPC server on the loopback interface that speaks the wire."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from fovea.sdk import InvalidError, PredictionError, Predictor, UnreachableError, predict
from fovea.wire import get_model_metadata_pb2, get_model_status_pb2, methods, predict_pb2, types_pb2
from fovea.wire.tensors import decode, encode
from fovea_api.contract import signatures
from support.command_line import fovea

Answer = Callable[[Any, grpc.ServicerContext], Any]
CLASSES = [b"cat", b"dog"]


def classifier(request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> predict_pb2.PredictResponse:
    """Calls everything a cat but what contains 'dog'; refuses 'broken'."""
    images = decode(request.inputs[signatures.IMAGE_INPUT]).tolist()
    if any(b"broken" in image for image in images):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "image 0 is no picture")
    if request.model_spec.version.value == 9:
        context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(pets, 9)")
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = request.model_spec.version.value or 3
    scores = [[0.25, 0.75] if b"dog" in image else [0.9, 0.1] for image in images]
    response.outputs[signatures.SCORES_OUTPUT].CopyFrom(encode(scores))
    response.outputs[signatures.CLASSES_OUTPUT].CopyFrom(encode([CLASSES] * len(images)))
    labels = [CLASSES[row.index(max(row))] for row in scores]
    response.outputs[signatures.LABEL_OUTPUT].CopyFrom(encode(labels))
    return response


def status(request: Any, context: grpc.ServicerContext) -> Any:
    entry = get_model_status_pb2.ModelVersionStatus(version=3, state="AVAILABLE")
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=[entry])


def metadata(request: Any, context: grpc.ServicerContext) -> Any:
    assert list(request.metadata_field) == ["signature_def"]
    found = get_model_metadata_pb2.SignatureDefMap()
    found.signature_def["serving_default"].inputs["image"].dtype = types_pb2.DT_STRING
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].value = found.SerializeToString()
    response.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    return response


class Server:
    """A gRPC server with generic handlers; `predict` may be exchanged."""

    def __init__(self) -> None:
        self.predict: Answer = classifier
        self.calls = 0
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        kinds: dict[str, tuple[Answer, Any]] = {
            methods.PREDICT: (self._predict, predict_pb2.PredictRequest),
            methods.GET_MODEL_STATUS: (status, get_model_status_pb2.GetModelStatusRequest),
            methods.GET_MODEL_METADATA: (metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        }
        handlers: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for path, (answer, kind) in kinds.items():
            _, service, method = path.split("/")
            handlers.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=kind.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
        for service, known in handlers.items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, known),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        if self._server:
            self._server.stop(0).wait()
            self._server = None

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self.calls += 1
        return self.predict(request, context)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = []
    for name in ("cat", "dog", "broken"):
        path = tmp_path / f"{name}.png"
        path.write_bytes(name.encode())
        paths.append(str(path))
    return paths


def test_images_are_classified_in_order_and_a_bad_one_fails_alone(server: Server, images: list[str]) -> None:
    with Predictor("pets", endpoint=server.address) as predictor:
        cat, dog, broken = predictor.classify(images)
    assert (cat.label, cat.score, cat.version) == ("cat", pytest.approx(0.9), 3)
    assert (dog.label, dict(dog.scores)) == ("dog", {"cat": 0.25, "dog": 0.75})
    assert broken.error.endswith("answered INVALID_ARGUMENT: image 0 is no picture")
    assert (broken.label, dict(broken.scores)) == ("", {})


def test_the_command_prints_a_table_and_fails_for_the_bad_image(server: Server, images: list[str]) -> None:
    ran = fovea("predict", "--model", "pets", "--endpoint", server.address, *images)
    assert ran.code == 1
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0] == ["IMAGE", "LABEL", "SCORE", "NEXT", "VERSION"]
    assert [row[1:] for row in rows[1:]] == [["cat", "0.9", "dog", "0.1", "3"], ["dog", "0.75", "cat", "0.25", "3"]]
    assert ran.err.startswith(f"ERROR: {images[2]}: model pets at {server.address} answered INVALID_ARGUMENT")


def test_the_command_prints_json_with_the_errors_in_it(server: Server, images: list[str]) -> None:
    ran = fovea("predict", "--model", "pets", "--endpoint", server.address, "--format", "json", *images)
    cat, _, broken = ran.json()
    assert (cat["image"], cat["label"], cat["version"]) == (images[0], "cat", 3)
    assert set(broken) == {"image", "error"}


def test_a_version_is_asked_for_and_a_missing_one_is_explained(server: Server, images: list[str]) -> None:
    assert predict("pets", images[0], endpoint=server.address, version=2)[0].version == 2
    ran = fovea("predict", "--model", "pets", "--endpoint", server.address, "--version", 9, images[0])
    assert ran.code == 1
    assert "Specific(pets, 9); `fovea versions list --model pets` shows its versions" in ran.err


def test_bytes_and_a_single_path_are_images_too(server: Server) -> None:
    assert predict("pets", b"a dog", endpoint=server.address)[0].label == "dog"
    with pytest.raises(InvalidError, match="no image was given"):
        predict("pets", [], endpoint=server.address)
    with pytest.raises(InvalidError, match=r"cannot read image nowhere.png: No such file"):
        predict("pets", "nowhere.png", endpoint=server.address)


def test_tensors_of_any_kind_go_in_and_out(server: Server) -> None:
    def double(request: Any, context: grpc.ServicerContext) -> Any:
        assert request.model_spec.signature_name == "pixels"
        assert list(request.output_filter) == ["y"]
        response = predict_pb2.PredictResponse()
        response.outputs["y"].CopyFrom(encode([value * 2 for value in decode(request.inputs["x"]).values]))
        return response

    server.predict = double
    with Predictor("pets", endpoint=server.address) as predictor:
        outputs = predictor.predict({"x": [1.0, 2.0]}, signature="pixels", outputs=["y"])
    assert outputs["y"].tolist() == [2.0, 4.0]


def test_a_message_far_above_the_usual_limit_goes_through(server: Server) -> None:
    with Predictor("pets", endpoint=server.address) as predictor:
        outputs = predictor.predict({signatures.IMAGE_INPUT: [b"x" * 20_000_000]})
    assert outputs[signatures.LABEL_OUTPUT].tolist() == [b"cat"]


def test_unavailable_is_tried_four_times_and_other_codes_once(server: Server) -> None:
    failures = 3

    def flaky(request: Any, context: grpc.ServicerContext) -> Any:
        if server.calls <= failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        return classifier(request, context)

    server.predict = flaky
    big = b"a dog" * 200_000  # above the channel's usual buffer for retries
    with Predictor("pets", endpoint=server.address) as predictor:
        assert predictor.classify([big])[0].label == "dog"
        assert server.calls == 4
        failures = 100
        with pytest.raises(UnreachableError, match=r"does not answer within 30 s \(draining\)"):
            predictor.predict({signatures.IMAGE_INPUT: [b"x"]})
        assert server.calls == 8
    server.predict = lambda request, context: context.abort(grpc.StatusCode.INTERNAL, "bug")
    with Predictor("pets", endpoint=server.address) as predictor, pytest.raises(PredictionError) as raised:
        predictor.predict({signatures.IMAGE_INPUT: [b"x"]})
    assert (raised.value.code, server.calls) == ("INTERNAL", 9)


def test_a_server_that_comes_up_late_is_waited_for(images: list[str]) -> None:
    server = Server()
    server.start()
    server.stop()  # its port is known now
    threading.Timer(1.0, server.start).start()
    try:
        with Predictor("pets", endpoint=server.address, timeout=20) as predictor:
            assert predictor.classify([b"x"])[0].label == "cat"
    finally:
        server.stop()


def test_a_server_that_never_comes_is_given_up_after_the_timeout() -> None:
    began = time.monotonic()
    ran = fovea("predict", "--model", "pets", "--endpoint", "127.0.0.1:1", "--timeout", "1s", __file__)
    assert time.monotonic() - began < 10
    assert ran.code == 1
    assert "model pets at 127.0.0.1:1 (--endpoint) does not answer within 1 s" in ran.err


def test_status_and_signatures_are_read(server: Server) -> None:
    with Predictor("pets", endpoint=server.address) as predictor:
        assert [(entry.version, entry.state) for entry in predictor.status()] == [(3, 30)]
        assert predictor.signatures()["serving_default"].inputs["image"].dtype == types_pb2.DT_STRING


def test_many_images_are_on_the_way_at_once(server: Server) -> None:
    together = threading.Barrier(4, timeout=20)

    def meeting(request: Any, context: grpc.ServicerContext) -> Any:
        together.wait()
        return classifier(request, context)

    server.predict = meeting
    with Predictor("pets", endpoint=server.address) as predictor:
        assert len(predictor.classify([b"x"] * 8)) == 8
