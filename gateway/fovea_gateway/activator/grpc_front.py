"""gRPC at the activator: a call waits until its version has a pod, and is passed on once, with what is left of its deadline."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

import grpc
from fovea_api.contract import names

from .backends import NOT_BY_A_ROUTE, Backend, backend_of
from .room import LARGEST, Refused, Room

OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", -1),
)
_RETRIED = (
    # A version's Service refuses connections until a pod is ready. Then no second is to be lost.
    *(("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 250)),
    # Also the time that a connection may take: the first pod may be slow when all come at once.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.dns_min_time_between_resolutions_ms", 500),
)
_OWN = frozenset({names.MODEL_DEPLOYMENT_HEADER, names.BACKEND_HEADER, "user-agent", "content-type", "te"})
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class GrpcFront(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Takes calls of any method with one request and one answer: the gateway lets no other pass."""

    def __init__(
        self,
        room: Room,
        longest: float,
        target: Callable[[str], str] = lambda host: f"dns:///{host}:{names.GRPC_PORT}",
        cluster_domain: str = "cluster.local",
    ) -> None:
        """`longest`: seconds that a call without a deadline may wait. `target`: where gRPC finds a version's Service, by its DNS name."""
        self._room, self._longest, self._target, self._domain = room, longest, target, cluster_domain
        self._channels: dict[str, tuple[grpc.aio.Channel, int]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Every method."""
        method = handler_call_details.method

        async def answer(request: bytes, context: Context) -> bytes:
            return await self._answer(method, request, context)

        return grpc.unary_unary_rpc_method_handler(answer)

    async def _answer(self, method: str, request: bytes, context: Context) -> bytes:
        metadata = [(key, value) for key, value in context.invocation_metadata() or ()]
        backend = backend_of({key: value for key, value in metadata if isinstance(value, str)}, self._domain)
        if backend is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, NOT_BY_A_ROUTE)
        assert backend is not None  # noqa: S101 - abort() raises
        try:
            async with self._room.held(backend.model, len(request)) as ticket:
                return await ticket.unless_refused(self._pass_on(backend, method, request, metadata, context))
        except Refused as refused:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if refused.is_full else grpc.StatusCode.UNAVAILABLE
            await context.abort(code, str(refused))
        except grpc.aio.AioRpcError as error:
            await context.abort(
                error.code(),
                error.details() or "",
                tuple(cast("Any", error.trailing_metadata()) or ()),
            )
        raise AssertionError("abort() raises")

    async def _pass_on(
        self,
        backend: Backend,
        method: str,
        request: bytes,
        metadata: Iterable[tuple[str, str | bytes]],
        context: Context,
    ) -> bytes:
        left = context.time_remaining()
        passed = [(key, value) for key, value in metadata if key not in _OWN and not key.startswith("grpc-")]
        channel = self._channel(backend.host)
        try:
            call = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
            answer: bytes = await call(
                request,
                timeout=self._longest if left is None else min(left, self._longest),
                metadata=tuple(passed),
                wait_for_ready=True,
            )
            return answer
        finally:
            await asyncio.shield(self._done(backend.host))

    def _channel(self, host: str) -> grpc.aio.Channel:
        channel, users = self._channels.get(host) or (
            grpc.aio.insecure_channel(self._target(host), options=[*OPTIONS, *_RETRIED]),
            0,
        )
        self._channels[host] = channel, users + 1
        return channel

    async def _done(self, host: str) -> None:
        channel, users = self._channels[host]
        if users > 1:
            self._channels[host] = channel, users - 1
            return
        del self._channels[host]
        await channel.close(grace=None)
