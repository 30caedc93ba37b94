"""Errors of the TensorFlow runtime, as the answers to clients that they become."""

from __future__ import annotations

from typing import Final

import grpc

from fovea_serving.protocol.errors import ServingError, invalid_argument

_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


def from_tensorflow(error: Exception) -> ServingError:
    """What the runtime raised, as the answer to a client.

    `Session.run` raises a copy of the runtime's error whose message carries a Python stack trace of the graph's
    construction; the runtime's own words are in the error it was raised from. Words that are not UTF-8 (a request's
    bytes that the runtime quotes) keep the runtime from raising its error: Python says what it could not decode, and
    the code is lost. They are nearly always a fault of the request.
    """
    if isinstance(error, UnicodeDecodeError):
        return invalid_argument(bytes(error.object).decode("utf-8", "replace"))
    original = error.__context__ if hasattr(error.__context__, "error_code") else error
    number = getattr(original, "error_code", None)
    if number is None:
        kind = grpc.StatusCode.INVALID_ARGUMENT if isinstance(error, (TypeError, ValueError)) else None
        return ServingError(kind or grpc.StatusCode.INTERNAL, str(error))
    code = _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)
    return ServingError(code, str(getattr(original, "message", original)))
