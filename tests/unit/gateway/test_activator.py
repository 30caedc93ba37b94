"""Requests of models without a pod: they wait, are passed on once, and hear when waiting is in vain."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from fovea_api.contract import names
from fovea_api.contract.waiting import WaitingAnswer, WaitingReport
from fovea_gateway.activator import rest_front
from fovea_gateway.activator.backends import backend_of
from fovea_gateway.activator.grpc_front import GrpcFront
from fovea_gateway.activator.rest_front import RestFront
from fovea_gateway.activator.room import Counts, Name, Refused, Room
from fovea_wire import methods

HOST = "digits-v1-0a1b2c3d.vision.svc.cluster.local"
DIGITS, PETS = Name("vision", "digits", "digits-v1-0a1b2c3d"), Name("vision", "pets", "pets-v1-0a1b2c3d")
HEADERS = {names.MODEL_DEPLOYMENT_HEADER: "vision/digits", names.BACKEND_HEADER: HOST}
LONGEST = 20.0


class Operator:
    """Remembers how many requests wait, and answers."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.unavailable = ""
        self.away = False

    async def report(self, said: WaitingReport) -> WaitingAnswer:
        if self.away:
            raise OSError("connection refused")
        self.heard.append(said.requests)
        return WaitingAnswer(self.unavailable)

    def room(self, **bounds: int) -> Room:
        return Room(self.report, Counts(), every=0.02, **bounds)


def run(story: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * LONGEST):
            await story

    asyncio.run(bounded())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST):
        while not holds():  # noqa: ASYNC110 - what is waited for is seen, not signalled
            await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# -- the room ----------------------------------------------------------------------------------------------------------


def test_the_operator_hears_of_a_request_at_once_and_when_there_is_none_any_more() -> None:
    async def story() -> None:
        operator = Operator()
        room = operator.room()
        async with room.held(DIGITS, 1), room.held(DIGITS, 1):
            await until(lambda: 2 in operator.heard)
        await until(lambda: operator.heard[-1] == 0)
        before = len(operator.heard)
        async with room.held(DIGITS, 1):
            await until(lambda: operator.heard[before:] != [])

    run(story())


def test_no_more_wait_than_there_is_room_for() -> None:
    async def story() -> None:
        room = Operator().room(most_requests=2, most_bytes=100)
        async with room.held(DIGITS, 10), room.held(DIGITS, 10):
            with pytest.raises(Refused, match="too many requests wait for ModelDeployment digits") as refused:
                async with room.held(DIGITS, 10):
                    pass
            assert refused.value.is_full
            with pytest.raises(Refused):
                async with room.held(PETS, 81):
                    pass
            async with room.held(PETS, 80):
                assert room.requests == 3
        assert room.requests == 0

    run(story())


def test_requests_hear_when_waiting_is_in_vain_and_later_ones_wait_again() -> None:
    async def story() -> None:
        operator = Operator()
        room = operator.room()
        async with room.held(DIGITS, 1) as ticket:
            operator.unavailable = "version 1 of model digits cannot start"
            with pytest.raises(Refused, match="version 1 of model digits cannot start") as refused:
                await ticket.unless_refused(asyncio.sleep(LONGEST))
            assert not refused.value.is_full
            operator.unavailable = ""
            await until(lambda: len(operator.heard) > 5)
            async with room.held(DIGITS, 1) as later:
                assert await later.unless_refused(asyncio.sleep(0.1, "an answer")) == "an answer"

    run(story())


def test_an_activator_shows_that_it_is_there_also_when_nothing_waits() -> None:
    async def story() -> None:
        operator = Operator()
        alive = asyncio.create_task(operator.room().alive(every=0.01))
        await until(lambda: len(operator.heard) > 2)
        alive.cancel()
        assert set(operator.heard) == {0}

    run(story())


