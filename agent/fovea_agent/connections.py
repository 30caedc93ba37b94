"""Connections to the object store, and what is sent over them: nothing waits longer than the grace period lasts."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import certifi
import urllib3

CHUNK = 1 << 20
CONNECT, READ = 5.0, 60.0
SHORTEST = 1.0
"""Seconds to wait for the store: to connect, for the next bytes, and for either at the end of the grace period."""
TIMEOUT = urllib3.Timeout(connect=CONNECT, read=READ)


class Readable(Protocol):
    """A request's body."""

    def read(self, amount: int = -1, /) -> bytes:
        """Return up to `amount` bytes, none at the end."""


@dataclass(frozen=True)
class UntilTheEnd:
    """A body that ends by an error when `check` raises one: a slow upload would outlast the grace period."""

    body: Readable
    check: Callable[[], None]

    def read(self, amount: int = -1, /) -> bytes:
        self.check()
        return self.body.read(amount)


class Chunks:
    """A body that is made while it is sent, piece by piece."""

    def __init__(self, make: Callable[[], Iterator[bytes]]) -> None:
        self._made, self._rest = make(), b""

    def read(self, amount: int = -1, /) -> bytes:
        while amount < 0 or len(self._rest) < amount:
            chunk = next(self._made, None)
            if chunk is None:
                break
            self._rest += chunk
        if amount < 0:
            amount = len(self._rest)
        read, self._rest = self._rest[:amount], self._rest[amount:]
        return read


class _Pool(urllib3.PoolManager):
    """Connections whose requests wait no longer than `left` seconds, when it says any."""

    def __init__(self, left: Callable[[], float | None], **options: Any) -> None:
        super().__init__(**options)
        self._left = left

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        """As its base does, with a timeout for this request."""
        left = self._left()
        if left is not None:
            most = max(SHORTEST, left)
            options.setdefault("timeout", urllib3.Timeout(connect=min(CONNECT, most), read=min(READ, most)))
        return super().urlopen(method, url, redirect, **options)


def http_pool(
    connections: int, ca_bundle: str | None, left: Callable[[], float | None] = lambda: None
) -> urllib3.PoolManager:
    """Connections to the store. No retries here: `Patience` decides on them."""
    return _Pool(
        left,
        num_pools=4,
        maxsize=connections,
        timeout=TIMEOUT,
        retries=False,
        blocksize=CHUNK,
        ca_certs=ca_bundle or os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )
