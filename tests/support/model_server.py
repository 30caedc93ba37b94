"""A real model server process with tiny SavedModels, and clients for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fovea_dev.ports import free_ports
from support.polling import until

START_SECONDS = 400
"""The import of TensorFlow takes minutes where nothing is compiled yet, beside other work."""
MODEL = "tiny"


def png(brightness: int, size: int = 4) -> bytes:
    """A grey PNG picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([brightness]) * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def add_warm_up(version: Path, *requests: Any) -> None:
    """Write Predict requests as a model's warm-up records."""
    import tensorflow as tf
    from fovea_api.contract.signatures import WARMUP_FILE
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = version / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            entry = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            assert isinstance(request, predict_pb2.PredictRequest)
            writer.write(entry.SerializeToString())


def publish(source: Path, base: Path, version: int) -> Path:
    """Put a version where a server looks for it, as the agent does: copied aside, then renamed."""
    base.mkdir(parents=True, exist_ok=True)
    staging = base / f".staging-{version}"
    shutil.copytree(source, staging)
    return staging.rename(base / str(version))


@dataclass
class ModelServer:
    """A running server process; `log` is what it wrote so far."""

    process: subprocess.Popen[bytes]
    port: int
    rest_port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def rest(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON (or text) and headers of a REST request."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, _content(reply.read()), dict(reply.headers)
        except urllib.error.HTTPError as error:
            return error.code, _content(error.read()), dict(error.headers)

    def wait_until_open(self) -> None:
        def opened() -> bool:
            assert self.process.poll() is None, self.log
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
            return False

        until(opened, seconds=START_SECONDS, what="open gRPC port")


def _content(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode()


@contextlib.contextmanager
def model_server(
    folder: Path,
    *flags: str,
    env: dict[str, str] | None = None,
    wait: bool = True,
    files: tuple[int, int] | None = None,
) -> Iterator[ModelServer]:
    """A server started with these flags and free ports; killed at the end if it is still there.

    `files` are its soft and hard limit of open files.
    """
    port, rest_port = free_ports(2)
    log_file = folder / f"server-{port}.log"
    command = [
        sys.executable,
        "-m",
        "fovea_serving.server.main",
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        *flags,
    ]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command if files is None else ["prlimit", f"--nofile={files[0]}:{files[1]}", *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **(env or {})},
        )
    server = ModelServer(process, port, rest_port, log_file)
    try:
        if wait:
            server.wait_until_open()
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(30)


class Client:
    """gRPC stubs, and requests made of plain values."""

    def __init__(self, address: str) -> None:
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        self.channel = grpc.insecure_channel(address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, request: Any, timeout: float = 60) -> dict[str, list[Any]]:
        """Outputs of a Predict call as lists."""
        import tensorflow as tf

        response = self.prediction.Predict(request, timeout=timeout)
        return {name: tf.make_ndarray(tensor).tolist() for name, tensor in response.outputs.items()}

    def states(self, model: str = MODEL) -> dict[int, tuple[int, str]]:
        """State number and error text by version."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        response = self.models.GetModelStatus(request, timeout=30)
        return {one.version: (one.state, one.status.error_message) for one in response.model_version_status}


def predict_request(
    signature: str = "", inputs: dict[str, Any] | None = None, *, model: str = MODEL, version: int | None = None,
    label: str | None = None, outputs: Sequence[str] = (),
) -> Any:  # fmt: skip
    """A PredictRequest; values that are no TensorProto are made one (floats as float32)."""
    import numpy as np
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for name, value in (inputs or {}).items():
        if isinstance(value, tensor_pb2.TensorProto):
            request.inputs[name].CopyFrom(value)
        else:
            dtype = tf.float32 if np.asarray(value).dtype == np.float64 else None
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype=dtype))
    return request


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny SavedModel (one version's folder), made once."""
    from support.tiny_model import save_model

    folder = tmp_path_factory.mktemp("saved-model") / "1"
    save_model(folder)
    return folder


@pytest.fixture(scope="session")
def saved_model_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, whose half_plus_two gives 100 more."""
    from support.tiny_model import save_model

    folder = tmp_path_factory.mktemp("saved-model") / "2"
    save_model(folder, bias=100.0)
    return folder


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory, saved_model: Path) -> Iterator[ModelServer]:
    """A server of the tiny model, version 1, with one runner, shared by tests that do not change it."""
    folder = tmp_path_factory.mktemp("tiny-server")
    publish(saved_model, folder / "models", 1)
    monitoring = folder / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }')
    batching = folder / "batching.config"
    batching.write_text("num_batch_threads { value: 1 }")
    flags = [f"--model_name={MODEL}", f"--model_base_path={folder / 'models'}", "--monitoring_config_file",
             str(monitoring),
             "--rest_api_max_body_bytes=1000000", "--rest_api_max_body_values=100000", "--rest_api_enable_cors_support", "--enable_profiler=false",
             f"--batching_parameters_file={batching}",
             "--rest_api_timeout_in_ms=20000", "--max_num_load_retries=0"]  # fmt: skip
    with model_server(folder, *flags) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_client(tiny_server: ModelServer) -> Client:
    """A client of the shared server."""
    return Client(tiny_server.address)
