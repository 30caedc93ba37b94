"""An activator with a played operator and a played version."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc
from aiohttp import web
from fovea_api.contract import names
from fovea_api.contract.waiting import WaitingAnswer, WaitingReport
from fovea_gateway.activator import rest_front
from fovea_gateway.activator.grpc_front import OPTIONS, GrpcFront
from fovea_gateway.activator.rest_front import RestFront
from fovea_gateway.activator.room import Bounds, Counts, Name, Room
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
        return Room(self.report, Counts(), Bounds(**bounds), every=0.02)


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


class Version(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers with what it was asked, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.answer = b"answer to a picture"

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(_: bytes, context: Any) -> bytes:
            self.asked.append((details.method, dict(context.invocation_metadata())))
            if self.fails:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a picture")
            await self.answers.wait()
            return self.answer

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[Version]:
    version = Version()
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((version,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield version
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def grpc_front(operator: Operator, port: int, longest: float = LONGEST, **bounds: int) -> AsyncIterator[str]:
    """The address of an activator whose versions are at that port."""
    room = operator.room(**bounds)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((GrpcFront(room, longest, lambda _: f"127.0.0.1:{port}"),))
    taken = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{taken}"
    finally:
        await server.stop(grace=None)
    assert room.requests == 0


@asynccontextmanager
async def front(operator: Operator, port: int, longest: float = LONGEST, **bounds: int) -> AsyncIterator[Any]:
    """A function that calls the activator."""
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with (
        grpc_front(operator, port, longest, **bounds) as address,
        grpc.aio.insecure_channel(address, options=unlimited) as channel,
    ):
        call = channel.unary_unary(methods.PREDICT)

        async def ask(seconds: float | None = None, request: bytes = b"a picture", **more: str) -> bytes:
            metadata = {**HEADERS, "x-request-id": "7"} | {key.replace("_", "-"): value for key, value in more.items()}
            answer: bytes = await call(request, timeout=seconds, metadata=tuple(metadata.items()))
            return answer

        yield ask


@asynccontextmanager
async def rest_activator(operator: Operator, port: int, longest: float = LONGEST, **bounds: int) -> AsyncIterator[str]:
    """The URL of an activator whose versions are at that port."""
    async with rest_front.session() as session:
        room, own = operator.room(**bounds), free_port()
        rest = RestFront(room, session, longest, lambda _: f"http://127.0.0.1:{port}")
        async with site(rest.runner(), own):
            yield f"http://127.0.0.1:{own}"
    assert room.requests == 0


@asynccontextmanager
async def site(runner: web.AppRunner, port: int) -> AsyncIterator[None]:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()
