"""Where the gateway sends copies of requests, by gRPC and by REST, and how the versions are asked the same."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import aiohttp
import grpc
from aiohttp import web
from fovea_wire import methods, predict_pb2
from google.protobuf.message import DecodeError

from fovea_gateway.messages import AGING, bounded, is_too_large

from .answers import Unreadable, of_grpc, of_rest
from .comparing import (
    LARGEST_ANSWER,
    LARGEST_OTHER,
    LARGEST_REQUEST,
    WAITING,
    Ask,
    Comparing,
    Failed,
    Question,
    TooLarge,
)

log = logging.getLogger(__name__)

_PREDICT = re.compile(r"(?P<model>/v1/models/[^/:]+)(/(versions|labels)/[^/:]+)?:predict")
_ARRIVES_SECONDS = 10.0
"""In which a request comes whole: others wait for their turn."""
_MOST_CALLS = 4 * WAITING


class Version(NamedTuple):
    """host:port of a version's servers."""

    grpc: str
    rest: str


def _for_any_version(request: bytes) -> bytes:
    """The request without the number or the label of a version: each version's server has its own. Raises Unreadable."""
    try:
        read = predict_pb2.PredictRequest.FromString(request)
    except DecodeError as error:
        raise Unreadable(str(error)) from error
    read.model_spec.ClearField("version")
    read.model_spec.ClearField("version_label")
    return read.SerializeToString()


def grpc_asker(address: str, seconds: float, largest: int) -> Callable[[bytes], Ask]:
    """Asks the servers at host:port, each request for so many seconds, and takes answers of so many bytes."""
    channel = grpc.aio.insecure_channel(address, options=bounded(largest))
    call = channel.unary_unary(methods.PREDICT, request_serializer=None, response_deserializer=None)

    async def ask(request: bytes) -> bytes:
        try:
            answer: bytes = await call(request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if is_too_large(error, largest):
                raise TooLarge from error
            raise Failed(str(error)) from error
        return answer

    return lambda request: partial(ask, request)


def rest_asker(
    session: aiohttp.ClientSession, address: str, seconds: float, largest: int
) -> Callable[[str, bytes, dict[str, str]], Ask]:
    """Asks the servers at host:port: path, body and headers of a request."""
    limit = aiohttp.ClientTimeout(total=seconds)

    async def ask(path: str, body: bytes, headers: dict[str, str]) -> bytes:
        try:
            async with session.post(
                f"http://{address}{path}", data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise Failed(str(answer.status))
                content = bytearray()
                async for part in answer.content.iter_any():
                    content += part
                    if len(content) > largest:
                        raise TooLarge
                return bytes(content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(str(error) or type(error).__name__) from error

    return lambda path, body, headers: partial(ask, path, body, headers)


class Intake:
    """Reads mirrored requests, one at a time, as long as there is room for them. All others are dropped unread."""

    def __init__(self, comparing: Comparing) -> None:
        self.comparing = comparing
        self._turn = asyncio.Lock()

    async def read(self, size: int | None, read: Callable[[], Awaitable[Any]]) -> bytes | None:
        """A request of so many bytes, None: of any number; None if it is dropped."""
        size = LARGEST_REQUEST if size is None else size
        if self.comparing.has_room(size):
            async with self._turn:
                # Again: those before it are there now.
                if self.comparing.has_room(size) and isinstance(request := await _whole(read), bytes):
                    return request
        self.comparing.drop()
        return None


async def _whole(read: Callable[[], Awaitable[Any]]) -> Any:
    try:
        async with asyncio.timeout(_ARRIVES_SECONDS):
            return await read()
    except (TimeoutError, web.HTTPRequestEntityTooLarge):
        return None


class GrpcMirror(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Predictions are compared; all else is answered with nothing. They are streams here, since of these nothing is read unasked."""

    def __init__(self, intake: Intake, stable: Callable[[bytes], Ask], candidate: Callable[[bytes], Ask]) -> None:
        self._intake, self._stable, self._candidate = intake, stable, candidate

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Of any method."""
        is_prediction = handler_call_details.method == methods.PREDICT

        async def answer(_: Any, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
            if is_prediction:
                request = await self._intake.read(None, context.read)
                if request is not None:
                    self._take(request)
            await context.write(b"")

        return grpc.stream_stream_rpc_method_handler(answer)

    def _take(self, request: bytes) -> None:
        comparing = self._intake.comparing
        try:
            asked = _for_any_version(request)
        except Unreadable as error:
            log.warning("a request cannot be read: %s", error)
            comparing.leave_out()
        else:
            comparing.take(Question(len(asked), self._stable(asked), self._candidate(asked), of_grpc))


def rest_mirror(
    intake: Intake,
    stable: Callable[[str, bytes, dict[str, str]], Ask],
    candidate: Callable[[str, bytes, dict[str, str]], Ask],
) -> web.AppRunner:
    """The same over REST. A body is passed on as it is encoded."""

    async def answer(request: web.Request) -> web.Response:
        asked = _PREDICT.fullmatch(request.rel_url.raw_path)
        if asked is None or request.method != "POST":
            return web.Response()
        body = await intake.read(request.content_length, request.read)
        if body is not None:
            kept = {
                name: request.headers[name] for name in ("Content-Type", "Content-Encoding") if name in request.headers
            }
            given = (f"{asked['model']}:predict", body, kept)
            intake.comparing.take(Question(len(body), stable(*given), candidate(*given), of_rest))
        return web.Response()

    application = web.Application(client_max_size=LARGEST_REQUEST)
    application.router.add_route("*", "/{path:.*}", answer)
    return web.AppRunner(application, auto_decompress=False)


def _listening(port: int) -> socket.socket:
    """Takes IPv4 and, where the machine has it, IPv6."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


class Ports(NamedTuple):
    """0: any port."""

    grpc: int
    rest: int


@asynccontextmanager
async def serving(
    comparing: Comparing, stable: Version, candidate: Version, ports: Ports, seconds: float
) -> AsyncIterator[Ports]:
    """Take requests meanwhile; the ports that they come to. `seconds`: how long an answer may take."""
    versions = ((stable, LARGEST_ANSWER), (candidate, LARGEST_OTHER))
    # Versions share no cookies.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        intake = Intake(comparing)
        server = grpc.aio.server(options=(*bounded(LARGEST_REQUEST), *AGING), maximum_concurrent_rpcs=_MOST_CALLS)
        by_grpc = GrpcMirror(intake, *(grpc_asker(each.grpc, seconds, most) for each, most in versions))
        server.add_generic_rpc_handlers((by_grpc,))
        taken = server.add_insecure_port(f"[::]:{ports.grpc}")
        await server.start()
        runner = rest_mirror(intake, *(rest_asker(session, each.rest, seconds, most) for each, most in versions))
        await runner.setup()
        await web.SockSite(runner, _listening(ports.rest)).start()
        try:
            yield Ports(taken, runner.addresses[0][1])
        finally:
            await asyncio.gather(server.stop(grace=1), runner.cleanup())
