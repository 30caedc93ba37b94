"""A limited number of writes at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def each(items: Sequence[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Work on every item, at most `at_once` of them at the same time, in their order.

    When one fails, no further item is begun, and the items in work are finished, so that their results are known. Raises the
    exception of the first failed item, in the order of the items.
    """
    failures: dict[int, Exception] = {}
    waiting = iter(enumerate(items))

    async def lane() -> None:
        for index, item in waiting:
            try:
                await work(item)
            except Exception as error:  # noqa: BLE001 - raised below, after those that run beside it
                failures[index] = error
            if failures:
                return

    await asyncio.gather(*(lane() for _ in range(min(at_once, len(items)))))
    if failures:
        raise failures[min(failures)]
