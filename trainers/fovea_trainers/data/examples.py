"""Examples that are read from files when they are needed, or once into memory, and batches of them in a given order.

An example that cannot be read is no error of its batch: it is left out of it, and the batch is that much smaller. What a
batch holds follows from the order and from the files alone, not from when a file was found to be damaged (ADR 44).
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from fovea_trainers.data.files import Files
from fovea_trainers.errors import DataError

Array = np.ndarray[Any, Any]
Fields = tuple[Array, ...]
"""What is read of an example: of every example as many arrays. Of several examples: [n, …] of each."""
Finish = Callable[..., tuple[Any, ...]]
"""(kept bool [wanted], *fields [n, …]) -> the tensors of a batch [n, …]: n examples of the wanted ones could be read."""
AHEAD = 2
"""Batches that are read while one is trained on: what bounds the memory of examples that are not held."""
PIECE = 16
"""Examples that a thread reads at once, at most: a graph that is called for each alone costs more than a small picture."""
NAMED = 5
"""Unreadable examples that are named in the log one by one."""


class Unreadable(Exception):
    """What is wrong with an example's file; the example is left out."""


def one_by_one(load: Callable[[int], Fields]) -> Callable[[Array], Fields]:
    """Reads several examples with a function that reads one."""
    return lambda numbers: tuple(map(np.stack, zip(*(load(int(number)) for number in numbers), strict=True)))


@dataclass(frozen=True)
class _Piece:
    """What was read of some examples."""

    kept: Array
    """bool [n]: which could be read."""
    fields: Fields
    """[kept, …] of each; empty without any."""
    problems: dict[int, str]
    """What is wrong with others, by number; nothing of those that were known to be unreadable."""


@dataclass(frozen=True)
class Examples:
    """Numbered examples, of which some may turn out to be unreadable."""

    files: Files
    load: Callable[[Array], Fields]
    """Reads examples [n], n > 0. Raises Unreadable where one of them is, or OSError when the disk fails. Several threads call it."""
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
                pieces = [] if self.held is not None else _pieces(numbers)
                reading = [readers.submit(self._read, piece) for piece in pieces]
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
        read = self._read(np.array([number]))
        return (tuple(values[0] for values in read.fields) or None), read.problems.get(number, "")

    def _read(self, numbers: Array) -> _Piece:
        kept = np.array([number not in self.unreadable for number in numbers.tolist()], bool)
        try:
            return _Piece(kept, self.load(numbers[kept]) if kept.any() else (), {})
        except Unreadable as error:
            if len(numbers) == 1:
                return _Piece(np.zeros(1, bool), (), {int(numbers[0]): str(error)})
        return self._joined([self._read(number) for number in numbers.reshape(-1, 1)])

    def _joined(self, pieces: Sequence[_Piece]) -> _Piece:
        """All of them, in this order."""
        fields = [piece.fields for piece in pieces if piece.fields]
        return _Piece(
            np.concatenate([piece.kept for piece in pieces]) if pieces else np.zeros(0, bool),
            tuple(map(np.concatenate, zip(*fields, strict=True))),
            {number: problem for piece in pieces for number, problem in piece.problems.items()},
        )

    def hold(self, check: Callable[[], None] = lambda: None) -> "Examples":
        """All examples read into memory; `check` is called again and again, and may raise to give up.

        Raises DataError as `batches`.
        """
        count = len(self.files)
        self.say(f"reading {count} {self.noun}s from {self.files.root}")
        store = tuple(np.zeros((count, *shape), np.uint8) for shape in self.shapes)

        def fill(numbers: Array) -> dict[int, str]:
            read = self._read(numbers)
            for place, values in zip(store, read.fields, strict=bool(read.fields)):
                place[numbers[read.kept]] = values
            return read.problems

        window = 4 * (os.cpu_count() or 1)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting: deque[Future[dict[int, str]]] = deque()
            try:
                for first in range(0, count, PIECE):
                    check()
                    waiting.append(pool.submit(fill, np.arange(first, min(count, first + PIECE))))
                    if len(waiting) > window:
                        self.leave_out(waiting.popleft().result())
                while waiting:
                    check()
                    self.leave_out(waiting.popleft().result())
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
        self, numbers: Array, reading: Sequence[Future[_Piece]], finish: Finish
    ) -> tuple[tuple[Any, ...], dict[int, str]]:
        if self.held is not None:
            kept = np.array([number not in self.unreadable for number in numbers], bool)
            read = _Piece(kept, tuple(values[numbers[kept]] for values in self.held), {})
        else:
            read = self._joined([future.result() for future in reading])
        fields = read.fields or tuple(np.zeros((0, *shape), np.uint8) for shape in self.shapes)
        with tf.device("/CPU:0"):  # holds for this thread alone
            return finish(read.kept, *fields), read.problems

    def _taken(self, batch: tuple[tuple[Any, ...], dict[int, str]]) -> tuple[Any, ...]:
        tensors, problems = batch
        self.leave_out(problems)
        return tensors


def _pieces(numbers: Array) -> list[Array]:
    """Of a batch, for the threads that read: of even size, and none larger than PIECE."""
    threads = os.cpu_count() or 1
    size = max(1, min(PIECE, -(-len(numbers) // threads)))
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]
