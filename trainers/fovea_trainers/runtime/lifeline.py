"""How one process of a job sees whether another one lives, by the port on which that one's TensorFlow listens."""

import math
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

GONE_SECONDS = 5.0
"""A chief that refuses connections for so long after it was there has died."""
_PAUSE = 0.5
_CONNECT_SECONDS = 2.0
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""What a client of HTTP/2 says first: the preface, and settings that are empty."""


class Sign(Enum):
    """What another process is like."""

    ANSWERS = "answers"
    REFUSES = "refuses"
    """Nothing listens there, or its host is not known: it has ended, or has not begun."""
    SILENT = "silent"
    """Its machine takes connections, or nothing, and nobody answers."""


class Lifeline:
    """A connection with the chief, over which nothing is sent: the kernel closes it when its process ends."""

    def __init__(self, address: str, limit: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        """`address` is host:port, of TF_CONFIG; `limit`: seconds after which a chief that asks nothing is another one."""
        host, _, port = address.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._limit = limit
        self._clock = clock
        self._looked = clock()
        self._asked: float | None = None
        self._connection: socket.socket | None = None
        self._seen: float | None = None

    def lost(self) -> bool:
        """Whether the chief has been there and is gone; waits for half a second to find out."""
        if self._connection is None:
            self._connect()
        if self._connection is None:
            time.sleep(_PAUSE)
        elif self._closed(self._connection):
            # TensorFlow hangs up on those that say nothing, too: only one that cannot be reached any more has died.
            self._connection.close()
            self._connection = None
            self._connect()
        if self._connection is not None:
            self._seen = self._clock()
        return self._seen is not None and self._clock() - self._seen > GONE_SECONDS

    def asked(self) -> None:
        """The chief has asked for something, as it does every second."""
        self._asked = self._clock()

    def replaced(self) -> bool:
        """Whether the chief that answers there asks nothing of this process, and the one before it did: it is of a newer attempt.

        A process that was frozen, or cut off, finds the next attempt's chief under the same name.
        """
        now = self._clock()
        if self._asked is not None and now - self._looked > GONE_SECONDS:
            self._asked = now  # this process was frozen itself: its chief may be waiting for it
        self._looked = now
        if self._asked is None or now - self._asked <= self._limit:
            return False
        host, port = self._address
        return look(f"{host}:{port}") is Sign.ANSWERS

    def _connect(self) -> None:
        with suppress(OSError):
            self._connection = socket.create_connection(self._address, timeout=_CONNECT_SECONDS)
            keep_alive(self._connection)

    @staticmethod
    def _closed(connection: socket.socket) -> bool:
        connection.settimeout(_PAUSE)
        try:
            return connection.recv(4096) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


def look(address: str) -> Sign:
    """Ask the gRPC server at host:port for what it says to every client first, before any call."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as connection:
            connection.sendall(_HTTP2)
            return Sign.ANSWERS if connection.recv(1) else Sign.REFUSES
    except TimeoutError:
        return Sign.SILENT
    except OSError:
        return Sign.REFUSES


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel ask the other side whether it is there: a machine that is switched off closes nothing."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
