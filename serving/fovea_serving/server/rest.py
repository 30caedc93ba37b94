"""The REST API and the metrics page, over aiohttp on the event loop that serves gRPC."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from fovea_serving.server import json_requests, metrics, predict
from fovea_serving.server.errors import ServingError, deadline_exceeded, http_status, internal, invalid_argument
from fovea_serving.server.inference import SIGNATURE_DEFINITIONS, Inference, deadline_in
from fovea_serving.server.metrics import Metrics
from fovea_serving.server.signatures import DEFAULT_SIGNATURE

ENTRYPOINT: Final = "REST"

_POST: Final = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)", re.IGNORECASE
)
_GET: Final = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?", re.IGNORECASE
)
_CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
LARGE_BODY: Final = 64 * 1024
"""Bytes from which a body is parsed on a thread, so that it delays others less."""


@dataclass(frozen=True, slots=True)
class RestSettings:
    """Seconds a request may take, bytes its body may have, CORS headers, and where metrics are (None: nowhere)."""

    timeout: float = 30.0
    max_body_bytes: int = 64 * 2**20
    cors: bool = False
    metrics_path: str | None = metrics.PATH


class RestServer:
    """The HTTP port."""

    def __init__(self, inference: Inference, page: Metrics, settings: RestSettings) -> None:
        self._inference = inference
        self._metrics = page
        self._settings = settings
        application = web.Application(client_max_size=settings.max_body_bytes)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, handler_cancellation=True, access_log=None)

    async def start(self, port: int) -> None:
        """Open the port on all interfaces; raises OSError when it is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, None, port).start()

    async def stop(self, grace: float) -> None:
        """No new connections; requests under way have so many seconds to end."""
        for site in list(self._runner.sites):
            await site.stop()
        server = self._runner.server
        if server is not None:
            server.pre_shutdown()
            await server.shutdown(grace)
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        if path == self._settings.metrics_path:
            return web.Response(text=self._metrics.page(), headers={"Content-Type": metrics.CONTENT_TYPE})
        if not path.lower().startswith("/v1/"):
            return web.Response(status=404)
        headers = dict(_CORS) if self._settings.cors else {}
        if request.method == "OPTIONS" and self._settings.cors:
            return web.Response(headers=headers)
        try:
            status, text = 200, await self._bounded(request, path)
        except ServingError as error:
            status, text = http_status(error.code), json_requests.error_reply(error.message)
        except web.HTTPRequestEntityTooLarge:
            most = self._settings.max_body_bytes
            status, text = 413, json_requests.error_reply(f"The body is longer than {most} bytes")
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    async def _bounded(self, request: web.Request, path: str) -> str:
        deadline = deadline_in(self._settings.timeout)
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._answer(request, path, deadline)
        except TimeoutError as error:
            raise deadline_exceeded("Timed out waiting for the answer") from error

    async def _answer(self, request: web.Request, path: str, deadline: float | None) -> str:
        match = None
        if request.method == "POST" and (match := _POST.fullmatch(path)):
            spec = _spec(match)
            document = await self._document(request)
            kind = match.group(4).lower()
            if kind == "predict":
                return await self._predict(spec, document, deadline)
            if kind == "classify":
                return await self._classify(spec, document, deadline)
            return await self._regress(spec, document, deadline)
        if request.method == "GET" and (match := _GET.fullmatch(path)):
            if not match.group(1):
                raise invalid_argument("Missing model name in request.")
            return self._metadata(_spec(match)) if match.group(4) else self._status(_spec(match))
        raise invalid_argument(f"Malformed request: {request.method} {path}")

    async def _document(self, request: web.Request) -> dict[str, Any]:
        body = await request.read()
        if len(body) < LARGE_BODY:
            return json_requests.parse(body)
        return await asyncio.get_running_loop().run_in_executor(None, json_requests.parse, body)

    async def _predict(self, spec: Any, document: dict[str, Any], deadline: float | None) -> str:
        name = json_requests.signature_name(document) or DEFAULT_SIGNATURE
        with (
            self._metrics.request(spec.name, "Predict", ENTRYPOINT),
            self._inference.models.use(spec) as (_, servable),
        ):
            signature = servable.signatures.get(name)
            if signature is None:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            arrays, rows = json_requests.predict_inputs(document, signature)
            call = predict.prepare_arrays(signature, arrays)
            ran = await self._inference.batcher.run(servable, signature, call.feeds, call.outputs, deadline)
            self._metrics.ran(spec.name, "Predict", ran.seconds)
            return json_requests.predict_reply(dict(zip(call.outputs, ran.values, strict=True)), rows=rows)

    async def _classify(self, spec: Any, document: dict[str, Any], deadline: float | None) -> str:
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        json_requests.fill_examples(document, request)
        response = await self._inference.classify(request, deadline, ENTRYPOINT)
        return json_requests.classify_reply(response.result)

    async def _regress(self, spec: Any, document: dict[str, Any], deadline: float | None) -> str:
        request = regression_pb2.RegressionRequest(model_spec=spec)
        json_requests.fill_examples(document, request)
        response = await self._inference.regress(request, deadline, ENTRYPOINT)
        return json_requests.regress_reply(response.result)

    def _status(self, spec: Any) -> str:
        response = self._inference.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
        return _json(response) + "\n"

    def _metadata(self, spec: Any) -> str:
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
        return json.dumps(parts, indent=1) + "\n"


def _json(message: Any) -> str:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _spec(match: re.Match[str]) -> Any:
    """ModelSpec of a path: name and maybe a version or a label."""
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match.group(1)))
    if match.group(2):
        version = int(match.group(2))
        if version >= 2**63:
            raise invalid_argument(f"Failed to convert version: {match.group(2)} to numeric.")
        spec.version.value = version
    if match.group(3):
        spec.version_label = urllib.parse.unquote(match.group(3))
    return spec
