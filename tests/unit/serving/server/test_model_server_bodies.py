"""Bodies of the REST port: large ones, late ones, and ones that are answered before they are whole."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from fovea_dev.ports import free_ports
from fovea_serving.protocol import json_requests
from fovea_serving.server import connections, rest
from fovea_serving.server.memory import RequestMemory
from fovea_serving.server.metrics import Metrics
from support import played_inference
from support.played_inference import SECONDS, Client, Inference, rest_port, seen

STATUS = b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n"
EXAMPLES = json.dumps({"examples": [{"x": 1.0}]}).encode()


def run(test: Callable[[int, Inference], Awaitable[None]], **settings: Any) -> None:
    played_inference.run(rest_port, test, **settings)


def head(length: int, *headers: str, path: str = "/v1/models/m:classify") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post(body: bytes, *headers: str) -> bytes:
    return head(len(body), *headers) + body


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_lone_body_is_answered_however_much_larger_than_the_account_it_is(encoding: str) -> None:
    body = EXAMPLES.ljust(2**20)
    sent = post(gzip.compress(body, 0), "Content-Encoding: gzip") if encoding else post(body)

    async def test(port: int, inference: Inference) -> None:
        for _ in range(2):
            assert await (await Client.open(port, sent=sent)).status() == 200
        assert inference.memory.held == 0

    run(test, most_bytes=1000)


def test_a_body_that_is_too_long_by_its_head_is_refused_before_it_is_asked_for() -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=head(1001, "Expect: 100-continue"))
        assert await client.status() == 413
        assert b"connection: close" in client.head, (
            "otherwise the server cannot know whether the body or another request comes next"
        )

    run(test, max_body_bytes=1000)


async def slow(port: int, inference: Inference, sent: int) -> Client:
    """A client that has sent a part of its body and does not send the rest."""
    held = inference.memory.held
    client = await Client.open(port, sent=head(sent + 1) + EXAMPLES.ljust(sent))
    await seen(lambda: inference.memory.held == held + sent)
    return client


def test_late_bodies_give_way_to_others_and_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.1)

    async def test(port: int, inference: Inference) -> None:
        late = [await slow(port, inference, 500) for _ in range(2)]
        await seen(lambda: all(share.is_late() for share in inference.memory.arriving))
        ready = post(EXAMPLES.ljust(600))
        assert await (await Client.open(port, sent=ready)).status() == 200
        assert await late[0].status() == 408
        assert "more slowly than 64 KiB a second" in json.loads(late[0].body)["error"]
        assert b"connection: close" in late[0].head
        await late[1].send(b" ")
        assert await late[1].status() == 200, "no more of them than it takes"
        assert inference.memory.held == 0

    run(test, most_bytes=1200)


def test_a_late_body_gives_way_also_in_the_moment_in_which_its_own_time_has_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.0)
    memory = RequestMemory(most_bytes=100)

    async def body() -> None:
        loop = asyncio.get_running_loop()
        with memory.share() as late, memory.share() as other:
            late.take(60)
            taken: asyncio.Future[None] = loop.create_future()

            def take() -> None:
                try:
                    taken.set_result(other.take(60))
                except RuntimeError as error:
                    taken.set_exception(error)

            async def nothing() -> bytes:
                loop.call_soon(take)  # behind the end of the time, and before the task of the body learns of it
                await asyncio.Event().wait()
                return b""

            request: Any = SimpleNamespace(
                content_length=61, headers={}, version=(1, 1), protocol=SimpleNamespace(is_late=lambda: True),
                content=SimpleNamespace(readany=nothing),
            )  # fmt: skip
            with pytest.raises(rest.LateBodyError, match="more slowly than"):
                await rest._received(request, late, 1000)
            await taken
            assert (late.size, memory.held) == (0, 60)

    asyncio.run(body())
    assert memory.held == 0


def test_a_body_that_comes_as_it_should_gives_way_to_nobody() -> None:
    async def test(port: int, inference: Inference) -> None:
        coming = await slow(port, inference, 1000)
        refused = await Client.open(port, sent=post(EXAMPLES.ljust(600)))
        assert await refused.status() == 503
        await coming.send(b" ")
        assert await coming.status() == 200

    run(test, most_bytes=1200)


def test_a_body_that_drips_is_late_however_much_of_it_came_at_first_and_one_that_flows_is_not() -> None:
    patience, slowest = connections.PATIENCE_SECONDS, connections.SLOWEST_BYTES
    flowing, dripping = connections.Pace(), connections.Pace()
    flowing.begins(0.0)
    dripping.begins(0.0)
    dripping.came(100 * slowest, 0.0)
    for second in range(1, 100):
        flowing.came(slowest + 1, second)
        dripping.came(100, second)
        assert not flowing.is_late(second + patience)
        assert dripping.is_late(second) == (second > patience)


def test_a_body_that_does_not_come_whole_in_time_is_answered_408() -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await slow(port, inference, 100)
        assert await client.status() == 408
        assert json.loads(client.body) == {"error": "The body did not come whole within 0 s"}
        assert inference.memory.held == 0

    run(test, timeout=0.1)


def test_late_bodies_give_way_to_new_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.1)

    async def test(port: int, inference: Inference) -> None:
        late = [await slow(port, inference, 100) for _ in range(3)]
        await seen(lambda: all(share.is_late() for share in inference.memory.arriving))
        assert await (await Client.open(port, sent=STATUS)).status() == 200
        assert await late[0].closed()
        await late[1].send(b" ")
        assert await late[1].status() == 200

    run(test, most_connections=3)


EARLY = {
    "413": (head(2**20), 413),
    "404": (head(2**20, path="/v2/models"), 404),
    "400": (head(2**20, path="/v1/models/m:explain"), 400),
    "a version that is none": (head(2**20, path="/v1/models/m/versions/99999999999999999999:predict"), 400),
}


@pytest.mark.parametrize(("sent", "status"), EARLY.values(), ids=EARLY.keys())
def test_one_answer_is_given_before_a_long_body_is_whole_and_its_rest_is_no_request(sent: bytes, status: int) -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=sent)
        assert await client.status() == status
        assert b"connection: close" in client.head
        for _ in range(16):
            await client.send(b"x" * 2**16)
        assert await client.closed(), "one answer, and no other"

    run(test, max_body_bytes=1000)


def test_a_short_rest_is_thrown_away_and_the_connection_kept_for_the_next_request() -> None:
    body = b"x" * 200_000

    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=head(len(body)))
        for _ in range(3):
            assert await client.status() == 413
            assert b"connection: close" not in client.head
            await client.send(body + head(len(body)))
        assert await client.status() == 413
        await client.send(body + STATUS + STATUS)
        assert [await client.status() for _ in range(2)] == [200, 200]

    run(test, max_body_bytes=1000)


def test_requests_that_were_sent_behind_a_refused_body_are_answered_in_their_order() -> None:
    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=post(EXAMPLES) + post(b"x" * 2000) + STATUS + post(EXAMPLES))
        assert [await client.status() for _ in range(4)] == [200, 413, 200, 200]

    run(test, max_body_bytes=1000)


def test_a_chunked_body_that_is_refused_ends_its_connection() -> None:
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"

    async def test(port: int, inference: Inference) -> None:
        lines = "POST /v1/models/m:classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client = await Client.open(port, sent=lines.encode() + chunk)
        assert await client.status() == 413
        assert b"connection: close" in client.head
        await client.send(chunk * 20 + b"0\r\n\r\n")
        assert await client.closed()

    run(test, max_body_bytes=1000)


def test_a_refused_connection_is_answered_once_whatever_it_sends() -> None:
    async def test(port: int, inference: Inference) -> None:
        inference.gate.clear()
        busy = await Client.open(port, sent=post(EXAMPLES))
        await seen(lambda: inference.asked)
        more = await Client.open(port, sent=STATUS)
        assert await more.status() == 503
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                await more.send(b"x" * 2**16)
        assert await more.closed()
        inference.gate.set()
        assert await busy.status() == 200

    run(test, most_connections=1)


def test_a_client_that_reads_nothing_before_its_body_is_sent_gets_its_answer() -> None:
    def exchange(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(head(2**23) + b"x" * 2**23)
            return b"".join(iter(lambda: client.recv(2**16), b""))

    async def test(port: int, inference: Inference) -> None:
        answer = await asyncio.to_thread(exchange, port)
        assert (answer.count(b"HTTP/1.1 "), answer.split()[1]) == (1, b"413")

    run(test, max_body_bytes=1000)


def test_a_client_that_reads_nothing_before_all_is_sent_behind_a_malformed_head_gets_its_answer() -> None:
    def exchange(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(b"no HTTP\r\n\r\n")
            client.sendall(b"x" * 2**23)
            return b"".join(iter(lambda: client.recv(2**16), b""))

    async def test(port: int, inference: Inference) -> None:
        answer = await asyncio.to_thread(exchange, port)
        assert (answer.count(b"HTTP/1."), answer.split()[1]) == (1, b"400")

    run(test)


def test_a_connection_with_a_malformed_head_is_closed_although_its_client_never_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.1)

    async def test(port: int, inference: Inference) -> None:
        client = await Client.open(port, sent=b"no HTTP\r\n\r\n")
        assert await client.status() == 400
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                while True:
                    await client.send(b"x" * 2**16)
                    await asyncio.sleep(0)
        assert client.writer.is_closing()

    run(test)


def test_a_connection_with_a_malformed_head_does_not_keep_the_server_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "LINGER_SECONDS", 3600.0)

    async def body() -> None:
        (port,) = free_ports(1)
        server = rest.RestServer(Inference(), Metrics(known=lambda _: True), rest.RestSettings())  # type: ignore[arg-type]
        await server.start(port)
        client = await Client.open(port, sent=b"no HTTP\r\n\r\n")
        assert await client.status() == 400
        async with asyncio.timeout(SECONDS):
            await server.stop(3600.0)
        assert await client.closed()
        client.writer.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())


def test_others_are_answered_while_a_large_answer_to_a_small_request_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered, go_on, write = threading.Event(), threading.Event(), json_requests.classify_reply

    def held(*args: Any) -> bytes:
        entered.set()
        assert go_on.wait(SECONDS / 2), "the server stood still"
        return write(*args)

    monkeypatch.setattr(json_requests, "classify_reply", held)

    async def test(port: int, inference: Inference) -> None:
        inference.classes = 10_000
        large = await Client.open(port, sent=post(EXAMPLES))
        assert await asyncio.to_thread(entered.wait, SECONDS)
        assert await (await Client.open(port, sent=STATUS)).status() == 200
        go_on.set()
        assert await large.status() == 200

    run(test)
