"""Answers of a version, over gRPC and over REST, as outputs that can be compared."""

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

from fovea_wire import predict_pb2, tensors, types_pb2
from fovea_wire.tensors import Tensor, TensorError
from google.protobuf.message import DecodeError

Outputs = Mapping[str, Tensor]
_KINDS = {str: types_pb2.DT_STRING, bool: types_pb2.DT_BOOL, int: types_pb2.DT_INT64, float: types_pb2.DT_DOUBLE}


MOST_VALUES = 2 << 20
"""Of an answer: a few bytes may stand for any number of them."""


class Unreadable(ValueError):
    """An answer, or a request, that says nothing."""


def of_grpc(answer: bytes) -> Outputs:
    """A PredictResponse. Raises Unreadable."""
    try:
        read = predict_pb2.PredictResponse.FromString(answer)
        values = sum(abs(math.prod(dim.size for dim in each.tensor_shape.dim)) for each in read.outputs.values())
        if values > MOST_VALUES:
            raise Unreadable(f"{values} values in {len(answer)} bytes, more than {MOST_VALUES}")
        return {name: tensors.decode(output) for name, output in read.outputs.items()}
    except (DecodeError, TensorError) as error:
        raise Unreadable(str(error)) from error


def of_rest(answer: bytes) -> Outputs:
    """The body of a REST answer: by rows, or by outputs. A single output has no name there. Raises Unreadable."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if isinstance(document, dict) and isinstance(rows := document.get("predictions"), list):
        if not rows or not all(map(_is_named, rows)):
            return {"": _tensor(rows)}
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: _tensor([row.get(name) for row in rows]) for name in names}
    if isinstance(document, dict) and "outputs" in document:
        named = document["outputs"] if _is_named(document["outputs"]) else {"": document["outputs"]}
        return {name: _tensor(value) for name, value in named.items()}
    raise Unreadable("it has neither predictions nor outputs")


def _is_named(value: Any) -> bool:
    """Whether it holds outputs by name; bytes are an object as well."""
    return isinstance(value, dict) and value.keys() != {"b64"}


def _tensor(value: Any) -> Tensor:
    shape: list[int] = []
    level: list[Any] = [value]
    while level and all(isinstance(each, list) for each in level):
        sizes = {len(each) for each in level}
        if len(sizes) != 1:
            raise Unreadable("lists of different lengths")
        shape.append(sizes.pop())
        level = list(itertools.chain.from_iterable(level))
    values = [each["b64"] if isinstance(each, dict) and "b64" in each else each for each in level]
    kinds = set(map(type, values)) or {float}
    if kinds == {int, float}:
        kinds = {float}
        values = _floats(values)
    if len(kinds) != 1 or not kinds <= _KINDS.keys():
        raise Unreadable(f"values of {', '.join(sorted(kind.__name__ for kind in kinds))}")
    return Tensor(_KINDS[kinds.pop()], tuple(shape), values)


def _floats(values: list[int | float]) -> list[float]:
    try:
        return [float(value) for value in values]
    except OverflowError as error:
        raise Unreadable(f"a number beyond all floats: {error}") from error
