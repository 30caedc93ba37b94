"""REST at the activator: a request waits until its version has a pod, and is passed on once."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from fovea_api.contract import names

from .backends import NOT_BY_A_ROUTE, backend_of
from .room import LARGEST, Refused, Room, Ticket

if TYPE_CHECKING:
    from multidict import CIMultiDict, CIMultiDictProxy

_RETRY_SECONDS = 0.1
_CONNECT_SECONDS = 5.0
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "expect"}
)
_TOO_LARGE = f"a request that waits for a pod has at most {LARGEST >> 20} MiB"
_TAKEN_SECONDS = 60.0
"""In which a client takes the next part of an answer."""
_BEGUN = web.RequestKey("begun", web.StreamResponse)
"""Of a request: its answer, once that has begun."""
_OWN = frozenset({names.MODEL_DEPLOYMENT_HEADER, names.BACKEND_HEADER})


_SILENT_SECONDS = 30.0
"""In which a byte of a request comes: what is there of it takes room."""


def session() -> aiohttp.ClientSession:
    """Connections to versions, as many as there are requests, which have nothing in common and no words of ours."""

    async def connected(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
        ticket: Ticket = context.trace_request_ctx
        ticket.pass_on()

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        trace_configs=[trace],
    )


class _Ended(Exception):
    """A request ends with an error of ours."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


class RestFront:
    """Passes any request on, with the body as it is encoded."""

    def __init__(
        self,
        room: Room,
        session: aiohttp.ClientSession,
        longest: float,
        target: Callable[[str], str] = lambda host: f"http://{host}:{names.REST_PORT}",
        cluster_domain: str = "cluster.local",
    ) -> None:
        """`session`: one of ours. `longest`: seconds that a request may take. `target`: URL of a version's Service, by its DNS name."""
        self._room, self._session, self._longest = room, session, longest
        self._target, self._domain = target, cluster_domain

    def runner(self) -> web.AppRunner:
        """For aiohttp's server. To stop, it waits for the requests as long as they may take."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        return web.AppRunner(
            application, shutdown_timeout=self._longest, handler_cancellation=True, auto_decompress=False
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The version's answer; 404 for a request by no route, 429 where too many wait, 503 with the reason, 504 when it takes too long."""
        backend = backend_of({key.lower(): value for key, value in request.headers.items()}, self._domain)
        if backend is None:
            return _error(404, NOT_BY_A_ROUTE)
        length = request.content_length or 0
        if length > LARGEST:
            return _error(413, _TOO_LARGE)
        try:
            async with asyncio.timeout(self._longest), self._room.held(backend.model, length) as ticket:
                return await ticket.unless_refused(self._pass_on(request, backend.host, ticket))
        except Refused as refused:
            return _error(429 if refused.is_full else 503, str(refused))
        except _Ended as ended:
            return _error(ended.code, str(ended))
        except TimeoutError:
            return self._cut(request) or _error(504, backend.late(self._longest))
        except aiohttp.ClientError as error:
            return self._cut(request) or _error(502, f"ModelDeployment {backend.model.name} broke off: {error}")

    async def _pass_on(self, request: web.Request, host: str, ticket: Ticket) -> web.StreamResponse:
        body = await _read(request, ticket)
        headers = _passed(request.headers)
        headers.popall("Content-Length", None)
        url = f"{self._target(host)}{request.rel_url}"
        while True:
            try:
                async with self._session.request(
                    request.method,
                    url,
                    data=body or None,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=ticket,
                ) as answer:
                    return await self._return(request, answer)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                # Nothing was sent: no pod is ready yet.
                await asyncio.sleep(_RETRY_SECONDS)

    async def _return(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass the answer on as the client takes it: no more than two buffers of it are here."""
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_passed(answer.headers))
        request[_BEGUN] = response
        await response.prepare(request)
        async for part in answer.content.iter_any():
            async with asyncio.timeout(_TAKEN_SECONDS):
                await response.write(part)
        async with asyncio.timeout(_TAKEN_SECONDS):
            await response.write_eof()
        return response

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse | None:
        """End the connection of an answer that has begun and will not be whole; None: none has."""
        begun = request.get(_BEGUN)
        if begun is not None and request.transport is not None:
            request.transport.abort()
        return begun


async def _read(request: web.Request, ticket: Ticket) -> bytes:
    """The body. What does not say how long it is counts as it comes."""
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(_SILENT_SECONDS):
                part = await request.content.readany()
        except TimeoutError:
            raise _Ended(
                408, f"no byte of the request came for {_SILENT_SECONDS:g} s, and it is not whole. Send it again"
            ) from None
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > LARGEST:
            raise _Ended(413, _TOO_LARGE)
        if request.content_length is None:
            ticket.takes(len(part))
        parts.append(part)


def _passed(headers: "CIMultiDictProxy[str]") -> "CIMultiDict[str]":
    """All of them, repeated ones too, but those that are between us and one of the two sides."""
    passed = headers.copy()
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    for name in {key.lower() for key in headers} & (_HOP_BY_HOP | _OWN | named):
        passed.popall(name)
    return passed


def _error(code: int, said: str) -> web.Response:
    return web.json_response({"error": said}, status=code)
