"""Compressed bodies and messages: unpacked to a bound, and never on the event loop (the caller's part)."""

from __future__ import annotations

import zlib
from typing import Final

from fovea_serving.protocol.errors import invalid_argument

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

IDENTITY: Final = frozenset({"", "identity"})
ENCODINGS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class TooLargeError(ValueError):
    """What is unpacked is longer than it may be."""


def is_gzip(data: bytes) -> bool:
    """Whether the bytes begin as gzip does; no protocol buffer does (its first field would have wire type 7)."""
    return data[:3] == b"\x1f\x8b\x08"


def is_zlib(data: bytes) -> bool:
    """Whether the bytes begin as zlib's format does with the window that everyone uses."""
    return data[:1] == b"\x78" and len(data) > 1 and int.from_bytes(data[:2], "big") % 31 == 0


def unpack(data: bytes | bytearray, encoding: str, most: int) -> bytes:
    """The bytes that a Content-Encoding stands for; raises TooLargeError beyond `most` bytes, else ServingError.

    Blocks the thread, without the interpreter's lock. No more than `most` bytes are made, however many it would be.
    """
    kind = ENCODINGS.get(encoding)
    if kind is None:
        raise invalid_argument(f"Content-Encoding {encoding!r} is not read here: send gzip, deflate or no encoding")
    if kind == _ZLIB and not is_zlib(bytes(data[:2])):
        kind = _RAW
    parts: list[bytes] = []
    room, rest = most, bytes(data)
    while rest:
        stream = zlib.decompressobj(kind)
        try:
            parts.append(stream.decompress(rest, room + 1))
        except zlib.error as error:
            raise invalid_argument(f"The body is not what its encoding {encoding} says: {error}") from error
        room -= len(parts[-1])
        if room < 0:
            raise TooLargeError(most)
        if not stream.eof:
            raise invalid_argument(f"The body ends before its encoding {encoding} does")
        # A file of gzip may hold several streams one after the other, and zeros at its end.
        rest = stream.unused_data.lstrip(b"\0") if kind == _GZIP else b""
    return parts[0] if len(parts) == 1 else b"".join(parts)
