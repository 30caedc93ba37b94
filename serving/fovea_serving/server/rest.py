"""The REST API and the metrics page, over aiohttp on the event loop that serves gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, cast

from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from fovea_serving.protocol import compression, json_requests, metrics, rest_paths
from fovea_serving.protocol.errors import (
    ServingError,
    deadline_exceeded,
    http_status,
    internal,
    invalid_argument,
)
from fovea_serving.protocol.json_requests import JsonForm
from fovea_serving.protocol.predict import LARGE_REQUEST
from fovea_serving.server import connections
from fovea_serving.server.inference import SIGNATURE_DEFINITIONS, Inference, deadline_in
from fovea_serving.server.memory import GaveWayError, Share
from fovea_serving.server.metrics import Metrics

log = logging.getLogger(__name__)

Body = bytes | bytearray

ENTRYPOINT: Final = "REST"

_CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
LATE_SECONDS: Final = 0.5
"""After its deadline a request is given up here: the queue and the runtime, which know more to say, come first."""
LONGEST_LOGGED_PATH: Final = 200
BACKLOG: Final = 1024
"""Connections that the kernel holds until the event loop takes them."""

_GAVE_WAY: Final = (
    f"The body came more slowly than {connections.SLOWEST_BYTES // 1024} KiB a second, and other requests needed the "
    "memory that its beginning held: send it faster, or later"
)


class LateBodyError(Exception):
    """The body of a request did not come in time."""


@dataclass(frozen=True, slots=True)
class RestSettings:
    """Limits of a request (seconds, None: none; bytes and JSON values of its body), CORS headers, the metrics' path.

    `max_body_bytes` holds for a body as it comes and for what it is when it is unpacked.
    """

    timeout: float | None = 30.0
    max_body_bytes: int = 64 * 2**20
    max_body_values: int = 1_000_000
    cors: bool = False
    metrics_path: str | None = metrics.PATH
    most_connections: int = connections.MOST_CONNECTIONS


class RestServer:
    """The HTTP port."""

    def __init__(self, inference: Inference, page: Metrics, settings: RestSettings) -> None:
        self._inference = inference
        self._metrics = page
        self._settings = settings
        self._runner: web.ServerRunner | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self, port: int) -> None:
        """Open the port on all interfaces, IPv4 and, where there is one, IPv6; raises OSError when it is taken."""
        server = connections.Connections(self._handle, self._settings.most_connections)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        await web.SockSite(self._runner, listen(port), backlog=BACKLOG).start()
        self._closing = asyncio.get_running_loop().create_task(server.close_stuck())

    async def stop(self, grace: float) -> None:
        """No new connections; requests under way have `grace` seconds to end."""
        if self._runner is None or self._closing is None:
            return
        self._closing.cancel()
        for site in list(self._runner.sites):
            await site.stop()
        server = self._runner.server
        if server is not None:
            server.pre_shutdown()
            await server.shutdown(grace)
        await self._runner.cleanup()
        self._inference.converters.close()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        path = request.rel_url.raw_path
        if path == self._settings.metrics_path:
            page = self._metrics.page().encode("utf-8", "backslashreplace")
            return web.Response(body=page, headers={"Content-Type": metrics.CONTENT_TYPE})
        if not path.lower().startswith("/v1/"):
            return web.Response(status=404)
        headers = dict(_CORS) if self._settings.cors else {}
        if request.method == "OPTIONS" and self._settings.cors:
            return web.Response(headers=headers)
        try:
            status, body = 200, await self._bounded(request, path)
        except ServingError as error:
            status, body = http_status(error.code), json_requests.error_reply(error.message)
        except web.HTTPRequestEntityTooLarge:
            most = self._settings.max_body_bytes
            status, body = 413, json_requests.error_reply(f"The body is longer than {most} bytes")
        except LateBodyError as error:
            status, body = 408, json_requests.error_reply(str(error))
        except Exception as error:
            log.exception("A request failed in the server itself: %s %s", request.method, path[:LONGEST_LOGGED_PATH])
            fault = internal(f"{type(error).__name__}: {error}")
            status, body = http_status(fault.code), json_requests.error_reply(fault.message)
        return web.Response(status=status, body=body, content_type="application/json", charset="utf-8", headers=headers)

    async def _bounded(self, request: web.BaseRequest, path: str) -> bytes:
        seconds = self._settings.timeout
        deadline = deadline_in(seconds)
        try:
            async with asyncio.timeout(None if seconds is None else seconds + LATE_SECONDS):
                return await self._answer(request, path, deadline)
        except TimeoutError as error:
            if not request.content.is_eof():
                raise LateBodyError(f"The body did not come whole within {seconds or 0:.0f} s") from error
            raise deadline_exceeded("Timed out waiting for the answer") from error

    async def _answer(self, request: web.BaseRequest, path: str, deadline: float | None) -> bytes:
        target = rest_paths.target(request.method, path)
        spec = model_pb2.ModelSpec()
        target.fill(spec)
        if request.method == "GET":
            return self._status(spec) if target.asked == rest_paths.STATUS else self._metadata(spec)
        async with self._body(request) as (body, share):
            if target.asked == "predict":
                return await self._predict(spec, body, share, deadline)
            if target.asked == "classify":
                return await self._classify(spec, body, share, deadline)
            return await self._regress(spec, body, share, deadline)

    @contextlib.asynccontextmanager
    async def _body(self, request: web.BaseRequest) -> AsyncIterator[tuple[Body, Share]]:
        """The whole body, and what it holds of the memory as long as the block lasts."""
        most, encoding = self._settings.max_body_bytes, request.headers.get("Content-Encoding", "").strip().lower()
        with self._inference.memory.share() as share:
            try:
                body = await _received(request, share, most)
                if encoding in compression.IDENTITY:
                    yield body, share
                    return
                unpacked = await self._inference.converters.call(True, compression.unpack, body, encoding, most)
                del body
                share.take(len(unpacked))
                yield unpacked, share
            except compression.TooLargeError as error:
                raise web.HTTPRequestEntityTooLarge(most, most + 1) from error

    async def _predict(self, spec: Any, body: Body, share: Share, deadline: float | None) -> bytes:
        form = JsonForm(body, self._settings.max_body_values)
        return await self._inference.predict(spec, form, deadline, ENTRYPOINT, share)

    async def _classify(self, spec: Any, body: Body, share: Share, deadline: float | None) -> bytes:
        large = len(body) >= LARGE_REQUEST
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        await self._inference.converters.call(large, _fill_examples, body, request, self._settings.max_body_values)
        response = await self._inference.classify(request, deadline, ENTRYPOINT, share)
        large = response.ByteSize() >= LARGE_REQUEST
        return await self._inference.converters.call(large, json_requests.classify_reply, response.result)

    async def _regress(self, spec: Any, body: Body, share: Share, deadline: float | None) -> bytes:
        large = len(body) >= LARGE_REQUEST
        request = regression_pb2.RegressionRequest(model_spec=spec)
        await self._inference.converters.call(large, _fill_examples, body, request, self._settings.max_body_values)
        response = await self._inference.regress(request, deadline, ENTRYPOINT, share)
        large = response.ByteSize() >= LARGE_REQUEST
        return await self._inference.converters.call(large, json_requests.regress_reply, response.result)

    def _status(self, spec: Any) -> bytes:
        response = self._inference.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
        return _json(response).encode() + b"\n"

    def _metadata(self, spec: Any) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[SIGNATURE_DEFINITIONS]
        )
        response = self._inference.metadata(request)
        signature_map = get_model_metadata_pb2.SignatureDefMap()
        if not response.metadata[SIGNATURE_DEFINITIONS].Unpack(signature_map):
            raise internal("Failed to unpack 'Any' object to 'SignatureDefMap'.")
        parts = {
            "model_spec": json.loads(_json(response.model_spec)),
            "metadata": {SIGNATURE_DEFINITIONS: json.loads(_json(signature_map))},
        }
        return json.dumps(parts, indent=1).encode() + b"\n"


def listen(port: int) -> socket.socket:
    """A socket that takes IPv4 and, where the machine has it, IPv6; raises OSError when the port is taken."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)


