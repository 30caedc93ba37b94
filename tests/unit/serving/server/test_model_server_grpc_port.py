"""The gRPC port: error texts, metadata, deadlines, compressed messages and connections, through real clients."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from fovea_serving.protocol import compression
from fovea_serving.protocol.errors import LONGEST_MESSAGE, invalid_argument
from fovea_serving.server import grpc_channel
from support import played_inference
from support.played_inference import SECONDS, Inference, grpc_port
from support.polling import until
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

METHOD = "/tensorflow.serving.PredictionService/Predict"


def run(test: Callable[[int, Inference], Awaitable[None]], **options: Any) -> None:
    played_inference.run(grpc_port, test, **options)


def request(name: str = "m", size: int = 0) -> Any:
    made = predict_pb2.PredictRequest()
    made.model_spec.name = name
    if size:
        made.inputs["x"].tensor_content = bytes(size)
    return made


async def call(port: int, message: Any = None, host: str = "127.0.0.1", **options: Any) -> Any:
    """The reply, or the error, of a client that keeps to the headers that clients in other languages take."""
    limits = [("grpc.max_metadata_size", 8192), ("grpc.absolute_max_metadata_size", 8192)]
    async with grpc.aio.insecure_channel(f"{host}:{port}", options=limits) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            return await stub.Predict(message or request(), timeout=options.pop("timeout", SECONDS), **options)
        except grpc.aio.AioRpcError as error:
            return error


TEXTS = {
    "ASCII": "The model has no input 'x'. ",
    "Chinese": "模型没有输入",
    "emoji": "🤗👩‍👩‍👧‍👦",
    "percent signs and line ends": "100%\r\n\0",
    "a lone surrogate": "\udcff\ud83e",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_long_error_keeps_its_code_and_the_beginning_of_its_text(kind: str) -> None:
    text = (TEXTS[kind] * 2000)[:2000]

    async def test(port: int, inference: Inference) -> None:
        inference.error = invalid_argument(text)
        error = await call(port)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        said = error.details()
        assert said.endswith("...")
        assert text.encode("utf-8", "backslashreplace").decode().startswith(said.removesuffix("..."))
        assert LONGEST_MESSAGE - 4 < len(said.encode()) <= LONGEST_MESSAGE

    run(test)


@pytest.mark.parametrize("headers", [[("x-long", "a" * 60_000)], [(f"x-{n}", "b" * 80) for n in range(480)]])
def test_60_000_bytes_of_metadata_are_taken(headers: list[tuple[str, str]]) -> None:
    async def test(port: int, inference: Inference) -> None:
        assert (await call(port, metadata=headers)).model_spec.name == "m"

    run(test)


def told(inference: Inference) -> dict[str, int]:
    found = re.findall(r'request_count\{model_name="slow",status="(\w+)"\} (\d+)', inference.metrics.page())
    return {status: int(count) for status, count in found}


@pytest.mark.parametrize("timeout", [0.05, 0.3, 1.234])
def test_every_deadline_counts_as_one_whoever_notices_it_first(timeout: float) -> None:
    async def test(port: int, inference: Inference) -> None:
        while sum(told(inference).values()) < 20:  # a call whose time is up on its way is not counted: it never came
            errors = await asyncio.gather(*(call(port, request("slow"), timeout=timeout) for _ in range(20)))
            assert {error.code() for error in errors} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            await asyncio.to_thread(
                until, lambda: "in_flight{} 0\n" in inference.metrics.page(), what="no call under way"
            )
        assert set(told(inference)) == {"DEADLINE_EXCEEDED"}

    run(test)


def test_a_caller_that_leaves_before_its_deadline_counts_as_cancelled() -> None:
    async def test(port: int, inference: Inference) -> None:
        leaving = asyncio.create_task(call(port, request("slow"), timeout=SECONDS))
        await asyncio.to_thread(until, lambda: "in_flight{} 1\n" in inference.metrics.page(), what="request under way")
        leaving.cancel()
        await asyncio.to_thread(until, lambda: told(inference), what="counted request")
        assert told(inference) == {"CANCELLED": 1}

    run(test)


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression])
def test_a_compressed_message_is_read(kind: grpc.Compression) -> None:
    async def test(port: int, inference: Inference) -> None:
        for size in (0, 100, 2**20):
            wanted = request(size=size)
            reply = await call(port, wanted, compression=kind)
            assert reply.model_spec.version.value == wanted.ByteSize(), reply

    run(test)


def test_no_more_of_a_message_is_unpacked_than_it_may_be_long_and_a_plain_one_may_be_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grpc_channel.Unpacking.__init__, "__defaults__", (2**20,))

    async def test(port: int, inference: Inference) -> None:
        error = await call(port, request(size=2**20 + 1), compression=grpc.Compression.Gzip)
        assert (error.code(), error.details()) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "The compressed message is longer than 1048576 bytes when it is unpacked: send it uncompressed",
        )
        assert (await call(port, request(size=2**20 + 1))).model_spec.name == "m"

    run(test)


def test_others_are_answered_while_a_message_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on, unpack = threading.Event(), threading.Event(), compression.unpack

    def held(*args: Any) -> bytes:
        entered.set()
        assert go_on.wait(SECONDS), "the server stood still"
        return unpack(*args)

    monkeypatch.setattr(compression, "unpack", held)

    async def test(port: int, inference: Inference) -> None:
        packed = asyncio.create_task(call(port, request(size=2**20), compression=grpc.Compression.Gzip))
        assert await asyncio.to_thread(entered.wait, SECONDS)
        assert (await call(port)).model_spec.name == "m"
        go_on.set()
        assert (await packed).model_spec.name == "m"

    run(test)


def test_a_message_that_is_none_is_refused() -> None:
    async def test(port: int, inference: Inference) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for data in (b"\xff\xff\xff", b"\x1f\x8b\x08no gzip"):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(METHOD)(data, timeout=SECONDS)
                assert caught.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
        assert (await call(port)).model_spec.name == "m"

    run(test)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_grpc_port_is_open_on_both_families(host: str) -> None:
    async def test(port: int, inference: Inference) -> None:
        assert (await call(port, host=host)).model_spec.name == "m"

    run(test)


def closed(client: socket.socket) -> bool:
    client.settimeout(SECONDS)
    try:
        while client.recv(4096):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE])
def test_a_connection_on_which_nothing_comes_is_closed(sent: bytes) -> None:
    async def test(port: int, inference: Inference) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent)
            assert await asyncio.to_thread(closed, client)

    run(test, **{"grpc.server_handshake_timeout_ms": 300})


def test_a_client_that_stops_within_a_frame_is_closed() -> None:
    async def test(port: int, inference: Inference) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            # SETTINGS and their acknowledgment, then a HEADERS frame of 100 bytes of which one comes.
            settings = b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0"
            client.sendall(PREFACE + settings + b"\0\0\x64\1\4\0\0\0\1" + b"\x82")
            assert await asyncio.to_thread(closed, client)

    run(test, **{"grpc.keepalive_time_ms": 1000, "grpc.http2.ping_timeout_ms": 300})


def test_a_connection_that_answers_pings_and_does_nothing_else_is_closed() -> None:
    async def test(port: int, inference: Inference) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), SECONDS)
            await asyncio.wait_for(channel.wait_for_state_change(grpc.ChannelConnectivity.READY), SECONDS)

    run(test, **{"grpc.max_connection_age_ms": 300})


def test_no_call_is_lost_when_connections_end_by_their_age() -> None:
    ends = []

    async def test(port: int, inference: Inference) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while len(ends) < 3:
                await stub.Predict(request(), timeout=SECONDS)
                if channel.get_state() is not grpc.ChannelConnectivity.READY:
                    ends.append(True)

    run(test, **{"grpc.max_connection_age_ms": 100})


def test_a_call_whose_message_never_ends_is_cut() -> None:
    async def test(port: int, inference: Inference) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_unary(METHOD)()
            await call.write(request().SerializeToString()[:1])
            with pytest.raises(grpc.aio.AioRpcError):
                await asyncio.wait_for(call, SECONDS)

    run(test, **{"grpc.max_connection_age_ms": 100, "grpc.max_connection_age_grace_ms": 100})


def test_every_bound_of_a_connection_is_set_and_the_command_line_may_change_it() -> None:
    found = dict(grpc_channel.options([("grpc.max_connection_age_ms", 5), ("grpc.own", 1)], 7))
    assert found["grpc.max_allowed_incoming_connections"] == 7
    assert found["grpc.server_handshake_timeout_ms"] == 20_000
    assert found["grpc.max_connection_age_grace_ms"] == 600_000
    assert (found["grpc.max_connection_age_ms"], found["grpc.own"]) == (5, 1)
    assert dict(grpc_channel.options([], 7))["grpc.max_connection_age_ms"] == 600_000
