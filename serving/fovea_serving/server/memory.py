"""How many bytes the requests under way hold, over both ports together, and when another one is one too many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fovea_serving.server.errors import unavailable

MOST_BYTES: Final = 512 * 2**20


@dataclass(slots=True)
class RequestMemory:
    """An account of bytes. They are held from a request's arrival until it is answered, while it waits and while it runs.

    One request alone is always admitted, however large. Used on the event loop only.
    """

    most_bytes: int = MOST_BYTES
    held: int = 0

    def take(self, size: int) -> None:
        """Hold so many bytes more; raises UNAVAILABLE, and holds nothing more, where others leave too little."""
        if self.held and self.held + size > self.most_bytes:
            raise unavailable(
                f"Requests that wait or run hold {self.held} bytes; with {size} more they would hold more than "
                f"--max_waiting_bytes={self.most_bytes}: send the request again later or to another replica"
            )
        self.held += size

    def give_back(self, size: int) -> None:
        """Hold so many bytes less."""
        self.held -= size

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold so many bytes within the block; raises UNAVAILABLE as `take` does."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)
