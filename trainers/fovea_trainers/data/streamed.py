"""Batches of sets whose shards arrive while they are read: before a batch is given out, its shards are wanted."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from fovea_trainers.data import order, windows
from fovea_trainers.data.examples import AHEAD
from fovea_trainers.data.shards import Shards
from fovea_trainers.data.stream import Stream
from fovea_trainers.data.windows import Pass
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.strategy import Shard

Array = np.ndarray[Any, Any]


class Streamed:
    """The order of a training set, and of sets that are evaluated, over shards that arrive.

    What is wanted goes beyond the set that is read: after a training epoch come the evaluated sets and the next epoch.
    """

    def __init__(
        self, stream: Stream, shards: Shards, train: Array, evaluated: Iterable[Array], *, window: int, seed: int
    ) -> None:
        """`train`, and each of `evaluated`: numbers of records, rising. Raises DataError for a window beyond the room."""
        self._stream, self._names, self._starts = stream, shards.names, shards.starts
        self._window, self._seed = window, seed
        self._train, self._evaluated = self._shards(train), [self._shards(each) for each in evaluated]
        self._epoch = lru_cache(maxsize=2)(self._made)  # a worker of an asynchronous job asks for the same order often
        self._upcoming = 0
        """The epoch that is trained after the next evaluation."""
        self._require_room()

    def training(self, size: int, *, epoch: int, first: int, shard: Shard) -> Iterator[Array]:
        """Places in the training set that a shard reads of each batch, from batch `first` of an epoch on."""
        whole = self._epoch(epoch)
        self._upcoming = epoch + 1
        then = [*map(np.unique, self._evaluated), windows.opened(self._train, seed=self._seed, epoch=epoch + 1)]
        batches = order.divided(order.cut(whole.order, size), first, shard)
        # Batches that were given out before may still be read from.
        starts = (max(first, first + (number - AHEAD) * shard.every) * size for number in range(len(batches)))
        return self._announced(whole, batches, starts, lambda: then)

    def in_order(self, numbers: Array, size: int) -> Iterator[Array]:
        """Numbers of records in batches, from shard to shard."""
        shards = self._shards(numbers)
        starts = (max(0, number - AHEAD) * size for number in range(-(-len(numbers) // size)))

        def then() -> list[Array]:
            return [windows.opened(self._train, seed=self._seed, epoch=self._upcoming)]

        return self._announced(windows.in_order(shards), order.cut(numbers, size), starts, then)

    def _announced(
        self, whole: Pass, batches: list[Array], starts: Iterable[int], then: Callable[[], list[Array]]
    ) -> Iterator[Array]:
        before: Array | None = None
        for batch, start in zip(batches, starts, strict=True):
            since = whole.since(start)
            if before is None or len(since) != len(before):
                before = since
                self._stream.want(self._names[number] for number in np.concatenate([since, *then()]).tolist())
            yield batch

    def _made(self, epoch: int) -> Pass:
        return windows.windowed(self._train, self._window, seed=self._seed, epoch=epoch)

    def _shards(self, numbers: Array) -> Array:
        return np.searchsorted(self._starts, numbers, "right") - 1

    def _require_room(self) -> None:
        """One more than a window: while a shard is read to its end, the next one arrives."""
        sizes = sorted((self._stream.sizes[self._names[number]] for number in np.unique(self._train)), reverse=True)
        if sum(sizes[: self._window + 1]) <= self._stream.room:
            return
        fitting = int(np.searchsorted(np.cumsum(sizes), self._stream.room, "right")) - 1
        remedy = f"give --shuffle-shards={fitting}" if fitting >= 1 else "convert the data to smaller shards"
        raise DataError(
            f"--shuffle-shards={self._window}: {self._window + 1} shards in {self._stream.root}, one more than the window, have up to "
            f"{sum(sizes[: self._window + 1]):,} bytes, and there is room for {self._stream.room:,} bytes of streamed shards: {remedy}, "
            "or let the platform team raise the chart's training.streamRoom"
        )
