"""REST at the activator: a request waits until its version has a pod, and is passed on once."""

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import web
from fovea_api.contract import names

from .backends import NOT_BY_A_ROUTE, backend_of
from .room import LARGEST, Refused, Room

_RETRY_SECONDS = 0.1
_CONNECT_SECONDS = 5.0
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "expect"}
)
_OWN = frozenset({names.MODEL_DEPLOYMENT_HEADER, names.BACKEND_HEADER})


def session() -> aiohttp.ClientSession:
    """Connections to versions, as many as there are requests."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout, auto_decompress=False)


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
        """`longest`: seconds that a request may take. `target`: URL of a version's Service, by its DNS name."""
        self._room, self._session, self._longest = room, session, longest
        self._target, self._domain = target, cluster_domain

    def runner(self) -> web.AppRunner:
        """For aiohttp's server. To stop, it waits for the requests as long as they may take."""
        application = web.Application(client_max_size=LARGEST)
        application.router.add_route("*", "/{path:.*}", self.answer)
        return web.AppRunner(
            application, shutdown_timeout=self._longest, handler_cancellation=True, auto_decompress=False
        )

    async def answer(self, request: web.Request) -> web.Response:
        """The version's answer; 404 for a request by no route, 429 where too many wait, 503 with the reason, 504 when it takes too long."""
        backend = backend_of({key.lower(): value for key, value in request.headers.items()}, self._domain)
        if backend is None:
            return _error(404, NOT_BY_A_ROUTE)
        # Before it is read: of one that does not say its length, the largest is assumed.
        size = LARGEST if request.content_length is None and request.can_read_body else request.content_length or 0
        if size > LARGEST:
            return _error(413, f"a request that waits for a pod has at most {LARGEST >> 20} MiB")
        try:
            async with asyncio.timeout(self._longest), self._room.held(backend.model, size) as ticket:
                body = await request.read()
                return await ticket.unless_refused(self._pass_on(request, backend.host, body))
        except Refused as refused:
            return _error(429 if refused.is_full else 503, str(refused))
        except TimeoutError:
            return _error(504, f"no pod of ModelDeployment {backend.model.name} answered within {self._longest:g} s")
        except aiohttp.ClientError as error:
            return _error(502, f"ModelDeployment {backend.model.name} broke off: {error}")

    async def _pass_on(self, request: web.Request, host: str, body: bytes) -> web.Response:
        dropped = _HOP_BY_HOP | _OWN | {"content-length"}
        headers = {key: value for key, value in request.headers.items() if key.lower() not in dropped}
        url = f"{self._target(host)}{request.rel_url}"
        while True:
            try:
                async with self._session.request(
                    request.method, url, data=body or None, headers=headers, allow_redirects=False
                ) as answer:
                    content = await answer.read()
                    kept = {k: v for k, v in answer.headers.items() if k.lower() not in dropped}
                    return web.Response(status=answer.status, body=content, headers=kept)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                # Nothing was sent: no pod is ready yet.
                await asyncio.sleep(_RETRY_SECONDS)


def _error(code: int, said: str) -> web.Response:
    return web.json_response({"error": said}, status=code)
