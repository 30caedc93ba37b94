"""Messages of gRPC, whose length nobody knows before they are in memory whole."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from .room import LARGEST

MOST_ANSWERS = LARGEST + (32 << 20)
"""Bytes of answers at once, with the one that is read."""
PATIENCE_SECONDS = 60.0


class Full(Exception):
    """Clients have not taken any of the answers that are here for a while, and there is no room for one more."""


class Answers:
    """Answers of versions until their clients have taken them.

    One is read at a time, and while it is, it counts as the largest. The others stay with the versions, whose connections
    send no more than a window of each. A client that takes nothing cannot be cut off: gRPC has no way to end a call of which
    a message is on its way. The gateway does so, and its connection grows old.
    """

    def __init__(self, most: int = MOST_ANSWERS, largest: int = LARGEST, *, patience: float = PATIENCE_SECONDS) -> None:
        self._before, self._patience = most - largest, patience
        self._held = 0
        self._moved = 0.0
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def held(self, read: Callable[[], Awaitable[Any]]) -> AsyncIterator[Any]:
        """Read an answer in its turn, and count it meanwhile. What is not bytes is no answer. Raises Full."""
        async with self._turn:
            await self._space()
            answer = await read()
            size = len(answer) if isinstance(answer, bytes) else 0
            self._moves(size)
        try:
            yield answer
        finally:
            self._moves(-size)
            self._freed.set()

    def _moves(self, size: int) -> None:
        self._held += size
        self._moved = asyncio.get_running_loop().time()

    async def _space(self) -> None:
        while self._held > self._before:
            self._freed.clear()
            try:
                async with asyncio.timeout_at(self._moved + self._patience):
                    await self._freed.wait()
            except TimeoutError:
                raise Full(
                    f"the activator is full: clients have not taken any of the answers here, {self._held / (1 << 20):.1f} MiB, "
                    f"for {self._patience:g} s. Ask again: requests to a model whose pods are ready do not come here"
                ) from None