def test_while_the_operator_is_away_requests_wait() -> None:
    async def story() -> None:
        operator = Operator()
        operator.away = True
        room = operator.room()
        async with room.held(DIGITS, 1) as ticket:
            assert await ticket.unless_refused(asyncio.sleep(0.1, "an answer")) == "an answer"
            operator.away = False
            await until(lambda: operator.heard != [])

    run(story())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        HEADERS | {names.BACKEND_HEADER: "kubernetes.default.svc.cluster.local"},
        HEADERS | {names.BACKEND_HEADER: "digits-v1-0a1b2c3d.other.svc.cluster.local"},
        HEADERS | {names.BACKEND_HEADER: "pets-v1-0a1b2c3d.vision.svc.cluster.local"},
        HEADERS | {names.BACKEND_HEADER: "digits-v1-0a1b2c3d.vision.example.com"},
        HEADERS | {names.BACKEND_HEADER: "digits-v1-0a1b2c3d.vision.svc.attacker.example"},
        HEADERS | {names.BACKEND_HEADER: "169.254.169.254"},
        HEADERS | {names.BACKEND_HEADER: f"{HOST}:22"},
        HEADERS | {names.BACKEND_HEADER: f"{HOST}/../"},
        HEADERS | {names.MODEL_DEPLOYMENT_HEADER: "digits"},
    ],
    ids=str,
)
def test_nothing_but_a_version_of_the_named_model_is_reached(headers: dict[str, str]) -> None:
    assert backend_of(HEADERS) == (DIGITS, HOST)
    assert backend_of(headers) is None


# -- gRPC --------------------------------------------------------------------------------------------------------------


