"""What a request may ask of a signature: which tensors go in and out, and what is said when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fovea_api.contract.signatures import SERVING_DEFAULT
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from fovea_serving.server import tensors
from fovea_serving.server.errors import invalid_argument
from fovea_serving.server.tensors import Array

DEFAULT_SIGNATURE: Final = SERVING_DEFAULT
CLASSIFY_METHOD: Final = "tensorflow/serving/classify"
REGRESS_METHOD: Final = "tensorflow/serving/regress"


@dataclass(frozen=True, slots=True)
class Slot:
    """One named tensor of a signature: its place in the graph, its DataType, its shape (None: any, -1: any size)."""

    tensor: str
    dtype: int
    shape: tuple[int, ...] | None

    @property
    def has_batch_dimension(self) -> bool:
        """Whether the first dimension is free, so that requests can share one call."""
        return bool(self.shape) and self.shape is not None and self.shape[0] == -1

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape can be fed."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """A SignatureDef, read once when the model is loaded."""

    name: str
    method: str
    inputs: Mapping[str, Slot]
    outputs: Mapping[str, Slot]
    defaults: Mapping[str, tensor_pb2.TensorProto] = field(default_factory=dict)

    @property
    def batchable(self) -> bool:
        """Whether rows of several requests may share a run: every input and output has a free first dimension."""
        slots = [*self.inputs.values(), *self.outputs.values()]
        return bool(self.inputs) and all(slot.has_batch_dimension for slot in slots)


def from_definition(name: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
    """Read a SignatureDef."""
    return Signature(
        name=name,
        method=definition.method_name,
        inputs={alias: _slot(info) for alias, info in sorted(definition.inputs.items())},
        outputs={alias: _slot(info) for alias, info in sorted(definition.outputs.items())},
        defaults=dict(definition.defaults),
    )


def _slot(info: Any) -> Slot:
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return Slot(tensor=info.name, dtype=info.dtype, shape=shape)


def feeds(signature: Signature, inputs: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, Array]:
    """Arrays to feed, by alias, in the signature's order; raises INVALID_ARGUMENT naming the misfit."""
    _check_count(signature, inputs)
    found: dict[str, Array] = {}
    used = 0
    for position, (alias, slot) in enumerate(signature.inputs.items()):
        tensor = inputs.get(alias) if alias in inputs else signature.defaults.get(alias)
        if tensor is None:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {slot.tensor}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_names(inputs)}}}, or default input alias set: "
                f"{_names(signature.defaults)}"
            )
        used += alias in inputs
        try:
            array = tensors.to_array(tensor)
        except tensors.TensorParsingError as error:
            raise invalid_argument(f"tensor parsing error: {alias}") from error
        check(alias, slot, array, tensor.dtype, position)
        found[alias] = array
    if used != len(inputs):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(set(inputs) & set(signature.inputs))}, "
            f"request input: {_names(inputs)}"
        )
    return found


def check(alias: str, slot: Slot, array: Array, dtype: int, position: int) -> None:
    """Type and shape are checked before a call, so that a request that cannot work never joins a batch."""
    if dtype != slot.dtype:
        raise invalid_argument(
            f"Expects arg[{position}] to be {tensors.dtype_name(slot.dtype)} but "
            f"{tensors.dtype_name(dtype)} is provided"
        )
    if not slot.fits(array.shape):
        raise invalid_argument(
            f"Input {alias!r} has shape {_shape(array.shape)}, the signature asks for {_shape(slot.shape or ())}"
        )
    if slot.has_batch_dimension and array.shape[0] == 0:
        raise invalid_argument(f"Input {alias!r} is empty: its shape is {_shape(array.shape)}; send at least one row")


def _check_count(signature: Signature, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    if len(inputs) > len(signature.inputs) or (len(inputs) < len(signature.inputs) and not signature.defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} len({{{_names(inputs)}}}) != "
            f"len({{{_names(signature.inputs)}}}). "
            f"Sent extra: {{{_names(set(inputs) - set(signature.inputs))}}}. "
            f"Missing but required: {{{_names(set(signature.inputs) - set(inputs))}}}."
        )


def chosen_outputs(signature: Signature, output_filter: list[str]) -> tuple[str, ...]:
    """Aliases to fetch: those of the request's filter, or all."""
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_names(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return tuple(seen) or tuple(signature.outputs)


def _names(names: Any) -> str:
    return ",".join(sorted(names))


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join("?" if size == -1 else str(size) for size in shape) + "]"
