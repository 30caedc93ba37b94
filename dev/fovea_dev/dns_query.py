"""Ask a name server for the address of a name: one UDP packet there, one back."""

from __future__ import annotations

import secrets
import socket
import struct

_TYPE_A = 1
_CLASS_IN = 1
_RECURSION_DESIRED = 0x0100
_HEADER = struct.Struct(">6H")


def question(identifier: int, name: str) -> bytes:
    """The packet that asks for a name's IPv4 address."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.rstrip(".").split("."))
    return (
        _HEADER.pack(identifier, _RECURSION_DESIRED, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack(">2H", _TYPE_A, _CLASS_IN)
    )


def is_answered(packet: bytes, identifier: int) -> bool:
    """Whether a packet answers that question with at least one record and no error."""
    if len(packet) < _HEADER.size:
        return False
    answered, flags, _, answers, _, _ = _HEADER.unpack_from(packet)
    return bool(answered == identifier and flags & 0x800F == 0x8000 and answers > 0)


def resolves(server: str, name: str, seconds: float = 1.0) -> bool:
    """Whether a name server knows the name; False as well if it does not answer in time."""
    identifier = secrets.randbelow(1 << 16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        try:
            client.sendto(question(identifier, name), (server, 53))
            return is_answered(client.recv(4096), identifier)
        except OSError:
            return False
