"""Fovea's own model server with its defaults, by gRPC and by REST; and one that runs already, behind a gateway or not."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from served import model
from served.load import Call, grpc_call

from peers.asked import JPEG, PIXELS, SIGNATURES, Inputs, Way, post
from peers.server import Place, Server


def _command(place: Place) -> list[str]:
    server = str(place.program / "fovea-model-server")
    ports = [f"--port={place.ports[0]}", f"--rest_api_port={place.ports[1]}"]
    return [server, *ports, f"--model_name={model.NAME}", f"--model_base_path={place.model.parent}"]


def grpc_request(kind: str, inputs: Inputs) -> bytes:
    """A serialised PredictRequest."""
    signature, argument = SIGNATURES[kind]
    values = [inputs.image] if kind == JPEG else inputs.pixels[None]
    return model.request_of(model.NAME, signature, argument, values)


def grpc_scores(answer: bytes) -> Any:
    """Of a PredictResponse."""
    from fovea_wire import predict_pb2, tensors

    return tensors.decode(predict_pb2.PredictResponse.FromString(answer).outputs["scores"]).tolist()[0]


def _rest(kind: str) -> Way:
    def call(place: Place, inputs: Inputs) -> Call:
        one = {"b64": base64.b64encode(inputs.image).decode()} if kind == JPEG else inputs.pixels.tolist()
        body = json.dumps({"signature_name": SIGNATURES[kind][0], "instances": [one]}).encode()
        return post(f"http://127.0.0.1:{place.ports[1]}/v1/models/{model.NAME}:predict", body, "application/json")

    return Way(call, lambda answer: json.loads(answer)["predictions"][0]["scores"])


def _grpc(kind: str) -> Way:
    def call(place: Place, inputs: Inputs) -> Call:
        return grpc_call(f"127.0.0.1:{place.ports[0]}", grpc_request(kind, inputs), 0)

    return Way(call, grpc_scores)


SERVER = Server(
    name="Fovea",
    says="its defaults",
    command=_command,
    ways={kind: {"gRPC": _grpc(kind), "REST": _rest(kind)} for kind in (JPEG, PIXELS)},
)


def elsewhere(address: str, inputs: Inputs, host: str = "") -> Mapping[tuple[str, str], Call]:
    """Requests to a server of the same SavedModel that runs already, by kind and way."""
    return {(kind, "gRPC"): grpc_call(address, grpc_request(kind, inputs), 0, host=host) for kind in (JPEG, PIXELS)}
