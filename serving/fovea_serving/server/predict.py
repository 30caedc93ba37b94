"""Predict: named tensors in, named tensors out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tensorflow_serving.apis import predict_pb2

from fovea_serving.server import signatures, tensors
from fovea_serving.server.errors import failed_precondition
from fovea_serving.server.servable import Servable
from fovea_serving.server.signatures import DEFAULT_SIGNATURE, Signature
from fovea_serving.server.tensors import Array


@dataclass(frozen=True, slots=True)
class PredictCall:
    """A checked request: what to feed and what to fetch."""

    signature: Signature
    feeds: list[Array]
    outputs: tuple[str, ...]


def prepare(servable: Servable, request: Any) -> PredictCall:
    """Check a PredictRequest against the signature it names; raises ServingError."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise failed_precondition(f'Serving signature key "{name}" not found.')
    feeds = signatures.feeds(signature, request.inputs)
    outputs = signatures.chosen_outputs(signature, list(request.output_filter))
    return PredictCall(signature=signature, feeds=list(feeds.values()), outputs=outputs)


def reply(model: str, version: int, call: PredictCall, values: list[Array], *, as_content: bool) -> Any:
    """The PredictResponse for the values of the call's outputs."""
    response = predict_pb2.PredictResponse()
    response.model_spec.name = model
    response.model_spec.signature_name = call.signature.name
    response.model_spec.version.value = version
    for alias, value in zip(call.outputs, values, strict=True):
        tensors.fill(response.outputs[alias], value, as_content=as_content)
    return response


def prepare_arrays(signature: Signature, arrays: dict[str, Array]) -> PredictCall:
    """The call of arrays that already have the signature's types and names."""
    feeds = [arrays[alias] for alias in signature.inputs]
    return PredictCall(signature=signature, feeds=feeds, outputs=tuple(signature.outputs))
