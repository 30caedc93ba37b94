"""What the tutorials send to a model, by curl and from Python, reaches it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk.rest import classify
from fovea_wire import predict_pb2
from fovea_wire.tensors import encode
from support.one_deployment import OneDeployment
from support.page_commands import ROOT, blocks, commands
from support.prediction_server import PredictionServer
from support.rest_recorder import rest_recorder

TUTORIAL = ROOT / "docs/tutorial/first-model.md"
CELLS = ROOT / "docs/tutorial/cells.md"
PICTURE = b"\x89PNG, and any bytes: \x00\xff\n"


@pytest.fixture
def server() -> Iterator[PredictionServer]:
    made = PredictionServer()
    made.start()
    yield made
    made.stop()


def sent_by_the_client() -> tuple[str, Any]:
    """Path and body of the request for a picture."""
    with rest_recorder() as server:
        classify("my-model", [PICTURE], endpoint=server.address)
    [request] = server.asked
    return request.path, request.body


def test_the_tutorial_s_curl_sends_what_the_client_sends(tmp_path: Path) -> None:
    [command] = [command for command in commands(TUTORIAL) if "curl" in command.text]
    (tmp_path / "picture.jpg").write_bytes(PICTURE)
    curl = tmp_path / "bin/curl"
    curl.parent.mkdir()
    curl.write_text('#!/bin/sh\necho "$@" >words\ncat >body\n')
    curl.chmod(0o755)
    environment = {**os.environ, "PATH": f"{curl.parent}{os.pathsep}{os.environ['PATH']}"}

    subprocess.run(["sh", "-euc", command.text], cwd=tmp_path, env=environment, check=True)

    path, body = sent_by_the_client()
    assert (tmp_path / "words").read_text().split() == ["--data-binary", "@-", f"http://my-model.vision.svc:8501{path}"]
    assert json.loads((tmp_path / "body").read_text()) == body


@pytest.fixture
def run(server: PredictionServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """Runs the program of a page that asks a model of the namespace of the tutorials; the model is at the server."""

    def run(page: Path, model: str) -> None:
        def cluster(**given: Any) -> OneDeployment:
            assert given["namespace"] == OneDeployment.namespace
            return OneDeployment(model, externalGrpc=server.address)

        monkeypatch.setattr("fovea.sdk.client.Cluster", cluster)
        monkeypatch.chdir(tmp_path)
        [program] = [block for block in blocks(page.read_text(encoding="utf-8"), "python") if "fovea.Client(" in block]
        exec(program, {})
        assert server.calls == 1

    return run


def test_the_tutorial_s_program_classifies_a_picture(
    run: Callable[[Path, str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "picture.jpg").write_bytes(PICTURE)
    run(TUTORIAL, "my-model")
    assert "label='cat'" in capsys.readouterr().out


def test_the_program_for_cells_writes_the_mask(
    run: Callable[[Path, str], None], server: PredictionServer, tmp_path: Path
) -> None:
    def answer(request: predict_pb2.PredictRequest, _: object) -> predict_pb2.PredictResponse:
        assert list(request.output_filter) == ["mask_bytes"]
        response = predict_pb2.PredictResponse()
        response.outputs["mask_bytes"].CopyFrom(encode([b"a mask"]))
        return response

    server.predict = answer
    picture = tmp_path / "cells/Images/cells-0200.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(PICTURE)
    run(CELLS, "cells")
    assert (tmp_path / "mask.png").read_bytes() == b"a mask"
