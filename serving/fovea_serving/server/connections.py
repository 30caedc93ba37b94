"""Connections of both ports: how many there may be, and when one on which nothing happens is closed.

Connections     the REST port's, as aiohttp's server
Pace            whether the body that one sends is late
Connection      one of them: closed when its request does not come or its reply is not read; may be half closed
raise_file_limit, most_connections      room for connections among the files that the process may open
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from fovea_serving.protocol import json_requests

HEAD_SECONDS: Final = 20.0
"""How long a client may take to send the head of a request, from the connection's start or the head's first byte."""
STALLED_SECONDS: Final = 60.0
"""How long a client may leave a body or a reply where it is, without one byte of progress."""
KEPT_SECONDS: Final = 3630.0
"""How long a connection is kept between requests: longer than gateways keep theirs, or they would send into a close."""
PATIENCE_SECONDS: Final = 5.0
SLOWEST_BYTES: Final = 64 * 1024
"""A body is late when it came more slowly than SLOWEST_BYTES a second for PATIENCE_SECONDS. It gives way to others then."""
MOST_LEFT: Final = 256 * 1024
"""Bytes of a body that are read and thrown away after its request was answered, so that the connection can be kept."""
LINGER_SECONDS: Final = 1.0
"""How long what comes behind a malformed head is thrown away, so that the client gets to read why."""
LOOK_SECONDS: Final = 1.0
"""How often connections are looked at."""

LARGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's head: its line, and all headers together."""
MOST_HEADERS: Final = 1024

MOST_CONNECTIONS: Final = 8192
"""Connections of one port, however many files may be open: each one takes memory too."""
SPARE_FILES: Final = 1024
"""Files that are left to models, logs and threads, or a quarter where fewer may be open."""

