"""Errors that reach a client: a canonical code and a text, the same over gRPC and REST.

ServingError(code, message)        everything the services answer with
  made by the functions below      not_found(...), invalid_argument(...), ...
"""

from __future__ import annotations

from typing import Final

import grpc

LONGEST_MESSAGE: Final = 1024
"""Bytes of a gRPC status message, in UTF-8. It travels in an HTTP/2 header, where each byte beyond ASCII takes three:
clients in Java and Python take 8 KiB of headers and else lose the code with the text."""
_CUT: Final = "..."

_HTTP_STATUS: Final = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class ServingError(Exception):
    """An answer other than success."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        # Names of files and texts of JSON may hold what UTF-8 cannot: an answer with it could not be sent at all.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def invalid_argument(message: str) -> ServingError:
    """The request is wrong, whatever the state of the server."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> ServingError:
    """The request does not fit the model or configuration that is there."""
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)


def not_found(message: str) -> ServingError:
    """No such model or version is there."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def permission_denied(message: str) -> ServingError:
    """This server does not offer that to every client of its port."""
    return ServingError(grpc.StatusCode.PERMISSION_DENIED, message)


def resource_exhausted(message: str) -> ServingError:
    """There is more work than this server gets done in the time that callers give it."""
    return ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def unimplemented(message: str) -> ServingError:
    """The protocol knows the request, this server does not."""
    return ServingError(grpc.StatusCode.UNIMPLEMENTED, message)


def unavailable(message: str) -> ServingError:
    """Worth another attempt, here later or at another server now."""
    return ServingError(grpc.StatusCode.UNAVAILABLE, message)


def deadline_exceeded(message: str) -> ServingError:
    """The caller's time was up."""
    return ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, message)


def internal(message: str) -> ServingError:
    """A fault of the server or of the model."""
    return ServingError(grpc.StatusCode.INTERNAL, message)


def on_the_wire(message: str) -> str:
    """A status message cut to what a client's limit for headers has room for, between two characters."""
    data = message.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST_MESSAGE:
        return data.decode()
    return data[: LONGEST_MESSAGE - len(_CUT)].decode("utf-8", "ignore") + _CUT


def http_status(code: grpc.StatusCode) -> int:
    """HTTP status by which REST answers a canonical code."""
    return _HTTP_STATUS.get(code, 500)
