"""The REST port: what one client may take of the server, and that every answer is JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ClassVar

import pytest
from fovea_dev.ports import free_ports
from fovea_serving.protocol import json_requests
from fovea_serving.protocol.predict import LARGE_REQUEST
from fovea_serving.protocol.signatures import Signature, Slot
from fovea_serving.server.batching import Ran
from fovea_serving.server.conversion import LARGE_REPLY
from fovea_serving.server.inference import Inference
from fovea_serving.server.memory import MOST_BYTES, RequestMemory
from fovea_serving.server.metrics import Metrics
from fovea_serving.server.rest import RestServer, RestSettings

SIGNATURE = Signature("serving_default", "", {"x": Slot("x:0", 1, None)}, {"y": Slot("y:0", 1, None)})


class Echo:
    """Stands for the models and the batcher: outputs are the inputs; nothing has a status."""

    signatures: ClassVar = {"serving_default": SIGNATURE}

    @contextlib.contextmanager
    def use(self, spec: Any) -> Iterator[Any]:
        yield 1, self

    async def run(self, servable: Any, signature: Any, feeds: list[Any], outputs: Any, deadline: Any) -> Ran:
        return Ran(feeds, 0.0)

    def states(self, name: str, version: int | None) -> Any:
        raise LookupError("no\ud800 status")


@pytest.fixture(autouse=True)
def no_log_of_the_fault(caplog: pytest.LogCaptureFixture) -> None:
    """The lone surrogate of `Echo.status` would be in pytest's report, which its workers send in UTF-8: not possible."""
    caplog.set_level(logging.CRITICAL, logger="fovea_serving.server.rest")


@contextlib.asynccontextmanager
async def served(waiting_bytes: int = MOST_BYTES, **settings: Any) -> AsyncIterator[int]:
    """The port of a REST server."""
    (port,) = free_ports(1)
    page, memory = Metrics(known=lambda _: True), RequestMemory(waiting_bytes)
    inference = Inference(models=Echo(), batcher=Echo(), metrics=page, memory=memory)  # type: ignore[arg-type]
    server = RestServer(inference, page, RestSettings(**settings))
    await server.start(port)
    try:
        yield port
    finally:
        await server.stop(0)


class Connection:
    """One client; a request can be sent in parts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def begin(self, length: int, beginning: bytes, *headers: str) -> None:
        """The head of a predict request and the first bytes of its body."""
        head = ["POST /v1/models/m:predict HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
        await self.send("\r\n".join([*head, "", ""]).encode() + beginning)

    async def answer(self) -> tuple[int, Any]:
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            assert "content-type: application/json" in head
            return int(head.split()[1]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


async def predict(port: int, body: bytes, *headers: str) -> tuple[int, Any]:
    connection = await Connection.open(port)
    try:
        await connection.begin(len(body), body, *headers)
        return await connection.answer()
    finally:
        connection.close()


async def status(port: int) -> tuple[int, Any]:
    connection = await Connection.open(port)
    try:
        await connection.send(b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n")
        return await connection.answer()
    finally:
        connection.close()


def run(test: Callable[[int], Awaitable[None]], **settings: Any) -> None:
    async def go() -> None:
        async with asyncio.timeout(60), served(**settings) as port:
            await test(port)

    asyncio.run(go())


def test_a_fault_of_the_server_itself_is_answered_as_json() -> None:
    async def test(port: int) -> None:
        assert await status(port) == (500, {"error": "LookupError: no\\ud800 status"})

    run(test)


def test_a_body_that_is_not_what_its_encoding_says_is_refused_as_json() -> None:
    async def test(port: int) -> None:
        code, answer = await predict(port, b'{"inputs": 1}', "Content-Encoding: gzip")
        assert (code, list(answer)) == (400, ["error"])

    run(test)


def test_a_body_of_too_many_values_is_refused_before_it_is_parsed() -> None:
    async def test(port: int) -> None:
        for body in (b'{"inputs": [1,2,3,4,5', b'{"inputs": [[], [], []', b'{"a":{"b":{"c":{"d":{"e":{}}}}}'):
            code, answer = await predict(port, body)
            assert (code, answer["error"].split(";")[0]) == (400, "JSON Parse error: more than 5 commas and brackets")

    run(test, max_body_values=5)


@pytest.mark.parametrize(("function", "size"), [("parse", LARGE_REQUEST // 2), ("predict_reply", LARGE_REPLY)])
def test_others_are_answered_while_a_large_body_or_reply_is_converted(
    function: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    convert = getattr(json_requests, function)

    def held(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        assert go_on.wait(20), "the server stood still"
        return convert(*args, **kwargs)

    monkeypatch.setattr(json_requests, function, held)

    async def test(port: int) -> None:
        large = asyncio.create_task(predict(port, json.dumps({"inputs": [1] * size}).encode()))
        assert await asyncio.to_thread(entered.wait, 20)
        assert (await status(port))[0] == 500
        go_on.set()
        assert await large == (200, {"outputs": [1.0] * size})

    run(test)


def test_bodies_on_their_way_may_fill_so_much_memory_and_no_more() -> None:
    async def test(port: int) -> None:
        full = b'{"inputs": 1}'.ljust(1000)
        slow = []
        for _ in range(4):
            slow.append(await Connection.open(port))
            await slow[-1].begin(1000, full[:999])
        async with asyncio.timeout(20):
            while (found := await predict(port, full))[0] == 200:
                pass
        assert found[0] == 503
        assert "--max_waiting_bytes=4000: send the request again later or to another replica" in found[1]["error"]
        for connection in slow:
            await connection.send(full[999:])
            assert await connection.answer() == (200, {"outputs": 1.0})
            connection.close()
        assert await predict(port, full) == (200, {"outputs": 1.0})

    run(test, waiting_bytes=4000)


def test_without_a_time_limit_a_request_is_answered() -> None:
    async def test(port: int) -> None:
        assert await predict(port, b'{"inputs": [0.5]}') == (200, {"outputs": [0.5]})

    run(test, timeout=None)