_HEAD_TOO_LARGE: Final = f"The head of the request is longer than {LARGEST_HEAD} bytes; send fewer or shorter headers"
_FULL: Final = "The server holds as many connections as it may, and each is under way: try again later"

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def raise_file_limit() -> int:
    """Let the process open as many files as it may at all; the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 2**31 - 1 if hard == resource.RLIM_INFINITY else hard


def most_connections(files: int, ports: int) -> int:
    """Connections that each of `ports` ports may hold when the process may open `files` files."""
    return max(1, min(MOST_CONNECTIONS, (files - min(SPARE_FILES, files // 4)) // ports))


@dataclass(slots=True)
class Pace:
    """How a body comes. Times are those of the event loop."""

    late_at: float = 0.0

    def begins(self, now: float) -> None:
        """Its head is there."""
        self.late_at = now + PATIENCE_SECONDS

    def came(self, size: int, now: float) -> None:
        """`size` bytes more have come. They buy time, up to PATIENCE_SECONDS: a fast client may not pause for longer."""
        self.late_at = min(now + PATIENCE_SECONDS, self.late_at + size / SLOWEST_BYTES)

    def is_late(self, now: float) -> bool:
        """Whether it came more slowly than SLOWEST_BYTES a second for PATIENCE_SECONDS."""
        return now > self.late_at


class Connection(web.RequestHandler):
    """One client. Times are those of the event loop."""

    def __init__(self, connections: Connections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            connections,
            loop=loop,
            keepalive_timeout=KEPT_SECONDS,
            access_log=None,  # type: ignore[arg-type] # aiohttp takes None, its annotation does not say so
            max_line_size=LARGEST_HEAD,
            max_field_size=LARGEST_HEAD,
            max_headers=MOST_HEADERS,
            auto_decompress=False,
        )
        self._connections = connections
        self._payload: Any = None
        self._answered = True
        self._pace = Pace()
        self._refused = False
        self._lingering: asyncio.Future[None] | None = None
        self._head_began: float | None = loop.time()
        self._head_bytes = 0
        self._sends_no_more = False
        self._unsent = 0
        self._moved = loop.time()

    def began(self, payload: Any) -> None:
        """A request's head is there, and it is this request's turn."""
        self._payload, self._answered, self._head_began, self._head_bytes = payload, False, None, 0
        self._pace.begins(self._loop.time())
        self._connections.is_busy(self)

    @property
    def _body_is_whole(self) -> bool:
        """Whether what comes now is no body of the request whose turn it is, or was."""
        return self._payload is None or bool(self._payload.is_eof())

    def is_late(self) -> bool:
        """Whether the body of the request whose turn it is comes too slowly."""
        return not self._body_is_whole and self._pace.is_late(self._loop.time())

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the reply. It closes the connection if the client sends no more, or has much of a body still to send.

        The rest of a body is read by aiohttp, for at most ten seconds, and what comes behind a malformed head here: a
        close with unread bytes would reset the connection, and the client would lose the answer.
        """
        is_last = self._sends_no_more and not self._messages
        if is_last or resp.status == HTTPStatus.REQUEST_TIMEOUT or self._much_is_left(request):
            resp.force_close()
        try:
            sent = await super().finish_response(request, resp, start_time)
        finally:
            self._answered = True
            if self.transport is not None and not self._messages:
                self._connections.is_kept(self)
        if self._refused:
            await self._linger()
        return sent

    async def _linger(self) -> None:
        """Wait until the client closes, its time is up, or the server stops; a new connection may have the place."""
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.write_eof()
        self._lingering = self._loop.create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._lingering

    def close(self) -> None:
        """Take no more requests; aiohttp calls it when the server begins to stop."""
        super().close()
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)

    def _much_is_left(self, request: web.BaseRequest) -> bool:
        """Whether more of the body is on its way than is worth the connection; of a chunked one that is not known.

        Nor whether the body of a client that waits to be asked for it comes at all, or another request in its place.
        """
        if self._body_is_whole:
            return False
        if not self._payload.total_bytes and "Expect" in request.headers:
            return True
        length = request.content_length
        return length is None or length - self._payload.total_bytes > MOST_LEFT

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that has grown too long is refused."""
        if self._refused:
            return
        waiting = self._answered and self._body_is_whole
        now = self._loop.time()
        if waiting and self._head_began is None:
            self._head_began = now
        self._pace.came(len(data), now)
        super().data_received(data)
        if self._messages or not waiting:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > LARGEST_HEAD:
            self.refuse("431 Request Header Fields Too Large", _HEAD_TOO_LARGE)

    def refuse(self, status: str, message: str) -> None:
        """Answer outside a request, and take nothing more.

        The client closes, or its time goes by: to close with unread bytes would reset the connection, and the client
        would lose the answer.
        """
        if self.transport is None:
            return
        self._refused = True
        body = json_requests.error_reply(message)
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.write_eof()
        self.close()

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio asks for an answer, aiohttp gives none
        """The client sends no more. It may still read: where whole requests came, they are answered first."""
        payloads = [payload for _, payload in self._messages]
        if not self._answered:
            payloads.append(self._payload)
        self._sends_no_more = bool(payloads) and all(payload.is_eof() for payload in payloads)
        return self._sends_no_more

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP request as JSON, like every other error, and without a traceback in the log."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        self._refused = True
        body = json_requests.error_reply(f"Malformed request: {message or 'not HTTP'}")
        response = web.Response(status=status, body=body, content_type="application/json", charset="utf-8")
        response.force_close()
        return response

    def is_stuck(self, now: float) -> bool:
        """Whether the client has let its time go by: to send the head of a request, or to read a reply."""
        if self.transport is None:
            return False
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent or not unsent:
            self._unsent, self._moved = unsent, now
        if unsent:
            return now - self._moved > STALLED_SECONDS
        return self._head_began is not None and now - self._head_began > HEAD_SECONDS

    def abort(self) -> None:
        """End the connection at once, whatever was to be sent."""
        if self.transport is not None:
            self.transport.abort()


class Connections(web.Server):
    """All connections of the REST port, up to a limit. One without a request, or a late one, gives way to a new one."""

    def __init__(self, handle: Handle, most: int) -> None:
        super().__init__(handle, request_factory=self._begin, handler_cancellation=True)
        self._most = most
        # In each of them the one that has been there longest comes first.
        self._silent: dict[Connection, None] = {}
        self._kept: dict[Connection, None] = {}
        self._busy: dict[Connection, None] = {}

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, self._loop)

    def _begin(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        protocol.began(payload)
        return self._make_request(message, payload, protocol, writer, task)

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Take the connection in. When there are too many, one without a request or a late one goes, else this one."""
        super().connection_made(handler, transport)
        if len(self._silent) + len(self._kept) + len(self._busy) >= self._most:
            late = (one for one in self._busy if one.is_late())
            oldest = next(iter(self._silent), None) or next(iter(self._kept), None) or next(late, None)
            if oldest is None:
                handler.refuse("503 Service Unavailable", _FULL)
            else:
                self._forget(oldest)
                oldest.abort()
        self._silent[handler] = None

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """The connection has ended."""
        super().connection_lost(handler, exc)
        self._forget(handler)

    def is_busy(self, connection: Connection) -> None:
        """A request of it is being answered."""
        self._forget(connection)
        self._busy[connection] = None

    def is_kept(self, connection: Connection) -> None:
        """Its requests are answered; it is kept for more."""
        self._forget(connection)
        self._kept[connection] = None

    def _forget(self, connection: Connection) -> None:
        for group in (self._silent, self._kept, self._busy):
            group.pop(connection, None)

    async def close_stuck(self) -> None:
        """Close connections whose clients have let their time go by, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._loop.time()
            for connection in [*self._silent, *self._kept, *self._busy]:
                if connection.is_stuck(now):
                    connection.abort()
