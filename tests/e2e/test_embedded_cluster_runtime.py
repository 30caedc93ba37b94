"""Whether a container runtime is ready: not before its CRI service answers."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from fovea_dev.node import cri_answers


@contextmanager
def _runtime(path: Path, answer: grpc.RpcMethodHandler) -> Iterator[None]:
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", {"Version": answer})]
    )
    server.add_insecure_port(f"unix://{path}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


def _version(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return b"\x0a\x050.1.0"


def _not_initialized(_request: bytes, context: grpc.ServicerContext) -> bytes:
    return context.abort(grpc.StatusCode.UNKNOWN, "server is not initialized yet")


def test_a_runtime_that_answers_is_ready(tmp_path: Path) -> None:
    with _runtime(tmp_path / "cri.sock", grpc.unary_unary_rpc_method_handler(_version)):
        assert cri_answers(tmp_path / "cri.sock")


def test_a_runtime_that_listens_before_it_is_initialized_is_not_ready(tmp_path: Path) -> None:
    with _runtime(tmp_path / "cri.sock", grpc.unary_unary_rpc_method_handler(_not_initialized)):
        assert not cri_answers(tmp_path / "cri.sock")


@pytest.mark.parametrize("listening", [True, False])
def test_a_socket_behind_which_nobody_answers_is_not_ready(tmp_path: Path, listening: bool) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "cri.sock"))
        if listening:
            server.listen()
        assert not cri_answers(tmp_path / "cri.sock")


def test_no_socket_is_not_ready(tmp_path: Path) -> None:
    assert not cri_answers(tmp_path / "cri.sock")
