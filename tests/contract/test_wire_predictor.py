"""`fovea predict` and the Predictor against a small gRPC server on the loopback interface that speaks the wire."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from fovea.sdk import InvalidError, PredictionError, Predictor, UnreachableError, predict
from fovea_api.contract import signatures
from fovea_dev.ports import free_ports
from fovea_wire import predict_pb2, types_pb2
from fovea_wire.tensors import decode, encode
from support.command_line import fovea
from support.prediction_server import PredictionServer, classifier


@pytest.fixture
def server() -> Iterator[PredictionServer]:
    running = PredictionServer()
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


def test_images_are_classified_in_order_and_a_bad_one_fails_alone(server: PredictionServer, images: list[str]) -> None:
    with Predictor("pets", endpoint=server.address) as predictor:
        cat, dog, broken = predictor.classify(images)
    assert (cat.label, cat.score, cat.version) == ("cat", pytest.approx(0.9), 3)
    assert (dog.label, dict(dog.scores)) == ("dog", {"cat": 0.25, "dog": 0.75})
    assert broken.error.endswith("answered INVALID_ARGUMENT: image 0 is no picture")
    assert (broken.label, dict(broken.scores)) == ("", {})


def test_the_command_prints_a_table_and_fails_for_the_bad_image(server: PredictionServer, images: list[str]) -> None:
    ran = fovea("predict", "--model", "pets", "--endpoint", server.address, *images)
    assert ran.code == 1
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0] == ["IMAGE", "LABEL", "SCORE", "NEXT", "VERSION"]
    assert [row[1:] for row in rows[1:]] == [["cat", "0.9", "dog", "0.1", "3"], ["dog", "0.75", "cat", "0.25", "3"]]
    assert ran.err.startswith(f"ERROR: {images[2]}: model pets at {server.address} answered INVALID_ARGUMENT")


def test_the_command_prints_json_with_the_errors_in_it(server: PredictionServer, images: list[str]) -> None:
    ran = fovea("predict", "--model", "pets", "--endpoint", server.address, "--format", "json", *images)
    cat, _, broken = ran.json()
    assert (cat["image"], cat["label"], cat["version"]) == (images[0], "cat", 3)
    assert set(broken) == {"image", "error"}


def test_a_version_is_asked_for_and_a_missing_one_is_explained(server: PredictionServer, images: list[str]) -> None:
    assert predict("pets", images[0], endpoint=server.address, version=2)[0].version == 2
    ran = fovea("predict", "--model", "pets", "--endpoint", server.address, "--version", 9, images[0])
    assert ran.code == 1
    assert "Specific(pets, 9); `fovea versions list --model pets` shows its versions" in ran.err


def test_bytes_and_a_single_path_are_images_too(server: PredictionServer) -> None:
    assert predict("pets", b"a dog", endpoint=server.address)[0].label == "dog"
    with pytest.raises(InvalidError, match="no image was given"):
        predict("pets", [], endpoint=server.address)
    with pytest.raises(InvalidError, match=r"cannot read image nowhere.png: No such file"):
        predict("pets", "nowhere.png", endpoint=server.address)


def test_tensors_of_any_kind_go_in_and_out(server: PredictionServer) -> None:
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


def test_a_message_far_above_the_usual_limit_goes_through(server: PredictionServer) -> None:
    with Predictor("pets", endpoint=server.address) as predictor:
        outputs = predictor.predict({signatures.IMAGE_INPUT: [b"x" * 20_000_000]})
    assert outputs[signatures.LABEL_OUTPUT].tolist() == [b"cat"]


def test_unavailable_is_tried_four_times_and_other_codes_once(server: PredictionServer) -> None:
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
        with pytest.raises(UnreachableError, match=r"could not be reached, or refused \(draining\)"):
            predictor.predict({signatures.IMAGE_INPUT: [b"x"]})
        assert server.calls == 8
    server.predict = lambda request, context: context.abort(grpc.StatusCode.INTERNAL, "bug")
    with Predictor("pets", endpoint=server.address) as predictor, pytest.raises(PredictionError) as raised:
        predictor.predict({signatures.IMAGE_INPUT: [b"x"]})
    assert (raised.value.code, server.calls) == ("INTERNAL", 9)


def test_a_server_that_comes_up_late_is_waited_for(images: list[str]) -> None:
    server = PredictionServer()
    (server.port,) = free_ports(1)
    try:
        with socket.create_server(("127.0.0.1", server.port)) as nobody, ThreadPoolExecutor(1) as beside:

            def start_once_asked() -> None:
                nobody.accept()[0].close()
                nobody.close()
                server.start()

            started = beside.submit(start_once_asked)
            with Predictor("pets", endpoint=server.address, timeout=60) as predictor:
                assert predictor.classify([b"x"])[0].label == "cat"
            started.result()
    finally:
        server.stop()


def test_a_server_that_never_comes_is_given_up_after_the_timeout() -> None:
    began = time.monotonic()
    ran = fovea("predict", "--model", "pets", "--endpoint", "127.0.0.1:1", "--timeout", "1s", __file__)
    assert time.monotonic() - began < 10
    assert ran.code == 1
    assert "model pets at 127.0.0.1:1 (--endpoint) does not answer within 1 s" in ran.err


def test_status_and_signatures_are_read(server: PredictionServer) -> None:
    with Predictor("pets", endpoint=server.address) as predictor:
        assert [(entry.version, entry.state) for entry in predictor.status()] == [(3, 30)]
        assert predictor.signatures()["serving_default"].inputs["image"].dtype == types_pb2.DT_STRING


def test_many_images_are_on_the_way_at_once(server: PredictionServer) -> None:
    together = threading.Barrier(4, timeout=20)

    def meeting(request: Any, context: grpc.ServicerContext) -> Any:
        together.wait()
        return classifier(request, context)

    server.predict = meeting
    with Predictor("pets", endpoint=server.address) as predictor:
        assert len(predictor.classify([b"x"] * 8)) == 8
