"""Where the gateway sends copies of requests, by gRPC and by REST, and how the versions are asked the same."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import aiohttp
import grpc
from aiohttp import web
from fovea_wire import methods, predict_pb2
from google.protobuf.message import DecodeError

from .answers import Outputs, Unreadable, of_grpc, of_rest
from .comparing import Ask, Failed, Question

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_LARGEST = 64 << 20
_PREDICT = re.compile(r"(?P<model>/v1/models/[^/:]+)(/(versions|labels)/[^/:]+)?:predict")
Take = Callable[[Question], None]


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


def grpc_asker(address: str, seconds: float) -> Callable[[bytes], Ask]:
    """Asks the servers at host:port, each request for so many seconds."""
    channel = grpc.aio.insecure_channel(address, options=_UNLIMITED)
    call = channel.unary_unary(methods.PREDICT, request_serializer=None, response_deserializer=None)

    async def ask(request: bytes) -> Outputs:
        try:
            answer: bytes = await call(_for_any_version(request), timeout=seconds)
        except grpc.RpcError as error:
            raise Failed(str(error)) from error
        return of_grpc(answer)

    return lambda request: partial(ask, request)


def rest_asker(
    session: aiohttp.ClientSession, address: str, seconds: float
) -> Callable[[str, bytes, dict[str, str]], Ask]:
    """Asks the servers at host:port: path, body and headers of a request."""
    limit = aiohttp.ClientTimeout(total=seconds)

    async def ask(path: str, body: bytes, headers: dict[str, str]) -> Outputs:
        try:
            async with session.post(f"http://{address}{path}", data=body, headers=headers, timeout=limit) as answer:
                if answer.status != 200:
                    raise Failed(str(answer.status))
                return of_rest(await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(str(error) or type(error).__name__) from error

    return lambda path, body, headers: partial(ask, path, body, headers)


class GrpcMirror(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Predictions are compared; all else is answered with nothing."""

    def __init__(self, take: Take, stable: Callable[[bytes], Ask], candidate: Callable[[bytes], Ask]) -> None:
        self._take, self._stable, self._candidate = take, stable, candidate

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Of any method."""
        is_prediction = handler_call_details.method == methods.PREDICT

        async def answer(request: bytes, _context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            if is_prediction:
                self._take(Question(len(request), self._stable(request), self._candidate(request)))
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


def rest_mirror(
    take: Take,
    stable: Callable[[str, bytes, dict[str, str]], Ask],
    candidate: Callable[[str, bytes, dict[str, str]], Ask],
) -> web.AppRunner:
    """The same over REST. A body is passed on as it is encoded."""

    async def answer(request: web.Request) -> web.Response:
        asked = _PREDICT.fullmatch(request.rel_url.raw_path)
        body = await request.read()
        if asked is not None and request.method == "POST":
            kept = {
                name: request.headers[name] for name in ("Content-Type", "Content-Encoding") if name in request.headers
            }
            given = (f"{asked['model']}:predict", body, kept)
            take(Question(len(body), stable(*given), candidate(*given)))
        return web.Response()

    application = web.Application(client_max_size=_LARGEST)
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
    take: Take, stable: Version, candidate: Version, ports: Ports, seconds: float
) -> AsyncIterator[Ports]:
    """Take requests meanwhile; the ports that they come to. `seconds`: how long an answer may take."""
    async with aiohttp.ClientSession() as session:
        server = grpc.aio.server(options=_UNLIMITED)
        by_grpc = GrpcMirror(take, *(grpc_asker(each.grpc, seconds) for each in (stable, candidate)))
        server.add_generic_rpc_handlers((by_grpc,))
        taken = server.add_insecure_port(f"[::]:{ports.grpc}")
        await server.start()
        runner = rest_mirror(take, *(rest_asker(session, each.rest, seconds) for each in (stable, candidate)))
        await runner.setup()
        await web.SockSite(runner, _listening(ports.rest)).start()
        try:
            yield Ports(taken, runner.addresses[0][1])
        finally:
            await asyncio.gather(server.stop(grace=1), runner.cleanup())
