"""What a request may ask of a signature: which tensors go in and out, and the errors when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fovea_api.contract.signatures import SERVING_DEFAULT
from fovea_wire import types_pb2

from fovea_serving.protocol import tensors
from fovea_serving.protocol.element_types import dtype_name
from fovea_serving.protocol.errors import invalid_argument, unimplemented
from fovea_serving.protocol.tensors import Array

DEFAULT_SIGNATURE: Final = SERVING_DEFAULT
CLASSIFY_METHOD: Final = "tensorflow/serving/classify"
REGRESS_METHOD: Final = "tensorflow/serving/regress"
_NO_VALUES: Final = frozenset({types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT})
"""Types of things that live in the runtime; the runtime cannot give them out, and an address would say nothing."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One named tensor of a signature: its place in the graph, its DataType, its shape (None: any, -1: any size)."""

    tensor: str
    dtype: int
    shape: tuple[int, ...] | None

    @property
    def has_rows(self) -> bool:
        """Whether the first dimension is free: it may stand for the rows of a batch."""
        return bool(self.shape) and self.shape is not None and self.shape[0] == -1

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is what the signature declares; the runtime may take others too."""
        if self.shape is None:
            return True
        same_rank = len(shape) == len(self.shape)
        return same_rank and all(want in (-1, got) for want, got in zip(self.shape, shape, strict=True))


@dataclass(frozen=True, slots=True)
class Signature:
    """A SignatureDef, read once: aliases are sorted, and feeds are in the order of the inputs.

    `defaults` holds the TensorProtos of inputs that a request may leave out.

    `row_wise` names the outputs of which row i is known to depend on row i of the inputs and on nothing else.
    """

    name: str
    method: str
    inputs: Mapping[str, Slot]
    outputs: Mapping[str, Slot]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    row_wise: frozenset[str] = frozenset()

    @property
    def has_rows(self) -> bool:
        """Whether every input has a free first dimension."""
        return bool(self.inputs) and all(slot.has_rows for slot in self.inputs.values())

    def shareable_rows(self, arrays: Sequence[Array], outputs: Sequence[str]) -> int:
        """How many rows these inputs have, when they may share a run with those of other callers; 0 when not."""
        if not self.has_rows or not self.row_wise.issuperset(outputs):
            return 0
        slots = self.inputs.values()
        if not all(slot.fits(array.shape) for slot, array in zip(slots, arrays, strict=True)):
            return 0
        rows = {int(array.shape[0]) for array in arrays}
        return rows.pop() if len(rows) == 1 else 0


def from_definition(name: str, definition: Any, row_wise: frozenset[str] = frozenset()) -> Signature:
    """Read a SignatureDef (a SavedModel's, or one of a GetModelMetadata answer), of which these outputs are row-wise."""
    return Signature(
        name=name,
        method=definition.method_name,
        inputs={alias: _slot(info) for alias, info in sorted(definition.inputs.items())},
        outputs={alias: _slot(info) for alias, info in sorted(definition.outputs.items())},
        defaults=dict(definition.defaults),
        row_wise=row_wise,
    )


def _slot(info: Any) -> Slot:
    known = info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank
    shape = tuple(dim.size for dim in info.tensor_shape.dim) if known else None
    return Slot(tensor=info.name, dtype=info.dtype, shape=shape)


def feeds(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, Array]:
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
        check(slot, tensor.dtype, position)
        found[alias] = array
    if used != len(inputs):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(set(inputs) & set(signature.inputs))}, "
            f"request input: {_names(inputs)}"
        )
    return found


def check(slot: Slot, dtype: int, position: int) -> None:
    """The type is checked before a run. What shapes it takes is the runtime's to say: a signature declares less."""
    if dtype != slot.dtype:
        raise invalid_argument(
            f"Expects arg[{position}] to be {dtype_name(slot.dtype)} but {dtype_name(dtype)} is provided"
        )


def _check_count(signature: Signature, inputs: Mapping[str, Any]) -> None:
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
    chosen = tuple(seen) or tuple(signature.outputs)
    for alias in chosen:
        if signature.outputs[alias].dtype in _NO_VALUES:
            raise unimplemented(
                f"Output {alias!r} is a {dtype_name(signature.outputs[alias].dtype)}, which cannot be sent: "
                "ask for others by name (output_filter, over gRPC)"
            )
    return chosen


def _names(names: Any) -> str:
    return ",".join(sorted(names))
