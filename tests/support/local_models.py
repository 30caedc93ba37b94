"""Tiny SavedModels on the local cluster: registered by the command line, served by ModelDeployments, asked from outside."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
from fovea.sdk import Predictor
from fovea.sdk.predictor import CONNECTION_OPTIONS
from fovea_api.v1alpha1 import API_VERSION
from fovea_wire import methods, model_pb2, predict_pb2, tensors
from support.polling import until

SIGNATURE = "half_plus_two"


def register(cluster: Any, model: str, folder: Path, namespace: str = "vision") -> str:
    """`fovea versions create`; the name of the version."""
    said = cluster.fovea(
        "versions", "create", "--model", model, "--origin", str(folder), "-n", namespace, "--format", "json", "--quiet"
    )
    return str(json.loads(said.stdout)["metadata"]["name"])


def save(folder: Path, bias: float) -> Path:
    """A SavedModel whose signature `half_plus_two` answers x / 2 + 2 + bias."""
    from support.tiny_model import save_model

    save_model(folder, bias=bias)
    return folder


def model_deployment(name: str, model: str, machine: str, namespace: str = "vision", **spec: Any) -> dict[str, Any]:
    """A ModelDeployment that is reachable on the node; keywords are fields of the spec (camelCase)."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": model, "machineType": machine, "service": {"type": "NodePort"}, **spec},
    }


def serves(cluster: Any, name: str, version: int, *, seconds: float = 180) -> dict[str, Any]:
    """Status of a ModelDeployment once this version is its stable one and answers."""
    seen: dict[str, Any] = {}

    def probe() -> dict[str, Any] | None:
        seen.clear()
        seen.update(cluster.get("modeldeployment", name).get("status", {}))
        serving = {condition["type"]: condition["status"] for condition in seen.get("conditions", [])}
        ready = place(seen, "stable").get("version") == version and serving.get("Serving") == "True"
        return dict(seen) if ready and seen.get("endpoint", {}).get("nodePortGrpc") else None

    try:
        return until(probe, seconds=seconds, what=f"version {version} served by {name}")
    except AssertionError as error:
        pods = cluster.kubectl("get", "pods", "-n", "vision", "-l", f"fovea.dev/model-deployment={name}", "-o", "wide")
        raise AssertionError(f"{error}\n{json.dumps(seen, indent=1)}\n{pods}") from None


def place(status: dict[str, Any], role: str) -> dict[str, Any]:
    """The first place of a role in a ModelDeployment's status, empty when there is none."""
    return next((each for each in status.get("places", ()) if each["role"] == role), {})


def address(cluster: Any, name: str) -> str:
    """host:port of a ModelDeployment's gRPC port on the node."""
    port = cluster.get("modeldeployment", name)["status"]["endpoint"]["nodePortGrpc"]
    return f"{cluster.list('nodes', 'default')[0]['status']['addresses'][0]['address']}:{port}"


def ask(model: str, where: str, x: float = 0.0) -> tuple[float, int]:
    """Answer of `half_plus_two` for x, and the version that gave it."""
    with Predictor(model, endpoint=where) as predictor:
        outputs, version = predictor.answer({"x": [x]}, signature=SIGNATURE)
        return float(outputs["y"].tolist()[0]), version


@dataclass
class Load:
    """Clients that ask without end, each over a connection of its own, and everything that went wrong.

    Plain gRPC channels without a retry policy, unless `retries` says so: any client of TensorFlow Serving would see the same
    failures.
    """

    model: str
    where: str
    host: str = ""
    """By which a gateway knows the model (:authority), where it is not the address."""
    retries: bool = False
    """With the retry policy of Fovea's client, which asks once more after UNAVAILABLE."""
    clients: int = 8
    pause_seconds: float = 0.01
    longest_seconds: float = 300.0
    deadline: float = 30.0
    """Seconds of one request."""
    failures: list[str] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    """Requests answered by each version."""
    slowest_seconds: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _client(self) -> None:
        request = predict_pb2.PredictRequest(
            model_spec=model_pb2.ModelSpec(name=self.model, signature_name=SIGNATURE),
            inputs={"x": tensors.encode([1.0])},
        )
        payload, end = request.SerializeToString(), time.monotonic() + self.longest_seconds
        options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
        if self.retries:
            options += CONNECTION_OPTIONS
        if self.host:
            options.append(("grpc.default_authority", self.host))
        with grpc.insecure_channel(self.where, options=options) as channel:
            call = channel.unary_unary(methods.PREDICT)
            while not self._stop.is_set() and time.monotonic() < end:
                self._ask(call, payload)
                self._stop.wait(self.pause_seconds)

    def _ask(self, call: Any, payload: bytes) -> None:
        begun = time.monotonic()
        try:
            version = predict_pb2.PredictResponse.FromString(
                call(payload, timeout=self.deadline)
            ).model_spec.version.value
        except grpc.RpcError as error:
            with self._lock:
                self.failures.append(f"{error.code()}: {error.details()}")
            return
        with self._lock:
            self.answers[version] = self.answers.get(version, 0) + 1
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)
