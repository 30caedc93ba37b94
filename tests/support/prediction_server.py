"""A small gRPC server that speaks TensorFlow Serving's wire; unless a test wants otherwise, a picture classifier."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from fovea_api.contract import signatures
from fovea_wire import get_model_metadata_pb2, get_model_status_pb2, methods, predict_pb2, types_pb2
from fovea_wire.tensors import decode, encode

Answer = Callable[[Any, grpc.ServicerContext], Any]
CLASSES = [b"cat", b"dog"]


def classifier(request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> predict_pb2.PredictResponse:
    """Calls everything a cat but what contains 'dog'; refuses 'broken'."""
    images = decode(request.inputs[signatures.IMAGE_INPUT]).tolist()
    if any(b"broken" in image for image in images):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "image 0 is no picture")
    if request.model_spec.version.value == 9:
        context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(pets, 9)")
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = request.model_spec.version.value or 3
    scores = [[0.25, 0.75] if b"dog" in image else [0.9, 0.1] for image in images]
    response.outputs[signatures.SCORES_OUTPUT].CopyFrom(encode(scores))
    response.outputs[signatures.CLASSES_OUTPUT].CopyFrom(encode([CLASSES] * len(images)))
    labels = [CLASSES[row.index(max(row))] for row in scores]
    response.outputs[signatures.LABEL_OUTPUT].CopyFrom(encode(labels))
    return response


def status(request: Any, context: grpc.ServicerContext) -> Any:
    entry = get_model_status_pb2.ModelVersionStatus(version=3, state="AVAILABLE")
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=[entry])


def metadata(request: Any, context: grpc.ServicerContext) -> Any:
    assert list(request.metadata_field) == ["signature_def"]
    found = get_model_metadata_pb2.SignatureDefMap()
    found.signature_def["serving_default"].inputs["image"].dtype = types_pb2.DT_STRING
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].value = found.SerializeToString()
    response.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    return response


class PredictionServer:
    """A gRPC server with generic handlers; `predict` may be exchanged."""

    def __init__(self) -> None:
        self.predict: Answer = classifier
        self.calls = 0
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        kinds: dict[str, tuple[Answer, Any]] = {
            methods.PREDICT: (self._predict, predict_pb2.PredictRequest),
            methods.GET_MODEL_STATUS: (status, get_model_status_pb2.GetModelStatusRequest),
            methods.GET_MODEL_METADATA: (metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        }
        handlers: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for path, (answer, kind) in kinds.items():
            _, service, method = path.split("/")
            handlers.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=kind.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
        for service, known in handlers.items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, known),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        if self._server:
            self._server.stop(0).wait()
            self._server = None

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self.calls += 1
        return self.predict(request, context)
