"""What the gRPC port takes: connections, metadata, and messages, which may be compressed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn

import grpc
from grpc import aio

from fovea_serving.protocol import compression
from fovea_serving.protocol.errors import ServingError, internal, on_the_wire, resource_exhausted
from fovea_serving.server.connections import HEAD_SECONDS, LARGEST_HEAD

LARGEST_MESSAGE: Final = 2**31 - 1
LARGEST_UNPACKED: Final = 64 * 2**20
"""Bytes of a message that came compressed. One that is sent as it is may be as large as a message can be."""
UNPACKERS: Final = 2
"""Messages that are unpacked at once."""

OLDEST_SECONDS: Final = 600.0
"""How old a connection may be, and how long calls may go on after that. It ends in GOAWAY without an error, in the
protocol's two steps: clients take another one for the next call, and none of theirs is lost. (The end of an idle
connection is one step and an INTERNAL_ERROR, which clients in Python print.)"""

Option = tuple[str, int | str]

_PINGS: Final[Sequence[Option]] = (
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
"""A peer that is gone, or stopped in the middle of a frame, does not answer: its connection is closed. One that answers
and does nothing else is bounded by its age."""


def options(given: Sequence[Option], most_connections: int) -> list[Option]:
    """Arguments of the server; those of --grpc_channel_arguments take the place of ours."""
    own: dict[str, int | str] = dict(
        (
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            ("grpc.so_reuseport", 0),
            ("grpc.max_metadata_size", LARGEST_HEAD),
            ("grpc.absolute_max_metadata_size", LARGEST_HEAD * 5 // 4),
            ("grpc.server_handshake_timeout_ms", int(HEAD_SECONDS * 1000)),
            ("grpc.http2.settings_timeout", int(HEAD_SECONDS * 1000)),
            ("grpc.max_connection_age_ms", int(OLDEST_SECONDS * 1000)),
            ("grpc.max_connection_age_grace_ms", int(OLDEST_SECONDS * 1000)),
            ("grpc.max_allowed_incoming_connections", most_connections),
            *_PINGS,
            # Unpacked by the runtime, one megabyte becomes a gigabyte in pieces that are joined on the event loop.
            ("grpc.per_message_decompression", 0),
        )
    )
    return [*(own | dict(given)).items()]


async def abort(context: Any, error: ServingError) -> NoReturn:
    """End a call with an error; raises."""
    await context.abort(error.code, on_the_wire(error.message))
    raise error


class Unpacking(aio.ServerInterceptor):  # type: ignore[type-arg]
    """Reads messages, and unpacks on a thread those that are compressed.

    Whether one is does not reach Python; its first bytes tell: no request of ours begins as gzip or zlib do.
    """

    def __init__(self, most: int = LARGEST_UNPACKED) -> None:
        self._most = most
        self._threads = ThreadPoolExecutor(UNPACKERS, thread_name_prefix="grpc-unpack")
        self._handlers: dict[str, Any] = {}

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The method's handler, reading what is unpacked."""
        found = self._handlers.get(details.method)
        if found is None:
            handler = await continuation(details)
            if handler is None or handler.request_streaming:
                return handler
            found = self._handlers[details.method] = self._reading(handler)
        return found

    def _reading(self, handler: Any) -> Any:
        answer, read = handler.unary_stream or handler.unary_unary, handler.request_deserializer
        made = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )

        async def call(data: bytes, context: Any) -> Any:
            try:
                message = read(await self._unpacked(data))
            except ServingError as error:
                await abort(context, error)
            except Exception as error:  # noqa: BLE001 - protobuf's errors are no family, and the message is the client's
                await abort(context, internal(f"The request cannot be read: {error}"))
            return await answer(message, context)

        return made(call, request_deserializer=None, response_serializer=handler.response_serializer)

    async def _unpacked(self, data: bytes) -> bytes:
        encoding = "gzip" if compression.is_gzip(data) else "deflate" if compression.is_zlib(data) else ""
        if not encoding:
            return data
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, compression.unpack, data, encoding, self._most)
        except compression.TooLargeError as error:
            raise resource_exhausted(
                f"The compressed message is longer than {self._most} bytes when it is unpacked: send it uncompressed"
            ) from error
