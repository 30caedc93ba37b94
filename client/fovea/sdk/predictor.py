"""Predictions over gRPC: one channel with retries and wait-for-ready, tensors in and out, images in parallel."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from fovea_api.contract import names, signatures
from fovea_wire import get_model_metadata_pb2, get_model_status_pb2, methods, model_pb2, predict_pb2, tensors
from fovea_wire.tensors import Tensor

from . import endpoints, rollout
from .cluster import Cluster
from .errors import InvalidError, PredictionError, UnreachableError
from .images import Image, Prediction, from_outputs, load

_WITH_PORT = re.compile(r":[0-9]+$")
_SOCKETS = ("unix:", "unix-abstract:")
"""Schemes of sockets on this machine: they have no port, and no DNS knows them."""

CONNECTION_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", files("fovea.sdk").joinpath("service_config.json").read_text(encoding="utf-8")),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A request above the default of 256 KiB would not be retried.
    ("grpc.per_rpc_retry_buffer_size", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.primary_user_agent", "fovea-client"),
)
"""Channel arguments: the retry policy of service_config.json, messages of any size, keepalive."""

IN_FLIGHT = 8
"""Images that are on the way at once: enough for the server to make batches of."""


class Predictor:
    """A channel to one model's server; use it as a context manager and for many calls.

    `endpoint` is host:port, grpcs://host:port for TLS with the system's roots, or unix:PATH; without it the server is found
    through the model's ModelDeployment in the cluster's namespace, and a first version that is starting is waited for
    (`rollout_timeout` seconds at most; `notice` gets a message). `host` is the name by which a gateway at `endpoint` knows the
    model, for example digits.vision.svc. `gateway` is the address of a gateway of all models (HOST or HOST:PORT): the model's name
    there is found in the cluster. Thread-safe.
    """

    def __init__(
        self,
        model: str,
        *,
        endpoint: str | None = None,
        host: str = "",
        gateway: str = "",
        version: int | None = None,
        cluster: Cluster | None = None,
        timeout: float = 30.0,
        rollout_timeout: float = rollout.SECONDS,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.model, self.version, self.timeout = model, version, timeout
        self._namespace_flag = ""
        """Of the commands that messages name. With an endpoint no cluster need be known."""
        if endpoint:
            if not endpoint.startswith(_SOCKETS) and not _WITH_PORT.search(endpoint):
                # The gRPC library would take 443 and wait for it.
                raise InvalidError(f"--endpoint {endpoint} names no port: write HOST:PORT")
            self._endpoint = endpoints.Endpoint(endpoint, "--endpoint")
        else:
            cluster = cluster or Cluster()
            self._endpoint = endpoints.resolve(
                cluster, model, version=version, gateway=gateway, rollout_timeout=rollout_timeout, notice=notice
            )
            self._namespace_flag = f" -n {cluster.namespace}"
        self._channel = _channel(self._endpoint.address, host or self._endpoint.host)
        self._metadata = () if version is None else ((names.VERSION_HEADER, str(version)),)

    @property
    def address(self) -> str:
        """Where it calls."""
        return self._endpoint.address

    @property
    def how(self) -> str:
        """How that address was found."""
        return self._endpoint.how

    def predict(
        self, inputs: Mapping[str, Any], *, signature: str = "", outputs: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        """One request: named inputs (nested lists, bytes, NumPy arrays, TensorProtos) to named outputs.

        Raises PredictionError with the server's code and UnreachableError when no server answered.
        """
        return self.answer(inputs, signature=signature, outputs=outputs)[0]

    def answer(
        self, inputs: Mapping[str, Any], *, signature: str = "", outputs: Sequence[str] = ()
    ) -> tuple[dict[str, Tensor], int]:
        """As `predict`, and the number of the version that answered (0 when the server does not say)."""
        encoded = {
            name: value if hasattr(value, "tensor_shape") else tensors.encode(value) for name, value in inputs.items()
        }
        request = predict_pb2.PredictRequest(
            model_spec=self._spec(signature), inputs=encoded, output_filter=list(outputs)
        )
        response = self._call(methods.PREDICT, request, predict_pb2.PredictResponse)
        decoded = {name: tensors.decode(tensor) for name, tensor in response.outputs.items()}
        return decoded, response.model_spec.version.value

    def classify(
        self, images: Iterable[Image], *, signature: str = "", input_name: str = signatures.IMAGE_INPUT
    ) -> list[Prediction]:
        """Predictions for image files (paths or their bytes), in order.

        Each image is a request of its own, several on the way at once: a bad one has `error` set and spoils no
        other. Raises UnreachableError when no server answers.
        """
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            return list(pool.map(lambda image: self._classify(image, signature, input_name), images))

    def status(self) -> list[get_model_status_pb2.ModelVersionStatus]:
        """The server's versions of the model and their states."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec(""))
        response = self._call(methods.GET_MODEL_STATUS, request, get_model_status_pb2.GetModelStatusResponse)
        return list(response.model_version_status)

    def signatures(self) -> dict[str, get_model_metadata_pb2.SignatureDef]:
        """The model's signatures by name: inputs and outputs with types and shapes."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(""), metadata_field=["signature_def"]
        )
        response = self._call(methods.GET_MODEL_METADATA, request, get_model_metadata_pb2.GetModelMetadataResponse)
        # Unpacked by its bytes: the type inside is called by TensorFlow Serving's name, ours has another.
        packed = response.metadata["signature_def"].value
        return dict(get_model_metadata_pb2.SignatureDefMap.FromString(packed).signature_def)

    def close(self) -> None:
        """Close the channel, and the port-forward if there is one."""
        self._channel.close()
        self._endpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _classify(self, image: Image, signature: str, input_name: str) -> Prediction:
        source, content = load(image)
        try:
            outputs, version = self.answer({input_name: [content]}, signature=signature)
        except PredictionError as error:
            return Prediction(source=source, error=str(error))
        return from_outputs(source, version, {name: tensor.tolist() for name, tensor in outputs.items()})

    def _spec(self, signature: str) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self.model, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        return spec

    def _call(self, path: str, request: Any, response: Any) -> Any:
        method = self._channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        try:
            return method(request, timeout=self.timeout, metadata=self._metadata, wait_for_ready=True)
        except grpc.RpcError as error:
            raise self._explain(error) from error

    def _explain(self, error: Any) -> Exception:
        code, details = error.code(), error.details()
        where = f"model {self.model} at {self.address}"
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            forward = self._endpoint.forward
            reason = (forward.failure if forward else "") or details
            what = "could not be reached, or refused"
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                what = f"does not answer within {self.timeout:g} s"
            return UnreachableError(
                f"{where} ({self.how}) {what} ({reason}): "
                f"`fovea models describe {self.model}{self._namespace_flag}` says whether it is serving; "
                "--endpoint HOST:PORT names another address"
            )
        text = f"{where} answered {code.name}: {details}"
        if code is grpc.StatusCode.NOT_FOUND:
            text += f"; `fovea versions list --model {self.model}{self._namespace_flag}` shows its versions"
        return PredictionError(text, code.name)


def predict(
    model: str,
    images: Image | Iterable[Image],
    *,
    endpoint: str | None = None,
    gateway: str = "",
    version: int | None = None,
    namespace: str | None = None,
    timeout: float = 30.0,
    rollout_timeout: float = rollout.SECONDS,
) -> list[Prediction]:
    """Classify images (paths or bytes of JPEG, PNG, BMP, GIF files) once; for many calls keep a Predictor."""
    many = [images] if isinstance(images, (str, bytes, Path)) else list(images)
    if not many:
        raise InvalidError("no image was given")
    cluster = Cluster(namespace=namespace)
    with Predictor(
        model,
        endpoint=endpoint,
        gateway=gateway,
        version=version,
        cluster=cluster,
        timeout=timeout,
        rollout_timeout=rollout_timeout,
    ) as predictor:
        return predictor.classify(many)


def _channel(address: str, host: str = "") -> grpc.Channel:
    options = (*CONNECTION_OPTIONS, *((("grpc.default_authority", host),) if host else ()))
    if address.startswith(_SOCKETS):
        return grpc.insecure_channel(address, options=options)
    if address.startswith("grpcs://"):
        where = f"dns:///{address.removeprefix('grpcs://')}"
        return grpc.secure_channel(where, grpc.ssl_channel_credentials(), options=options)
    return grpc.insecure_channel(f"dns:///{address.removeprefix('grpc://')}", options=options)
