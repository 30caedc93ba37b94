"""Ports for servers that tests and benchmarks start on this machine.

A port that the kernel gives (bind to 0) is taken from the range of outgoing connections: before the server listens on it, any
client on the machine may have got it. So ports come from below that range, and no port is given twice by one process.
"""

from __future__ import annotations

import random
import socket

# Below 30000, where Kubernetes' node ports begin, and 32768, where Linux' outgoing connections begin.
_RANGE = range(10240, 29999)
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """`count` TCP ports that are free, and are not taken by chance."""
    return [_free_port() for _ in range(count)]


def _free_port() -> int:
    while True:
        port = random.choice(_RANGE)  # noqa: S311 - no secret
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
