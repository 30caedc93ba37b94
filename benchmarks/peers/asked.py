"""What all servers are asked: one picture in each request, encoded or as floats, and the scores that are right for it."""

import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from served import model
from served.load import FRAME_HEAD, Call

JPEG, PIXELS = "jpeg", "pixels"
SAYS = {JPEG: "one JPEG of 320x240, decoded in the graph", PIXELS: "floats of 1 x 224 x 224 x 3"}
SIGNATURES = {JPEG: ("serving_default", "image"), PIXELS: ("pixels", "pixels")}
SIZE = model.PEERS_SIZE
CLOSE = 1e-3
"""How far scores may be from those in this process: batches of another size are added up in another order."""


NOT_YET = (404, 502, 503)
"""What servers say over HTTP while they load a model."""
NOT_YET_GRPC = ("UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED")


class WrongAnswer(Exception):
    """An answer that has not the scores it ought to have, or an error that will not go away."""


@dataclass(frozen=True)
class Way:
    """A way to ask: the request, and how the scores are read from its answer."""

    call: Callable[[Any, "Inputs"], Call]
    """Given where the server runs (`server.Place`)."""
    scores: Callable[[bytes], Any]


@dataclass(frozen=True)
class Inputs:
    """The picture of each request, as a JPEG and as an array without the dimension of batches."""

    image: bytes
    pixels: Any

    @classmethod
    def made(cls) -> "Inputs":
        import numpy as np

        pixels = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3)).astype("float32")
        return cls(model.picture(), pixels)

    def one(self, kind: str) -> Any:
        """What the model gets, without the dimension of batches."""
        return self.image if kind == JPEG else self.pixels

    def raw(self, kind: str) -> bytes:
        """Its bytes."""
        return self.image if kind == JPEG else bytes(self.pixels.tobytes())


def post(url: str, body: bytes, content: str) -> Call:
    """A request over HTTP/1.1."""
    return Call(url, body, (f"content-type: {content}",))


def form(url: str, field: str, name: str, content: bytes) -> Call:
    """A form with one file, over HTTP/1.1."""
    edge = "fovea-benchmark-edge"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    return post(url, head.encode() + content + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}")


def answer(call: Call, seconds: float) -> bytes:
    """One answer of a server; OSError where there is none yet, WrongAnswer where it is an error."""
    if call.answer is not None:
        return _grpc_answer(call, seconds)
    headers = dict(header.split(": ", 1) for header in call.headers)
    asked = urllib.request.Request(call.url, call.body, headers, method="POST")
    try:
        with urllib.request.urlopen(asked, timeout=seconds) as found:
            return bytes(found.read())
    except urllib.error.HTTPError as error:
        if error.code in NOT_YET:
            raise
        raise WrongAnswer(f"{error.code}: {error.read(500)!r}") from error


def _grpc_answer(call: Call, seconds: float) -> bytes:
    import grpc

    address, _, method = call.url.removeprefix("http://").partition("/")
    host = next((header.rpartition(" ")[2] for header in call.headers if header.startswith(":authority")), "")
    options = (("grpc.default_authority", host),) if host else ()
    try:
        with grpc.insecure_channel(address, options) as channel:
            return bytes(channel.unary_unary(f"/{method}")(call.body[FRAME_HEAD:], timeout=seconds))
    except grpc.RpcError as error:
        said, code = f"{error.code().name}: {error.details()}", error.code().name
        # MLServer calls the request wrong as long as its model is not there.
        later = code in NOT_YET_GRPC or "not ready yet" in said
        raise (OSError(said) if later else WrongAnswer(said)) from error


def checked(found: Any, expected: Any) -> None:
    """Raises WrongAnswer unless scores are the right ones."""
    got = [float(value) for value in found]
    if len(got) != len(expected) or not all(
        math.isclose(one, right, abs_tol=CLOSE) for one, right in zip(got, expected, strict=True)
    ):
        raise WrongAnswer(f"scores {got}, expected {list(expected)}")


def scores_of_json(found: bytes) -> Any:
    """Of an object with `scores`, or of the only object of a list."""
    read = json.loads(found)
    return (read[0] if isinstance(read, list) else read)["scores"]


PROGRAMS = Path(__file__).parent / "programs"
