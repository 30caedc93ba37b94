"""A kubelet's HTTPS endpoint for logs and port-forwards, behind a Node object: the API server proxies to it."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from fovea_dev.api import ApiError
from fovea_dev.apiserver import ApiServer
from fovea_dev.pki import Subject
from support.polling import until

HOST = "127.0.0.1"


@dataclass
class Log:
    """Lines of one container, stamped; `open` while it runs."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    open: bool = True
    cut_after: int | None = None
    """Break the next followed connection after this number of lines, once."""


class KubeletServer:
    """Logs by (pod, container), port-forwards by (pod, port) to a TCP address of the machine."""

    def __init__(self, server: ApiServer, name: str) -> None:
        self.name = name
        self.logs: dict[tuple[str, str], Log] = {}
        self.ports: dict[tuple[str, int], tuple[str, int]] = {}
        self.requests: list[str] = []
        pki = server.plane.pki
        pki.issue("ca", [Subject(f"kubelet-{name}", f"system:node:{name}", "system:nodes", addresses=(HOST,))])
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(pki.certificate(f"kubelet-{name}"), pki.key(f"kubelet-{name}"))
        self._loop = asyncio.new_event_loop()
        self._port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def node(self) -> dict[str, Any]:
        """The Node's status that leads the API server here."""
        return {
            "addresses": [{"type": "InternalIP", "address": HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }

    def log(self, pod: str, container: str = "trainer") -> Log:
        """The log of a container."""
        return self.logs.setdefault((pod, container), Log())

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        until(lambda: self._port, seconds=10, what="the kubelet's port")

    def stop(self) -> None:
        """End."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._send_log)
        app.router.add_route("*", "/portForward/{namespace}/{pod}", self._forward)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0, ssl_context=self._context)
        await site.start()
        server: Any = site._server
        self._port = server.sockets[0].getsockname()[1]

    async def _send_log(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        log = self.log(request.match_info["pod"], request.match_info["container"])
        since = request.query.get("sinceTime", "")
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        sent = 0
        position = 0
        while True:
            while position < len(log.lines):
                stamp, text = log.lines[position]
                position += 1
                # As a kubelet: whole seconds.
                if since and stamp[:19] < since[:19]:
                    continue
                await response.write(f"{stamp} {text}\n".encode())
                sent += 1
                if log.cut_after is not None and sent >= log.cut_after:
                    log.cut_after = None
                    assert request.transport is not None
                    request.transport.abort()
                    return response
            if not log.open or request.query.get("follow") != "true":
                return response
            await asyncio.sleep(0.05)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        port = int(request.query.get("port") or request.query["ports"])
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        reader, writer = await asyncio.open_connection(*self.ports[request.match_info["pod"], port])

        async def back() -> None:
            while data := await reader.read(64 * 1024):
                await socket.send_bytes(b"\0" + data)
            await socket.close()

        task = asyncio.ensure_future(back())
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[0] == 0:
                writer.write(message.data[1:])
                await writer.drain()
        writer.close()
        task.cancel()
        return socket


@contextmanager
def kubelet_server(server: ApiServer, name: str) -> Iterator[KubeletServer]:
    """A kubelet with its Node, gone at the end."""
    kubelet = KubeletServer(server, name)
    kubelet.start()
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    server.client.request("POST", "/api/v1/nodes", node)
    server.client.request(
        "PATCH", f"/api/v1/nodes/{name}/status", {"status": kubelet.node()}, "application/merge-patch+json"
    )
    try:
        yield kubelet
    finally:
        with suppress(ApiError):  # a test may have deleted it
            server.client.request("DELETE", f"/api/v1/nodes/{name}")
        kubelet.stop()
