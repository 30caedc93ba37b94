"""How many bytes the requests under way hold, over both ports together, and when another one is one too many.

RequestMemory     the account
Share             what one request holds of it
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from fovea_serving.protocol.errors import unavailable

MOST_BYTES: Final = 512 * 2**20


class GaveWayError(Exception):
    """The rest of a request came too slowly, and others needed the room that its beginning held."""


@dataclass(slots=True)
class RequestMemory:
    """An account of bytes. They are held from a request's arrival until it is answered, while it waits and while it runs.

    One request alone is always admitted, however large. One that is late, of which a part is here and the rest does not
    come as it should, gives way to others. Used on the event loop only.
    """

    most_bytes: int = MOST_BYTES
    held: int = 0
    arriving: dict[Share, None] = field(default_factory=dict)
    """Shares of which the rest is still on its way; the one that began first is first."""

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """A share of nothing yet; given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give_back(share.size)

    @contextlib.contextmanager
    def hold(self, size: int, share: Share | None = None) -> Iterator[None]:
        """Hold `size` bytes within the block, more for a request that has a share; raises UNAVAILABLE as `take` does."""
        held = Share(self) if share is None else share
        held.take(size)
        try:
            yield
        finally:
            held.give_back(size)

    def make_room(self, size: int, share: Share) -> None:
        """Make room for `size` bytes more of a share; raises UNAVAILABLE, and takes nothing from others, if there is none."""
        if not size or self.held == share.size:
            return
        late = (one for one in self.arriving if one is not share and one.is_late())
        leaving, room = [], self.most_bytes - self.held
        while room < size:
            one = next(late, None)
            if one is None:
                raise unavailable(
                    f"Requests that wait or run hold {self.held} bytes; with {size} more they would hold more than "
                    f"--max_waiting_bytes={self.most_bytes}: send the request again later or to another replica"
                )
            leaving.append(one)
            room += one.size
        for one in leaving:
            one.leave()


@dataclass(slots=True, eq=False)
class Share:
    """What one request holds."""

    account: RequestMemory
    size: int = 0
    is_late: Callable[[], bool] = lambda: False
    _leave: Callable[[], None] | None = None
    gave_way: bool = False

    def take(self, size: int) -> None:
        """Hold `size` bytes more; raises UNAVAILABLE, and holds nothing more, where others leave too little.

        Raises GaveWayError when the share was taken away.
        """
        if self.gave_way:
            raise GaveWayError
        self.account.make_room(size, self)
        self.size += size
        self.account.held += size

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        size = min(size, self.size)  # what gave way is given back already
        self.size -= size
        self.account.held -= size

    @contextlib.contextmanager
    def arriving(self, is_late: Callable[[], bool], leave: Callable[[], None]) -> Iterator[None]:
        """Within the block the rest is on its way: while it is late, `leave` may be called, which ends the block."""
        self.is_late, self._leave = is_late, leave
        self.account.arriving[self] = None
        try:
            yield
        finally:
            self.account.arriving.pop(self, None)

    def leave(self) -> None:
        """Give everything back at once. The request that fills the share sees it, and drops the bytes in a moment."""
        self.gave_way = True
        self.account.arriving.pop(self, None)
        self.give_back(self.size)
        if self._leave is not None:
            self._leave()
