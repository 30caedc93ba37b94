"""Warm-up records of a SavedModel: TFRecords of tensorflow.serving.PredictionLog, which a server replays when it loads.

Four nested messages with five fields in all, written by hand: the package that defines them would bring a second
TensorFlow. Field numbers: PredictionLog.predict_log 6, PredictLog.request 1, PredictRequest.model_spec 1 and .inputs 2
(a map: key 1, value 2), ModelSpec.signature_name 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from fovea_api.contract import signatures


@dataclass(frozen=True)
class Request:
    """Inputs by name for a signature."""

    signature: str
    inputs: Mapping[str, tf.Tensor]


def write(model: Path, requests: Sequence[Request]) -> None:
    """Write requests, in this order, into a SavedModel's folder."""
    path = model / signatures.WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for request in requests:
            records.write(_predict_log(request))


def _predict_log(request: Request) -> bytes:
    model_spec = _field(1, _field(3, request.signature.encode()))
    inputs = b"".join(
        _field(2, _field(1, name.encode()) + _field(2, tf.make_tensor_proto(tensor).SerializeToString()))
        for name, tensor in request.inputs.items()
    )
    return _field(6, _field(1, model_spec + inputs))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
