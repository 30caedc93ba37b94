"""gRPC at the activator: a call waits until its version has a pod, and is passed on once, with what is left of its deadline."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc
from fovea_api.contract import names

from fovea_gateway.messages import AGING, bounded, is_too_large

from .backends import NOT_BY_A_ROUTE, Backend, backend_of
from .memory import Answers, Full
from .room import LARGEST, Refused, Room, Ticket

OPTIONS = (*bounded(LARGEST), *AGING)
"""Of the server."""
_CHANNEL = (
    *bounded(LARGEST),
    # A version's Service refuses connections until a pod is ready. Then no second is to be lost.
    *(("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 250)),
    # Also the time that a connection may take: the first pod may be slow when all come at once.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.dns_min_time_between_resolutions_ms", 500),
)
_OWN = frozenset({names.MODEL_DEPLOYMENT_HEADER, names.BACKEND_HEADER, "user-agent", "content-type", "te"})
ARRIVES_SECONDS = 30.0
"""In which a request comes whole once it is read, and an answer once it has begun: others wait for their turn."""
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class _Late(Exception):
    """A message does not come whole in time."""


class _Channels:
    """One to each version, as long as a call uses it."""

    def __init__(self, target: Callable[[str], str]) -> None:
        self._target = target
        self._open: dict[str, tuple[grpc.aio.Channel, int]] = {}

    @asynccontextmanager
    async def to(self, host: str) -> AsyncIterator[grpc.aio.Channel]:
        """The channel to a version's Service."""
        channel, users = self._open.get(host) or (grpc.aio.insecure_channel(self._target(host), options=_CHANNEL), 0)
        self._open[host] = channel, users + 1
        try:
            yield channel
        finally:
            await asyncio.shield(self._done(host))

    async def _done(self, host: str) -> None:
        channel, users = self._open[host]
        if users > 1:
            self._open[host] = channel, users - 1
            return
        del self._open[host]
        await channel.close(grace=None)


class GrpcFront(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Takes calls of any method with one request and one answer: the gateway lets no other pass.

    To the server and to its channels they are streams, since of a stream no message is in memory before it is asked for.
    """

    def __init__(
        self,
        room: Room,
        longest: float,
        target: Callable[[str], str] = lambda host: f"dns:///{host}:{names.GRPC_PORT}",
        cluster_domain: str = "cluster.local",
    ) -> None:
        """`longest`: seconds that a call may take. `target`: where gRPC finds a version's Service, by its DNS name."""
        self.room, self.longest, self._domain = room, longest, cluster_domain
        self.channels, self.turn, self.answers = _Channels(target), asyncio.Lock(), Answers()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Every method."""
        method = handler_call_details.method

        async def answer(_: Any, context: Context) -> None:
            metadata = [(key, value) for key, value in context.invocation_metadata() or ()]
            backend = backend_of({key: value for key, value in metadata if isinstance(value, str)}, self._domain)
            if backend is None:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, NOT_BY_A_ROUTE)
            else:
                await _Call(self, context, method, metadata, backend).answer()

        return grpc.stream_stream_rpc_method_handler(answer)


@dataclass(frozen=True)
class _Call:
    """A call at the activator."""

    front: GrpcFront
    context: Context
    method: str
    metadata: list[tuple[str, str | bytes]]
    backend: Backend

    async def answer(self) -> None:
        """Give the client what the version answers."""
        async with AsyncExitStack() as until_taken:
            answer = await self._answer(until_taken)
            if answer is not None:
                # The version has answered: nobody waits for it any more, only this client for what is on its way.
                await self.context.write(answer)

    async def _answer(self, until_taken: AsyncExitStack) -> bytes | None:
        """None: nothing. What the version fails with, or we, ends the call."""
        front, backend, code = self.front, self.backend, grpc.StatusCode
        try:
            async with asyncio.timeout(front.longest), front.room.held(backend.model) as ticket:
                return await ticket.unless_refused(self._pass_on(ticket, until_taken))
        except Refused as refused:
            await self.context.abort(code.RESOURCE_EXHAUSTED if refused.is_full else code.UNAVAILABLE, str(refused))
        except Full as full:
            await self.context.abort(code.RESOURCE_EXHAUSTED, str(full))
        except _Late as late:
            await self.context.abort(code.DEADLINE_EXCEEDED, str(late))
        except TimeoutError:
            await self.context.abort(code.DEADLINE_EXCEEDED, backend.late(front.longest))
        except grpc.aio.AioRpcError as error:
            said, trailing = error.details() or "", tuple(cast("Any", error.trailing_metadata()) or ())
            if is_too_large(error, LARGEST):
                said = f"{backend.too_large(LARGEST)} (gRPC says: {said})"
            await self.context.abort(error.code(), said, trailing)
        raise AssertionError("abort() raises")

    async def _pass_on(self, ticket: Ticket, until_taken: AsyncExitStack) -> bytes | None:
        request = await self._request(ticket)
        if request is None:
            return None
        passed = [(key, value) for key, value in self.metadata if key not in _OWN and not key.startswith("grpc-")]
        async with self.front.channels.to(self.backend.host) as channel:
            await channel.channel_ready()
            ticket.pass_on()
            left = self.context.time_remaining()
            call = channel.unary_stream(self.method, request_serializer=None, response_deserializer=None)(
                request,
                # Without a deadline of the client's the call ends by ours, which says more than gRPC's.
                timeout=left if left is not None and left < self.front.longest else None,
                metadata=tuple(passed),
                wait_for_ready=True,
            )
            try:
                # They come with the answer. Until then it takes no turn.
                await call.initial_metadata()
                reading = self.front.answers.held(lambda: _whole(call.read, f"the answer of {self.backend.name}"))
                answer = await until_taken.enter_async_context(reading)
                # Nothing follows but the status: one other than OK is raised.
                await call.read()
                return answer if isinstance(answer, bytes) else None
            finally:
                call.cancel()

    async def _request(self, ticket: Ticket) -> bytes | None:
        """Its length is known when it is there: one is read at a time, and those that are not to wait never are. None: it ended."""
        async with self.front.turn:
            request: Any = await _whole(self.context.read, "the request")
            if not isinstance(request, bytes):
                return None
            try:
                ticket.takes(len(request))
            except Refused:
                # The error keeps this frame, and so what is in it, until Python looks for cycles.
                request = None
                raise
            return request


async def _whole(read: Callable[[], Any], what: str) -> Any:
    try:
        async with asyncio.timeout(ARRIVES_SECONDS):
            return await read()
    except TimeoutError:
        raise _Late(f"{what} did not come whole within {ARRIVES_SECONDS:g} s. Send the request again") from None
