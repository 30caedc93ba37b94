"""Examples that are read from files when they are needed, or once into memory, and batches of them in a given order.

An example that cannot be read is no error of its batch: it is left out of it, and the batch is that much smaller. What a
batch holds follows from the order and from the files alone, not from when a file was found to be damaged (ADR 44).
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data.files import Files
from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]
Fields = tuple[Array, ...]
"""What is read of an example: of every example as many arrays."""
Finish = Callable[..., tuple[Any, ...]]
"""(kept bool [wanted], *fields [n, …]) -> the tensors of a batch [n, …]: n examples of the wanted ones could be read."""
AHEAD = 2
"""Batches that are read while one is trained on: what bounds the memory of examples that are not held."""
NAMED = 5
"""Unreadable examples that are named in the log one by one."""


class Unreadable(Exception):
    """What is wrong with an example's file; the example is left out."""


@dataclass(frozen=True)
class Examples:
    """Numbered examples, of which some may turn out to be unreadable."""

    files: Files
    load: Callable[[int], Fields]
    """Reads an example. Raises Unreadable, or OSError when the disk fails. Several threads call it."""
    shapes: tuple[tuple[int, ...], ...]
    """Shape of each field that `load` reads; all are uint8."""
    max_unreadable: float
    """Greatest share of unreadable examples."""
    say: Callable[[str], None]
    fingerprint: str
    """Of the data: another value means other data."""
    noun: str = "picture"
    """What an example is called in the log."""
    held: Fields | None = None
    """[examples, …] of each field, or None where they are read when they are needed."""
    unreadable: set[int] = field(default_factory=set)
    """Examples that were found to be unreadable so far; grows while examples are read."""

    def batches(self, wanted: Iterable[tuple[Array, Finish]]) -> Iterator[tuple[Any, ...]]:
        """What `finish` makes of each batch of the `wanted` examples, numbers [n], in this order; n = 0 is possible.

        `finish` runs in a thread of its own, on the processor. Raises DataError when more examples are unreadable than
        allowed, OSError when the disk fails.
        """
        readers, assemblers = ThreadPoolExecutor(os.cpu_count()), ThreadPoolExecutor(AHEAD)
        waiting: deque[Future[tuple[tuple[Any, ...], dict[int, str]]]] = deque()
        try:
            for numbers, finish in wanted:
                reading = None if self.held is not None else [readers.submit(self.read, int(i)) for i in numbers]
                waiting.append(assemblers.submit(self._assemble, numbers, reading, finish))
                if len(waiting) > AHEAD:
                    yield self._taken(waiting.popleft().result())
            while waiting:
                yield self._taken(waiting.popleft().result())
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
            assemblers.shutdown(cancel_futures=True)
            readers.shutdown()

    def any_readable(self, numbers: Iterable[int]) -> bool:
        """Whether any of these examples can be read: they are tried in this order up to the first."""
        for number in numbers:
            if number in self.unreadable:
                continue
            if self.held is not None:
                return True
            example, problem = self.read(int(number))
            if example is not None:
                return True
            self.leave_out({int(number): problem})
        return False

    def readable(self, numbers: Array) -> int:
        """How many of these examples were not found to be unreadable so far."""
        return len(numbers) - int(np.isin(numbers, np.array(sorted(self.unreadable), np.int64)).sum())

    def leave_out(self, problems: dict[int, str]) -> None:
        """Take note of unreadable examples, and name them; raises DataError when they are too many."""
        for number, problem in problems.items():
            if number in self.unreadable:
                continue
            self.unreadable.add(number)
            name = f"{self.files.name(number)} ({problem})"
            count, total = len(self.unreadable), len(self.files)
            if count > self.max_unreadable * total:
                raise DataError(
                    f"{count} of {total} {self.noun}s in {self.files.root} cannot be read so far, the last is {name}; "
                    f"repair or remove them, or allow more by --max-unreadable (now {self.max_unreadable})"
                )
            if count <= NAMED:
                self.say(f"{self.noun} {name} cannot be read; it is left out")
            elif count == NAMED + 1:
                self.say(f"further {self.noun}s that cannot be read are counted, not named")

    def read(self, number: int) -> tuple[Fields | None, str]:
        """The fields of an example, or None and what is wrong with it. Raises OSError when the disk fails."""
        if number in self.unreadable:
            return None, ""
        try:
            return self.load(number), ""
        except Unreadable as error:
            return None, str(error)

    def hold(self, check: Callable[[], None] = lambda: None) -> "Examples":
        """All examples read into memory; `check` is called for every one, and may raise to give up.

        Raises DataError as `batches`.
        """
        count = len(self.files)
        self.say(f"reading {count} {self.noun}s from {self.files.root}")
        store = tuple(np.zeros((count, *shape), np.uint8) for shape in self.shapes)

        def fill(number: int) -> str:
            example, problem = self.read(number)
            for place, values in zip(store, example or (), strict=example is not None):
                place[number] = values
            return problem

        window = 4 * (os.cpu_count() or 1)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting: deque[tuple[int, Future[str]]] = deque()
            try:
                for number in range(count + window):
                    check()
                    if number < count:
                        waiting.append((number, pool.submit(fill, number)))
                    if waiting and number >= window:
                        done, future = waiting.popleft()
                        if problem := future.result():
                            self.leave_out({done: problem})
            finally:
                pool.shutdown(cancel_futures=True)
        return replace(self, held=store)

    def kept(self, budget: int, check: Callable[[], None] = lambda: None) -> "Examples":
        """Held in memory where they fit into `budget` bytes, else as they are; without a word where the budget is 0."""
        if not budget:
            return self
        if len(self.files) * sum(int(np.prod(shape)) for shape in self.shapes) <= budget:
            return self.hold(check)
        self.say(
            f"{len(self.files)} {self.noun}s in {self.files.root} do not fit into --cache-mib: each is read when it is needed"
        )
        return self

    def _assemble(
        self, numbers: Array, reading: list[Future[tuple[Fields | None, str]]] | None, finish: Finish
    ) -> tuple[tuple[Any, ...], dict[int, str]]:
        problems: dict[int, str] = {}
        if self.held is not None:
            kept = np.array([number not in self.unreadable for number in numbers], bool)
            fields: Fields = tuple(values[numbers[kept]] for values in self.held)
        else:
            results = [future.result() for future in reading or []]
            kept = np.array([example is not None for example, _ in results], bool)
            problems = {int(i): text for i, (example, text) in zip(numbers, results, strict=True) if example is None}
            fields = self._stacked([example for example, _ in results if example is not None])
        with tf.device("/CPU:0"):  # holds for this thread alone
            return finish(kept, *fields), problems

    def _stacked(self, examples: list[Fields]) -> Fields:
        if not examples:
            return tuple(np.zeros((0, *shape), np.uint8) for shape in self.shapes)
        return tuple(np.stack(values) for values in zip(*examples, strict=True))

    def _taken(self, batch: tuple[tuple[Any, ...], dict[int, str]]) -> tuple[Any, ...]:
        tensors, problems = batch
        self.leave_out(problems)
        return tensors
