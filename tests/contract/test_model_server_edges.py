"""A real server at its edges: silent clients, words of the runtime that are not UTF-8, and what it does not import."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fovea_dev.ports import free_ports
from support.model_server import MODEL, START_SECONDS, Client, ModelServer, model_server, predict_request, publish
from support.polling import until

SECONDS = 90
SILENT = 1100
HALF_HEAD = b"GET /v1/models/tiny HTTP/1.1\r\nHost: x\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n"


@contextlib.contextmanager
def silent_clients(port: int, half: bytes) -> Iterator[None]:
    """Connections that send nothing, and as many that send half of what they should."""
    opened: list[socket.socket] = []
    try:
        for number in range(SILENT):
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
            opened.append(client)
            if number % 2:
                with contextlib.suppress(OSError):
                    client.sendall(half)
        yield
    finally:
        for client in opened:
            client.close()


def healthy(server: ModelServer) -> bool:
    """A health check on a connection of its own, as the kubelet makes it."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def test_silent_clients_take_neither_port_down(tmp_path: Path, saved_model: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 2 * SILENT, "this process must be able to open the connections"
    publish(saved_model, tmp_path / "models", 1)
    flags = [f"--model_name={MODEL}", f"--model_base_path={tmp_path / 'models'}"]
    with model_server(tmp_path, *flags, files=(256, 1024)) as server:
        client = Client(server.address)
        request = predict_request("half_plus_two", {"x": [2.0]})
        body = {"signature_name": "half_plus_two", "instances": [2.0]}

        def predicts() -> bool:
            over_rest = server.rest("POST", f"/v1/models/{MODEL}:predict", body)[:2]
            return client.predict(request) == {"y": [3.0]} and over_rest == (200, {"predictions": [3.0]})

        assert predicts()
        assert healthy(server)
        with silent_clients(server.rest_port, HALF_HEAD):
            assert predicts()
            assert healthy(server)
        with silent_clients(server.port, PREFACE):
            assert predicts(), "who is connected already, and REST, are served meanwhile"
            until(lambda: healthy(server), seconds=SECONDS, what="health of a new client: silent ones are closed")
            assert predicts()


def test_what_the_runtime_says_keeps_its_words_when_they_are_not_utf_8(tmp_path: Path) -> None:
    import numpy as np
    import tensorflow as tf
    from fovea_serving.protocol.errors import ServingError
    from fovea_serving.server import servable

    class Numbers(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def __call__(self, text: Any) -> Any:
            return {"number": tf.strings.to_number(text)}

    numbers = Numbers()
    tf.saved_model.save(numbers, str(tmp_path / "1"), signatures={"serving_default": numbers.__call__})
    loaded = servable.load(tmp_path / "1", servable.SessionSettings())
    signature = loaded.signatures["serving_default"]
    for data, said in ((b"abc", "abc"), (b"a\xff\xfeb", "a��b"), ("数".encode()[:2] + b"!", "�!")):
        with pytest.raises(ServingError) as caught:
            loaded.run(signature, [np.array([data], dtype=object)], ["number"])
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
        assert f"StringToNumberOp could not correctly convert string: {said}" in caught.value.message


SERVE_ONCE = """
import os, signal, sys, threading, urllib.request
from fovea_serving.server.main import main

def ask(port, rest_port, folder):
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=120, wait_for_ready=True)
    body = b'{"signature_name": "half_plus_two", "instances": [2.0]}'
    with urllib.request.urlopen(f"http://127.0.0.1:{rest_port}/v1/models/tiny:predict", body, 60) as reply:
        print(reply.status, flush=True)
    print("tensorflow" in sys.modules, [name for name in sys.modules if name.partition(".")[0] == "keras"], flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

port, rest_port, folder = sys.argv[1:]
threading.Thread(target=ask, args=sys.argv[1:], daemon=True).start()
sys.exit(main([f"--port={port}", f"--rest_api_port={rest_port}", "--model_name=tiny", f"--model_base_path={folder}"]))
"""


def test_a_server_that_has_answered_has_not_imported_keras(tmp_path: Path, saved_model: Path) -> None:
    publish(saved_model, tmp_path / "models", 1)
    ports = map(str, free_ports(2))
    command = [sys.executable, "-c", SERVE_ONCE, *ports, str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * START_SECONDS, check=False)
    assert (done.stdout.splitlines(), done.returncode) == (["200", "True []"], 0), done.stderr[-2000:]
