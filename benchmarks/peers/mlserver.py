"""MLServer with a runtime of our own, since it brings none for TensorFlow: adaptive batching, one worker, gRPC.

Its messages are those of the Open Inference Protocol. The few fields that a request needs are written by hand here, as
protobuf has them: a key (number of the field, kind of its value), then the value.
"""

import json
import struct
from collections.abc import Iterator, Sequence

from served.load import Call, grpc_call

from peers.asked import JPEG, PIXELS, PROGRAMS, SIGNATURES, SIZE, Inputs, Way
from peers.server import Place, Server

METHOD = "/inference.GRPCInferenceService/ModelInfer"
BATCH = {"max_batch_size": 32, "max_batch_time": 0.01}
NUMBER, BYTES = 0, 2
MODEL_NAME, INPUTS, RAW_INPUTS, RAW_OUTPUTS = 1, 5, 7, 6
TENSOR_NAME, TENSOR_TYPE, TENSOR_SHAPE = 1, 2, 3


def _command(place: Place) -> list[str]:
    http, grpc, metrics = place.ports
    settings = {"debug": False, "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    _write(place, "settings.json", settings)
    for kind, (signature, _) in SIGNATURES.items():
        parameters = {"uri": str(place.model), "extra": {"signature": signature}}
        model = {"name": kind, "implementation": "mlserver_runtime.Classifier", "parameters": parameters, **BATCH}
        _write(place, f"{kind}/model-settings.json", model)
    return ["env", f"PYTHONPATH={PROGRAMS}", str(place.program / "mlserver"), "start", str(place.folder)]


def _write(place: Place, name: str, content: dict) -> None:
    path = place.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def _asked(kind: str) -> Way:
    def call(place: Place, inputs: Inputs) -> Call:
        # Bytes stand behind their length, in the raw form too.
        raw = struct.pack("<I", len(inputs.image)) + inputs.image if kind == JPEG else inputs.raw(kind)
        shape, name = ([1], "BYTES") if kind == JPEG else ([1, SIZE, SIZE, 3], "FP32")
        tensor = _field(TENSOR_NAME, SIGNATURES[kind][1].encode()) + _field(TENSOR_TYPE, name.encode())
        tensor += _field(TENSOR_SHAPE, b"".join(map(_varint, shape)))
        message = _field(MODEL_NAME, kind.encode()) + _field(INPUTS, tensor) + _field(RAW_INPUTS, raw)
        return grpc_call(f"127.0.0.1:{place.ports[1]}", message, 0, method=METHOD)

    return Way(call, scores)


def scores(answer: bytes) -> Sequence[float]:
    """Of an answer whose first output are the scores, as 64 or 32 bits each: the first raw one with two numbers."""
    raw = next(value for number, value in fields(answer) if number == RAW_OUTPUTS)
    return struct.unpack("<2d" if len(raw) == 16 else "<2f", raw)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and value of each field of a message that consists of bytes."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        size, at = _read_varint(message, at)
        if key & 7 == BYTES:
            yield key >> 3, message[at : at + size]
            at += size
        elif key & 7 != NUMBER:
            raise ValueError(f"a field of an unexpected kind: {key & 7}")


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


SERVER = Server(
    name="MLServer",
    says="adaptive batching, up to 32, 10 ms; one worker",
    command=_command,
    ways={kind: {"gRPC": _asked(kind)} for kind in (JPEG, PIXELS)},
    peer="mlserver",
    package="mlserver",
)
