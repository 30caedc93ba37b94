"""How gRPC is held to the memory that there is: what it receives, what it says of that, and how long connections last."""

import re

import grpc

_OLDEST_MILLISECONDS = 600_000


def bounded(largest: int) -> tuple[tuple[str, int], ...]:
    """Options of a server or a channel that receives messages of so many bytes."""
    return (
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", -1),
        # What nobody has read yet takes no more than this of a call. gRPC's own measurement grows it to some megabytes.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 64 << 10),
    )


AGING = (
    # A peer that is gone does not answer; one that does nothing else is bounded by its age. Calls may go on meanwhile.
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_age_ms", _OLDEST_MILLISECONDS),
    ("grpc.max_connection_age_grace_ms", _OLDEST_MILLISECONDS + 60_000),
)
"""Options of a server."""


def is_too_large(error: grpc.aio.AioRpcError, largest: int) -> bool:
    """Whether a call failed since a channel with that bound did not take the answer. A server that refuses a request says SERVER."""
    said = error.details() or ""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and bool(
        re.search(rf"CLIENT: Received message larger than max .* vs\. {largest}\)", said)
        or said.startswith("Decompressed message larger than max")
    )
