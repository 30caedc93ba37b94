"""What passes between client and version by REST, and who does not keep what he has begun."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fovea_gateway.activator import rest_front
from support import activator
from support.activator import HEADERS, Operator, free_port, rest_activator, run, until

MIB = 1 << 20


@asynccontextmanager
async def model(port: int, *answers: Any) -> AsyncIterator[None]:
    """A version that answers by these functions, one for each request."""
    given = iter(answers)

    async def predict(request: web.Request) -> Any:
        return await next(given)(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", predict)
    async with activator.site(web.AppRunner(application), port):
        yield


def test_clients_share_no_cookies_and_nothing_is_lost_or_added_between_client_and_version() -> None:
    async def story() -> None:
        port, heard = free_port(), []

        async def answer(request: web.Request) -> web.Response:
            heard.append([(key.lower(), value) for key, value in request.headers.items()])
            response = web.Response(text="[1]")
            response.headers.extend([("Set-Cookie", "sid=1"), ("Set-Cookie", "hint=2"), ("X-B", "1"), ("X-B", "2")])
            return response

        async with (
            rest_activator(Operator(), port) as url,
            model(port, answer, answer),
        ):
            own, number = ("accept", "accept-encoding", "user-agent", "content-type"), url.rpartition(":")[2]
            for client in ("first", "second"):
                sent = [
                    *HEADERS.items(),
                    ("X-A", "1"),
                    ("X-A", "2"),
                    ("X-Client", client),
                    ("Connection", "X-Hop, close"),
                ]
                head = "".join(f"{key}: {value}\r\n" for key, value in [*sent, ("X-Hop", "3")])
                reader, writer = await asyncio.open_connection("127.0.0.1", int(number))
                writer.write(f"GET /v1/models/digits HTTP/1.1\r\nHost: digits.vision\r\n{head}\r\n".encode())
                said = (await reader.read()).decode()
                writer.close()
                for line in ("Set-Cookie: sid=1", "Set-Cookie: hint=2", "X-B: 1", "X-B: 2", "\r\n\r\n[1]"):
                    assert line in said
            for client, headers in zip(("first", "second"), heard, strict=True):
                assert [value for key, value in headers if key == "x-a"] == ["1", "2"]
                assert ("x-client", client) in headers
                assert not {key for key, _ in headers} & {*own, "cookie", "x-hop", *HEADERS}

    run(story())


def test_an_answer_is_passed_on_as_it_comes_and_one_that_breaks_off_is_not_whole_for_the_client_either() -> None:
    async def story() -> None:
        port, goes_on = free_port(), asyncio.Event()

        async def streams(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            await goes_on.wait()
            await response.write(b"last")
            return response

        async def breaks_off(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"first")
            await asyncio.sleep(0.1)
            assert request.transport is not None
            request.transport.abort()
            return response

        async with (
            aiohttp.ClientSession() as client,
            rest_activator(Operator(), port) as url,
            model(port, streams, breaks_off),
        ):
            async with client.get(url, headers=HEADERS) as answer:
                assert await answer.content.readany() == b"first"
                goes_on.set()
                assert await answer.read() == b"last"
            async with client.get(url, headers=HEADERS) as answer:
                assert answer.status == 200
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()

    run(story())


def test_a_client_that_does_not_take_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_front, "_TAKEN_SECONDS", 0.3)

    async def story() -> None:
        port, operator, ended = free_port(), Operator(), asyncio.Event()

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x" * MIB)
            finally:
                ended.set()

        async with rest_activator(operator, port) as url, model(port, endless):
            head = "".join(f"{key}: {value}\r\n" for key, value in HEADERS.items())
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(f"GET / HTTP/1.1\r\nHost: digits.vision\r\n{head}\r\n".encode())
            await ended.wait()
            await until(lambda: operator.heard[-1] == 0)
            writer.close()

    run(story())


def test_a_body_counts_as_it_comes_where_it_does_not_say_how_long_it_is_and_one_that_stalls_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest_front, "_SILENT_SECONDS", 0.3)

    async def story() -> None:
        operator = Operator()

        async def parts(number: int, *, then: float = 0.0) -> AsyncIterator[bytes]:
            for _ in range(number):
                yield b"x" * 1000
            await asyncio.sleep(then)

        async def post(**parted: Any) -> tuple[int, str]:
            async with client.post(url, data=parts(**parted), headers=HEADERS) as answer:
                return answer.status, json.loads(await answer.text())["error"]

        async with (
            aiohttp.ClientSession() as client,
            rest_activator(operator, free_port(), bytes_of_version=50_000) as url,
        ):
            waits = asyncio.create_task(post(number=20))
            await until(lambda: 1 in operator.heard)
            code, said = await post(number=60)
            assert (code, "at most 0.0 MiB may wait for one version" in said) == (429, True)
            code, said = await post(number=2, then=activator.LONGEST)
            assert (code, said) == (408, "no byte of the request came for 0.3 s, and it is not whole. Send it again")
            assert not waits.done()
            waits.cancel()

    run(story())
