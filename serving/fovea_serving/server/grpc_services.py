"""PredictionService, ModelService and grpc.health.v1 over grpc.aio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc
from fovea_wire import methods
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from fovea_serving.protocol import health_names
from fovea_serving.protocol.errors import ServingError, internal, permission_denied
from fovea_serving.protocol.predict import ProtoForm
from fovea_serving.server import config_files, grpc_channel
from fovea_serving.server.connections import MOST_CONNECTIONS
from fovea_serving.server.grpc_channel import abort
from fovea_serving.server.inference import Inference, deadline_in
from fovea_serving.server.models import Models

log = logging.getLogger(__name__)

ENTRYPOINT: Final = "GRPC"
LAST_BYTES_SECONDS: Final = 2.0
"""How long an answer may take to leave after its request has been answered."""

FIXED_MODELS: Final = (
    "HandleReloadConfigRequest is refused: this server was started with --model_base_path, so its model is fixed, and "
    "the port has no authentication: every client that may Predict could take the model away. "
    "Start it with --model_config_file to let its set of models be changed"
)

Reply = TypeVar("Reply")


class UnderWay(aio.ServerInterceptor):  # type: ignore[type-arg]
    """Counts the requests under way, from the moment a call is accepted: its message may still be on its way then.

    Streams do not count, for they need not end (a health check that watches).
    """

    def __init__(self) -> None:
        self.count = 0
        self._none = asyncio.Event()
        self._none.set()

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Count the call until its task ends, however it does: a caller may leave before its message was there."""
        handler = await continuation(details)
        task = asyncio.current_task()
        if task is not None and handler is not None and not handler.response_streaming:
            self.count += 1
            self._none.clear()
            task.add_done_callback(self._ended)
        return handler

    def _ended(self, _: object) -> None:
        self.count -= 1
        if not self.count:
            self._none.set()

    async def ended(self, seconds: float) -> None:
        """Wait until there is none, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()


async def _answered(context: Any, answer: Awaitable[Reply]) -> Reply:
    try:
        return await answer
    except ServingError as error:
        await abort(context, error)
    except Exception as error:
        log.exception("A request failed in the server itself")
        await abort(context, internal(f"{type(error).__name__}: {error}"))


async def _now(make: Callable[[Any], Reply], request: Any) -> Reply:
    return make(request)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Inference over gRPC; the client's deadline is the call's."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Predict(self, request: Any, context: Any) -> Any:
        """Tensors in, tensors out."""
        deadline = deadline_in(context.time_remaining())
        form = ProtoForm(request, self._inference.as_content)
        return await _answered(context, self._inference.predict(request.model_spec, form, deadline, ENTRYPOINT))

    async def Classify(self, request: Any, context: Any) -> Any:
        """Examples in, classes and scores out."""
        deadline = deadline_in(context.time_remaining())
        return await _answered(context, self._inference.classify(request, deadline, ENTRYPOINT))

    async def Regress(self, request: Any, context: Any) -> Any:
        """Examples in, values out."""
        deadline = deadline_in(context.time_remaining())
        return await _answered(context, self._inference.regress(request, deadline, ENTRYPOINT))

    async def MultiInference(self, request: Any, context: Any) -> Any:
        """The same examples through several signatures of one model."""
        deadline = deadline_in(context.time_remaining())
        return await _answered(context, self._inference.multi_inference(request, deadline))

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """Signatures of a loaded version."""
        return await _answered(context, _now(self._inference.metadata, request))


def predict_handler(prediction: PredictionService) -> grpc.GenericRpcHandler[Any, Any]:
    """Predict with answers that are serialised already; found before the handler of the generated code."""
    method = grpc.unary_unary_rpc_method_handler(
        prediction.Predict, request_deserializer=predict_pb2.PredictRequest.FromString, response_serializer=bytes
    )
    return grpc.method_handlers_generic_handler(methods.PREDICTION_SERVICE, {"Predict": method})


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """States of versions, and another set of models."""

    def __init__(self, inference: Inference, models: Models, *, may_reload: bool) -> None:
        self._inference = inference
        self._models = models
        self._may_reload = may_reload

    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        """States of one or all versions of a model."""
        return await _answered(context, _now(self._inference.status, request))

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        """Serve exactly the models of the request's config, from now on."""
        return await _answered(context, self._reload(request))

    async def _reload(self, request: Any) -> Any:
        if not self._may_reload:
            raise permission_denied(FIXED_MODELS)
        try:
            await self._models.configure(config_files.models_of(request.config))
        except ServingError as error:
            log.error("ReloadConfig failed: %s", error)  # noqa: TRY400 - the text says it
            raise
        return model_management_pb2.ReloadConfigResponse()


class GrpcServer:
    """The gRPC port."""

    def __init__(
        self,
        inference: Inference,
        models: Models,
        *,
        arguments: Sequence[grpc_channel.Option],
        most_connections: int = MOST_CONNECTIONS,
        with_health: bool,
        may_reload: bool,
    ) -> None:
        self.under_way = UnderWay()
        self._server = aio.server(
            options=grpc_channel.options(arguments, most_connections),
            interceptors=[self.under_way, grpc_channel.Unpacking()],
        )
        prediction = PredictionService(inference)
        self._server.add_generic_rpc_handlers((predict_handler(prediction),))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, self._server)
        model = ModelService(inference, models, may_reload=may_reload)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(model, self._server)
        self._health = health.aio.HealthServicer() if with_health else None  # type: ignore[attr-defined]
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self, *, port: int, socket_path: str, tls: Any) -> None:
        """Open the port (IPv4, and IPv6 where there is one) and say SERVING; raises OSError when it is taken."""
        try:
            if port and tls is None:
                self._server.add_insecure_port(f"[::]:{port}")
            elif port:
                self._server.add_secure_port(f"[::]:{port}", _credentials(tls))
            if socket_path:
                self._server.add_insecure_port(f"unix:{socket_path}")
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on port {port} or socket {socket_path!r}: {error}") from error
        await self._server.start()
        if self._health is not None:
            for name in health_names.NAMES:
                await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def say_not_serving(self) -> None:
        """Tell health checks that this server is about to go."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """GOAWAY to every client, no new calls; calls under way have `grace` seconds to end.

        The server's own grace period also waits for streams that never end (a health check that watches): once the
        last request is answered, what is left is given a moment and cut.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        stopping = loop.create_task(self._server.stop(grace))
        while not stopping.done():
            await self.under_way.ended(deadline - loop.time())
            await asyncio.wait({stopping}, timeout=LAST_BYTES_SECONDS)
            if not self.under_way.count or loop.time() >= deadline:
                break
        await self._server.stop(0)
        await stopping


def _credentials(tls: Any) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.server_key.encode(), tls.server_cert.encode())],
        root_certificates=tls.custom_ca.encode() or None,
        require_client_auth=tls.client_verify,
    )