class Version(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers with what it was asked, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails = False

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            self.asked.append((details.method, dict(context.invocation_metadata())))
            if self.fails:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a picture")
            return b"answer to " + request

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[Version]:
    version = Version()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((version,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield version
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def front(operator: Operator, port: int, **bounds: int) -> AsyncIterator[Any]:
    """A function that calls the activator, whose versions are at that port."""
    room = operator.room(**bounds)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((GrpcFront(room, LONGEST, lambda _: f"127.0.0.1:{port}"),))
    taken = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{taken}") as channel:
        call = channel.unary_unary(methods.PREDICT)

        async def ask(seconds: float | None = None, **more: str) -> bytes:
            metadata = {**HEADERS, "x-request-id": "7"} | {key.replace("_", "-"): value for key, value in more.items()}
            answer: bytes = await call(b"a picture", timeout=seconds, metadata=tuple(metadata.items()))
            return answer

        try:
            yield ask
        finally:
            await server.stop(grace=None)
    assert room.requests == 0


def test_calls_wait_for_the_version_and_are_passed_on_once_with_what_the_client_said() -> None:
    async def story() -> None:
        port, operator = free_port(), Operator()
        async with front(operator, port) as ask:
            asked = [asyncio.create_task(ask()) for _ in range(100)]
            await until(lambda: 100 in operator.heard)
            async with serving(port) as version:
                assert set(await asyncio.gather(*asked)) == {b"answer to a picture"}
            assert len(version.asked) == 100
            method, metadata = version.asked[0]
            assert (method, metadata["x-request-id"]) == (methods.PREDICT, "7")
            assert not HEADERS.keys() & metadata.keys()

    run(story())


def test_a_call_ends_with_its_deadline_and_one_that_the_version_refuses_with_its_words() -> None:
    async def story() -> None:
        port = free_port()
        async with front(Operator(), port) as ask:
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await ask(0.3)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            async with serving(port) as version:
                version.fails = True
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask()
                assert (refused.value.code(), refused.value.details()) == (
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "not a picture",
                )
                assert len(version.asked) == 1

    run(story())


def test_calls_that_wait_in_vain_are_unavailable_with_the_reason_and_too_many_are_refused() -> None:
    async def story() -> None:
        operator = Operator()
        async with front(operator, free_port(), most_requests=1) as ask:
            first = asyncio.create_task(ask())
            await until(lambda: operator.heard != [])
            with pytest.raises(grpc.aio.AioRpcError) as full:
                await ask()
            assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            operator.unavailable = "version 1 of model digits cannot start: its files are corrupt"
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await first
            assert (refused.value.code(), refused.value.details()) == (
                grpc.StatusCode.UNAVAILABLE,
                operator.unavailable,
            )
            with pytest.raises(grpc.aio.AioRpcError) as stranger:
                await ask(x_fovea_backend="kubernetes.default.svc.cluster.local")
            assert stranger.value.code() is grpc.StatusCode.UNIMPLEMENTED

    run(story())


def test_a_client_that_leaves_is_not_waited_for() -> None:
    async def story() -> None:
        operator = Operator()
        async with front(operator, free_port()) as ask:
            leaves = asyncio.create_task(ask())
            await until(lambda: 1 in operator.heard)
            leaves.cancel()
            await until(lambda: operator.heard[-1] == 0)

    run(story())


# -- REST --------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def site(runner: web.AppRunner, port: int) -> AsyncIterator[None]:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def test_rest_waits_too_and_every_end_has_its_code() -> None:
    async def story() -> None:
        port, own, operator, heard = free_port(), free_port(), Operator(), []

        async def predict(request: web.Request) -> web.Response:
            heard.append((request.path_qs, await request.text(), request.headers.get(names.BACKEND_HEADER)))
            return web.json_response({"predictions": [1]}, status=200)

        model = web.Application()
        model.router.add_post("/v1/models/digits:predict", predict)
        async with aiohttp.ClientSession() as client, rest_front.session() as session:
            rest = RestFront(operator.room(), session, LONGEST, lambda _: f"http://127.0.0.1:{port}")
            url = f"http://127.0.0.1:{own}/v1/models/digits:predict?trace=1"

            async def post(**headers: str) -> tuple[int, Any]:
                given = HEADERS | {key.replace("_", "-"): value for key, value in headers.items()}
                async with client.post(url, data='{"instances": [1]}', headers=given) as answer:
                    return answer.status, json.loads(await answer.text())

            async with site(rest.runner(), own):
                waits = asyncio.create_task(post())
                await until(lambda: operator.heard != [])
                async with site(web.AppRunner(model), port):
                    assert await waits == (200, {"predictions": [1]})
                assert heard == [("/v1/models/digits:predict?trace=1", '{"instances": [1]}', None)]
                assert (await post(x_fovea_backend="elsewhere"))[0] == 404
                operator.unavailable = "its files are corrupt"
                assert await post() == (503, {"error": "its files are corrupt"})
                operator.unavailable = ""
                leaves = asyncio.create_task(post())
                await until(lambda: 1 in operator.heard[-3:])
                leaves.cancel()
                await until(lambda: operator.heard[-1] == 0)

    run(story())


def test_a_body_is_passed_on_as_it_is_encoded_in_both_directions() -> None:
    async def story() -> None:
        port, own, operator = free_port(), free_port(), Operator()

        async def predict(request: web.Request) -> web.Response:
            packed = await request.read()
            assert request.headers["Content-Encoding"] == "gzip"
            return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

        model = web.Application()
        model.router.add_post("/predict", predict)
        async with aiohttp.ClientSession(auto_decompress=False) as client, rest_front.session() as session:
            rest = RestFront(operator.room(), session, LONGEST, lambda _: f"http://127.0.0.1:{port}")
            async with site(rest.runner(), own), site(web.AppRunner(model, auto_decompress=False), port):
                sent = gzip.compress(b'{"instances": [1]}')
                headers = HEADERS | {"Content-Encoding": "gzip"}
                async with client.post(f"http://127.0.0.1:{own}/predict", data=sent, headers=headers) as answer:
                    assert (answer.status, await answer.read()) == (200, sent)
                    assert answer.headers["Content-Encoding"] == "gzip"

    run(story())


def test_a_version_to_which_no_connection_comes_about_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where packets to a new pod are dropped until the network knows it."""
    monkeypatch.setattr(rest_front, "_CONNECT_SECONDS", 0.2)

    async def story() -> None:
        own, operator = free_port(), Operator()
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            # A backlog of none takes one connection; the kernel drops the next ones.
            with socket.create_connection(address):
                async with aiohttp.ClientSession() as client, rest_front.session() as session:
                    rest = RestFront(operator.room(), session, 2.0, lambda _: f"http://127.0.0.1:{address[1]}")
                    async with site(rest.runner(), own):
                        begun = asyncio.get_running_loop().time()
                        async with client.get(f"http://127.0.0.1:{own}/", headers=HEADERS) as answer:
                            assert answer.status == 504
                        assert asyncio.get_running_loop().time() - begun > 1.5

    run(story())


def test_a_report_says_what_is_wrong_with_it() -> None:
    said = WaitingReport("vision", "digits", "digits-v1-aaaa", 3)
    assert WaitingReport.from_json(said.to_json()) == said
    assert WaitingReport.from_json("{}") == WaitingReport()
    for text in (
        "[]",
        '{"namespace": 1, "name": "a", "requests": 1}',
        '{"namespace": "a", "name": "b", "requests": "c"}',
    ):
        with pytest.raises(ValueError, match=r"not a JSON object|malformed|has namespace"):
            WaitingReport.from_json(text)
