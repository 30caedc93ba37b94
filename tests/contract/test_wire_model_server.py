"""The client against the real model server, over gRPC and REST."""

from pathlib import Path

import pytest
from fovea.sdk import PredictionError, Predictor
from fovea_wire import types_pb2
from fovea_wire.tensors import encode
from support.command_line import fovea
from support.model_server import MODEL, ModelServer, png


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = []
    for name, brightness in (("bright", 250), ("dark", 5)):
        path = tmp_path / f"{name}.png"
        path.write_bytes(png(brightness))
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
def test_pictures_are_predicted_over_both_protocols(tiny_server: ModelServer, pictures: list[str], rest: bool) -> None:
    endpoint = f"127.0.0.1:{tiny_server.rest_port if rest else tiny_server.port}"
    extra = ["--rest"] if rest else []
    ran = fovea("predict", "--model", MODEL, "--endpoint", endpoint, "--format", "json", *extra, *pictures).ok()
    assert [answer["outputs"]["label"] for answer in ran.json()] == ["bright", "dark"]
    assert [round(answer["outputs"]["brightness"]) for answer in ran.json()] == [250, 5]


@pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
def test_a_file_that_is_no_picture_fails_alone(
    tiny_server: ModelServer, pictures: list[str], tmp_path: Path, rest: bool
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    endpoint = f"127.0.0.1:{tiny_server.rest_port if rest else tiny_server.port}"
    extra = ["--rest"] if rest else []
    ran = fovea("predict", "--model", MODEL, "--endpoint", endpoint, "--format", "json", *extra, broken, *pictures)
    assert ran.code == 1
    assert ["error" in answer for answer in ran.json()] == [True, False, False]
    assert f"ERROR: {broken}: " in ran.err


def test_tensors_signatures_and_status_of_the_server_are_read(tiny_server: ModelServer) -> None:
    with Predictor(MODEL, endpoint=tiny_server.address) as predictor:
        outputs, version = predictor.answer({"x": encode([1.0, 3.0], types_pb2.DT_FLOAT)}, signature="half_plus_two")
        assert outputs["y"].tolist() == [2.5, 3.5]
        assert version >= 1
        assert predictor.signatures()["half_plus_two"].inputs["x"].dtype == types_pb2.DT_FLOAT
        assert {entry.state for entry in predictor.status()} == {30}
        with pytest.raises(PredictionError) as raised:
            predictor.predict({"x": [1.0]}, signature="no-such-signature")
    assert raised.value.code == "FAILED_PRECONDITION"
    assert 'Serving signature key "no-such-signature" not found.' in str(raised.value)


def test_an_unknown_model_is_explained(tiny_server: ModelServer, pictures: list[str]) -> None:
    ran = fovea("predict", "--model", "nobody", "--endpoint", tiny_server.address, pictures[0])
    assert ran.code == 1
    assert "Servable not found for request: Latest(nobody); `fovea versions list --model nobody`" in ran.err