async def _received(request: web.BaseRequest, share: Share, most: int) -> bytearray:
    """The body as it was sent; a client that waits to be asked for it is asked, one that stops sending it is given up.

    Raises UNAVAILABLE while other requests fill what they may of memory, and LateBodyError.
    """
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    loop, body = asyncio.get_running_loop(), bytearray()
    connection = cast("connections.Connection", request.protocol)
    try:
        async with asyncio.timeout(connections.STALLED_SECONDS) as limit:

            def leave() -> None:
                if not limit.expired():  # else it ends already, and a request that needs the room gets no such error
                    limit.reschedule(0)

            with share.arriving(connection.is_late, leave):
                while chunk := await request.content.readany():
                    share.take(len(chunk))
                    body += chunk
                    if len(body) > most:
                        raise web.HTTPRequestEntityTooLarge(most, len(body))
                    limit.reschedule(loop.time() + connections.STALLED_SECONDS)
    except TimeoutError as error:
        if share.gave_way:
            raise LateBodyError(_GAVE_WAY) from error
        raise LateBodyError(f"No byte of the body came for {connections.STALLED_SECONDS:.0f} s") from error
    except GaveWayError as error:
        raise LateBodyError(_GAVE_WAY) from error
    except web.RequestPayloadError as error:
        raise invalid_argument(f"The body cannot be read: {error}") from error
    return body


def _fill_examples(body: Body, request: Any, most_values: int) -> None:
    json_requests.fill_examples(json_requests.parse(body, most_values), request)


def _json(message: Any) -> str:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
