"""Many transfers at once: bounded, and the first failure ends them all."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from fovea_agent.settings import DEFAULT_TRANSFERS

T = TypeVar("T")

AHEAD = 2
"""Tasks under way or waiting for a thread, per thread: there may be millions, and each costs memory."""


def run_all(tasks: Iterable[Callable[[], T]], transfers: int = DEFAULT_TRANSFERS) -> list[T]:
    """Run the tasks on up to `transfers` threads; results in order, or the first failure once all threads are idle.

    `tasks` is read as threads become free; what it raises is a failure like another.
    """
    threads = max(1, transfers)
    results: list[Any] = []
    under_way: dict[Future[T], int] = {}

    def settle() -> None:
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            results[under_way.pop(future)] = future.result()

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="transfer") as pool:
        try:
            for task in tasks:
                if len(under_way) == AHEAD * threads:
                    settle()
                under_way[pool.submit(task)] = len(results)
                results.append(None)
            while under_way:
                settle()
        finally:
            for future in under_way:
                future.cancel()
    return results
