"""Predict: named tensors in, named tensors out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from fovea_wire import model_pb2, types_pb2

from fovea_serving.protocol import signatures, tensors
from fovea_serving.protocol.errors import failed_precondition, unimplemented
from fovea_serving.protocol.signatures import DEFAULT_SIGNATURE, Signature
from fovea_serving.protocol.tensors import Array

Written_co = TypeVar("Written_co", covariant=True)

LARGE_REQUEST: Final = 64 * 1024
"""Bytes of a request from which reading it takes so long that others should not wait for it."""


@dataclass(frozen=True, slots=True)
class PredictCall:
    """A checked request: what to feed and what to fetch."""

    signature: Signature
    feeds: list[Array]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered: the outputs asked for, by alias, of one of its versions."""

    model: str
    version: int
    signature: str
    outputs: dict[str, Array]


class Form(Protocol[Written_co]):
    """How a port writes a request and its answer. `read` and `write` may be called on another thread."""

    @property
    def size(self) -> int:
        """Bytes of the request that are not counted yet."""

    @property
    def large(self) -> bool:
        """Whether reading the request would delay others."""

    def read(self, known: Mapping[str, Signature]) -> PredictCall:
        """What the request asks of one of these signatures; raises ServingError."""

    def write(self, prediction: Prediction) -> Written_co:
        """The answer; raises ServingError."""


@dataclass(frozen=True, slots=True)
class ProtoForm:
    """A PredictRequest, answered by a serialised PredictResponse: nothing of it is copied value by value."""

    request: Any
    as_content: bool = False

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return int(self.request.ByteSize())

    @property
    def large(self) -> bool:
        """Numbers in value fields are copied and checked; strings and raw bytes are not."""
        return any(
            tensor.ByteSize() - len(tensor.tensor_content) >= LARGE_REQUEST
            for tensor in self.request.inputs.values()
            if tensor.dtype != types_pb2.DT_STRING
        )

    def read(self, known: Mapping[str, Signature]) -> PredictCall:
        """The checked request."""
        return prepare(known, self.request)

    def write(self, prediction: Prediction) -> bytes:
        """A serialised PredictResponse."""
        spec = model_pb2.ModelSpec(name=prediction.model, signature_name=prediction.signature)
        spec.version.value = prediction.version
        parts: list[bytes | memoryview] = []
        for alias, value in prediction.outputs.items():
            try:
                tensor = tensors.wire(value, as_content=self.as_content)
            except tensors.TensorParsingError as error:
                raise unimplemented(f"Output {alias!r}: {error}") from error
            name, size = alias.encode(), sum(map(len, tensor))
            key = b"\x0a" + tensors.varint(len(name)) + name + b"\x12" + tensors.varint(size)
            parts += [b"\x0a", tensors.varint(len(key) + size), key, *tensor]
        written = spec.SerializeToString()
        return b"".join([*parts, b"\x12", tensors.varint(len(written)), written])


def prepare(known: Mapping[str, Signature], request: Any) -> PredictCall:
    """Check a PredictRequest against the signature it names; raises ServingError."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = known.get(name)
    if signature is None:
        raise failed_precondition(f'Serving signature key "{name}" not found.')
    feeds = signatures.feeds(signature, request.inputs)
    outputs = signatures.chosen_outputs(signature, list(request.output_filter))
    return PredictCall(signature=signature, feeds=list(feeds.values()), outputs=outputs)
