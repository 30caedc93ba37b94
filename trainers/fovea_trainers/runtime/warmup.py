"""Warm-up records of a SavedModel: TFRecords of tensorflow.serving.PredictionLog, which a server replays when it loads.

Four nested messages with five fields in all, written by hand: the package that defines them would bring a second
TensorFlow. Field numbers: PredictionLog.predict_log 6, PredictLog.request 1, PredictRequest.model_spec 1 and .inputs 2
(a map: key 1, value 2), ModelSpec.signature_name 3.
"""

from pathlib import Path

import tensorflow as tf
from fovea_api.contract import signatures


def write(model: Path, size: int) -> None:
    """Write one request per signature and batch size into a SavedModel's folder, showing grey pictures of its size."""
    grey = tf.fill([size, size, 3], tf.constant(128, tf.uint8))
    file = tf.io.encode_png(grey)
    path = model / signatures.WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for batch in (1, 8):
            pictures = tf.repeat(file[tf.newaxis], batch, axis=0)
            pixels = tf.repeat(tf.cast(grey, tf.float32)[tf.newaxis], batch, axis=0)
            records.write(_predict_log(signatures.SERVING_DEFAULT, signatures.IMAGE_INPUT, pictures))
            records.write(_predict_log(signatures.PIXELS, signatures.PIXELS_INPUT, pixels))


def _predict_log(signature: str, name: str, tensor: tf.Tensor) -> bytes:
    value: bytes = tf.make_tensor_proto(tensor).SerializeToString()
    model_spec = _field(3, signature.encode())
    inputs = _field(1, name.encode()) + _field(2, value)
    request = _field(1, model_spec) + _field(2, inputs)
    return _field(6, _field(1, request))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
