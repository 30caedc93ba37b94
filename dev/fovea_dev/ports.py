"""Ports for servers that tests and benchmarks start on this machine.

A port that the kernel gives (bind to 0) is taken from the range of outgoing connections: before the server listens on it, any
client on the machine may have got it. So ports come from below that range.

A server may take seconds until it listens, and several processes choose ports at the same time: whoever is given one keeps a
lock on it until the process ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below 30000, where Kubernetes' node ports begin, and 32768, where Linux' outgoing connections begin.
_RANGE = range(10240, 29999)
_LOCKS = Path(tempfile.gettempdir()) / f"fovea-ports-{os.getuid()}"
_random = random.SystemRandom()
"""Of its own: processes that seed the common one with the same number would choose the same ports."""
_given: dict[int, int] = {}
"""Open locks by port."""


def free_ports(count: int) -> list[int]:
    """`count` TCP ports that are free, and are given to no other process while this one runs."""
    return [_free_port() for _ in range(count)]


def _free_port() -> int:
    while True:
        port = _random.choice(_RANGE)
        if port not in _given and _is_locked(port) and _is_free(port):
            return port


def _is_locked(port: int) -> bool:
    """Lock a port for this process; False when another one has it."""
    _LOCKS.mkdir(exist_ok=True)
    lock = os.open(_LOCKS / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    _given[port] = lock
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
