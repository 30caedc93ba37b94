"""Connections of the REST port: what one client may do to the others by sending nothing, half, too much, or compressed."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fovea_serving.protocol import compression
from fovea_serving.server import connections
from support import played_inference
from support.played_inference import SECONDS, Client, Inference, rest_port, seen

STATUS = b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n"
EXAMPLES = json.dumps({"examples": [{"x": 1.0}]}).encode()


def run(test: Callable[[int, Inference], Awaitable[None]], **settings: Any) -> None:
    played_inference.run(rest_port, test, **settings)


def post(body: bytes, *headers: str) -> bytes:
    head = ["POST /v1/models/m:classify HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize("requests", [1, 3])
def test_a_client_that_half_closes_after_its_requests_gets_every_answer(requests: int) -> None:
    async def test(port: int, inference: Inference) -> None:
        inference.gate.clear()
        client = await Client.open(port, sent=post(EXAMPLES) * requests)
        client.writer.write_eof()
        await seen(lambda: inference.asked)
        inference.gate.set()
        assert [await client.status() for _ in range(requests)] == [200] * requests
        assert await client.closed()

    run(test)


def test_a_client_that_half_closes_within_its_body_is_closed() -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=post(EXAMPLES)[:-1])
        client.writer.write_eof()
        assert await client.closed()
        assert not inference.asked

    run(test)


@pytest.mark.parametrize("sent", [b"", b"GET /v1/mod", STATUS[:-2], STATUS + STATUS[:10]], ids=repr)
def test_a_connection_whose_request_does_not_come_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)

    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=sent[: len(STATUS)])
        if len(sent) > len(STATUS):
            assert await client.status() == 200
            client.writer.write(sent[len(STATUS) :])
        assert await client.closed()

    run(test)


def test_a_head_that_drips_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)

    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=b"GET / HTTP/1.1\r\nX-A: ")
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                while not client.writer.is_closing() and not client.reader.at_eof():
                    client.writer.write(b"G")
                    await client.writer.drain()
                    await asyncio.sleep(0.02)
        assert await client.closed()

    run(test)


def test_a_connection_is_kept_between_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)

    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=STATUS)
        for _ in range(3):
            assert await client.status() == 200
            await asyncio.sleep(0.1)
            client.writer.write(STATUS)

    run(test)


def test_a_body_that_stops_coming_is_given_up_even_without_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.2)

    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=post(EXAMPLES)[:-1])
        assert await client.status() == 408

    run(test, timeout=None)


def test_a_client_that_does_not_read_its_reply_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.3)
    closed: list[Any] = []
    lost = connections.Connections.connection_lost

    def connection_lost(*args: Any) -> None:
        closed.append(args)
        lost(*args)

    monkeypatch.setattr(connections.Connections, "connection_lost", connection_lost)

    async def test(port: int, inference: Inference) -> None:
        inference.text = "x" * 2**25
        silent = socket.create_connection(("127.0.0.1", port))
        silent.sendall(STATUS)
        silent.setblocking(False)
        await seen(lambda: closed)
        got = 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                while data := await asyncio.get_running_loop().sock_recv(silent, 2**20):
                    got += len(data)
        silent.close()
        assert got < len(inference.text), "the reply was still there: the connection was not closed"

    run(test)


def test_connections_without_a_request_give_way_to_new_ones() -> None:
    async def test(port: int, inference: Inference) -> None:
        kept = await Client.open(port, sent=STATUS)
        assert await kept.status() == 200
        silent = [await Client.open(port) for _ in range(30)]
        for _ in range(3):
            client = await Client.open(port, sent=STATUS)
            assert await client.status() == 200
            client.writer.close()
        assert await silent[0].closed()
        kept.writer.write(STATUS)
        assert await kept.status() == 200, "silent connections go before one that has asked"

    run(test, most_connections=10)


def test_a_connection_too_many_is_told_so_when_every_other_is_under_way() -> None:
    async def test(port: int, inference: Inference) -> None:
        inference.gate.clear()
        busy = [await Client.open(port, sent=post(EXAMPLES)) for _ in range(3)]
        await seen(lambda: inference.asked == 3)
        more = await Client.open(port, sent=STATUS)
        assert await more.status() == 503
        assert json.loads(more.body) == {
            "error": "The server holds as many connections as it may, and each is under way: try again later"
        }
        inference.gate.set()
        assert [await one.status() for one in busy] == [200] * 3

    run(test, most_connections=3)


@pytest.mark.parametrize(
    "head",
    [
        f"GET /v1/models/m HTTP/1.1\r\nHost: x\r\nAuthorization: {'a' * 60_000}\r\n\r\n",
        "GET /v1/models/m HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{n}: {'b' * 90}\r\n" for n in range(600)) + "\r\n",
        f"GET /v1/models/{'m' * 60_000} HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["one long header", "many headers", "a long path"],
)
def test_a_head_of_60_000_bytes_is_read(head: str) -> None:
    async def test(port: int, inference: Inference) -> None:
        assert await (await Client.open(port, sent=head.encode())).status() == 200

    run(test)


def test_a_head_without_end_is_refused_as_json() -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(
            port, sent=b"GET / HTTP/1.1\r\n" + b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1000
        )
        await client.writer.drain()
        for _ in range(3):
            client.writer.write(b"X-A: " + b"b" * 30_000 + b"\r\n")
        assert await client.status() == 431
        assert "longer than 65536 bytes" in json.loads(client.body)["error"]

    run(test)


def test_what_is_not_http_is_refused_as_json(caplog: pytest.LogCaptureFixture) -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        assert await client.status() == 400
        assert list(json.loads(client.body)) == ["error"]

    run(test)
    assert "Traceback" not in caplog.text


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async def test(port: int, inference: Inference) -> None:
        whole = post(EXAMPLES, "Expect: 100-continue")
        client = await Client.open(port, sent=whole[: -len(EXAMPLES)])
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        client.writer.write(EXAMPLES)
        assert await client.status() == 200

    run(test)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_rest_port_is_open_on_both_families(host: str) -> None:
    async def test(port: int, inference: Inference) -> None:
        assert await (await Client.open(port, host, STATUS)).status() == 200

    run(test)


RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {
    "gzip": gzip.compress(EXAMPLES, mtime=0),
    "x-gzip": gzip.compress(EXAMPLES, mtime=0),
    "GZIP ": gzip.compress(EXAMPLES[:5]) + gzip.compress(EXAMPLES[5:]) + b"\0\0",
    "deflate": zlib.compress(EXAMPLES),
    "Deflate": RAW.compress(EXAMPLES) + RAW.flush(),
    "identity": EXAMPLES,
}


@pytest.mark.parametrize("encoding", PACKED)
def test_a_compressed_body_is_read(encoding: str) -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=post(PACKED[encoding], f"Content-Encoding: {encoding}"))
        assert await client.status() == 200, client.body

    run(test)


@pytest.mark.parametrize(
    ("encoding", "body", "status", "text"),
    [
        ("gzip", gzip.compress(EXAMPLES, mtime=0)[:-9], 400, "The body ends before its encoding gzip does"),
        ("gzip", EXAMPLES, 400, "The body is not what its encoding gzip says"),
        ("deflate", b"\xff\xff", 400, "The body is not what its encoding deflate says"),
        ("br", EXAMPLES, 400, "Content-Encoding 'br' is not read here: send gzip, deflate or no encoding"),
        ("gzip", gzip.compress(bytes(100_001), mtime=0), 413, "The body is longer than 100000 bytes"),
        ("gzip", gzip.compress(bytes(60_000), mtime=0) * 2, 413, "The body is longer than 100000 bytes"),
    ],
)
def test_a_compressed_body_that_cannot_be_read_is_refused(encoding: str, body: bytes, status: int, text: str) -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=post(body, f"Content-Encoding: {encoding}"))
        assert (await client.status(), json.loads(client.body)["error"][: len(text)]) == (status, text)

    run(test, max_body_bytes=100_000)


def test_no_more_of_a_body_is_unpacked_than_it_may_be_long() -> None:
    bomb = gzip.compress(bytes(2**26))
    with pytest.raises(compression.TooLargeError):
        compression.unpack(bomb, "gzip", 1000)
    assert len(compression.unpack(gzip.compress(bytes(1000)), "gzip", 1000)) == 1000


def test_others_are_answered_while_a_body_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on, unpack = threading.Event(), threading.Event(), compression.unpack

    def held(*args: Any) -> bytes:
        entered.set()
        assert go_on.wait(SECONDS), "the server stood still"
        return unpack(*args)

    monkeypatch.setattr(compression, "unpack", held)

    async def test(port: int, inference: Inference) -> None:
        packed = await Client.open(port, sent=post(gzip.compress(EXAMPLES, mtime=0), "Content-Encoding: gzip"))
        assert await asyncio.to_thread(entered.wait, SECONDS)
        assert await (await Client.open(port, sent=STATUS)).status() == 200
        go_on.set()
        assert await packed.status() == 200

    run(test)


def test_room_is_kept_for_other_files_and_for_each_port() -> None:
    for files in (64, 256, 1024, 4096, 20_000, 2**20):
        for ports in (1, 2, 3):
            most = connections.most_connections(files, ports)
            assert 1 <= most <= connections.MOST_CONNECTIONS
            assert files - ports * most >= min(files // 4, connections.SPARE_FILES)
