"""Where requests and replies are converted: small ones at once, large ones on a few threads beside the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from fovea_serving.protocol.tensors import Array

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LARGE_REPLY: Final = 4096
"""Elements from which a reply is written on a thread."""
LARGE_TEXT: Final = 64 * 1024
"""The same for the bytes of strings."""
THREADS: Final = 2
"""Large requests and replies that are converted at once, over both ports: at most this many are in memory twice."""


def is_large(values: Sequence[Array]) -> bool:
    """Whether writing these outputs would delay others."""
    if sum(value.size for value in values) >= LARGE_REPLY:
        return True
    texts = (one for value in values if value.dtype == object for one in value.flat)
    return sum(len(one) for one in texts if isinstance(one, (bytes, str))) >= LARGE_TEXT


class Converters:
    """Calls functions, large work on threads of its own."""

    def __init__(self, threads: int = THREADS) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="convert")

    async def call(
        self, large: bool, convert: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call at once, or for something large on one of a few threads."""
        if not large:
            return convert(*args, **kwargs)
        call = functools.partial(convert, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Start nothing more; what is under way is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
