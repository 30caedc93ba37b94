"""Many transfers at once: a bounded window of them, and how far they are."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

T = TypeVar("T")

PARALLEL = 8
_WINDOW = 64
"""Tasks per thread that are made ahead: a folder may hold a million files."""


@dataclass(frozen=True)
class Progress:
    """How far an upload or a download is. Files that were there already count as done."""

    files: int
    files_done: int
    bytes: int
    bytes_done: int


class Stopped(Exception):
    """Another transfer of the same command failed, or the user interrupted it: this one ends too."""


class Tally:
    """Counts what is done and reports it; once it is stopped, counting raises Stopped."""

    def __init__(self, files: int, size: int, report: Callable[[Progress], None]) -> None:
        self._files, self._bytes, self._report = files, size, report
        self._files_done = self._bytes_done = 0
        self._lock, self._stopped = Lock(), False

    def add(self, count: int) -> None:
        """Count bytes (a negative number takes some back)."""
        self._change(0, count)

    def done(self) -> None:
        """Count a file."""
        self._change(1, 0)

    def stop(self) -> None:
        """End what goes on: a file of many gigabytes would keep the command for hours."""
        self._stopped = True

    def _change(self, files: int, count: int) -> None:
        if self._stopped:
            raise Stopped
        with self._lock:
            self._files_done += files
            self._bytes_done += count
            self._report(Progress(self._files, self._files_done, self._bytes, self._bytes_done))


def run_all(tasks: Iterable[Callable[[], T]], parallel: int, tally: Tally) -> list[T]:
    """Run tasks, `parallel` at a time; their results in order. The first failure ends them all."""
    results: list[T] = []
    waiting: deque[Future[T]] = deque()
    with _pool(parallel, tally) as pool:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) >= _WINDOW * parallel:
                results.append(waiting.popleft().result())
        results += [future.result() for future in waiting]
    return results


@contextmanager
def _pool(parallel: int, tally: Tally) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(parallel) as pool:
        try:
            yield pool
        except BaseException:
            tally.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
