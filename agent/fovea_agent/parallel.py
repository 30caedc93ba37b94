"""Many transfers at once: bounded, and the first failure ends them all."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from fovea_agent.settings import DEFAULT_TRANSFERS

T = TypeVar("T")


def run_all(tasks: Iterable[Callable[[], T]], transfers: int = DEFAULT_TRANSFERS) -> list[T]:
    """Run the tasks on up to `transfers` threads; results in order, or the first failure once all threads are idle."""
    with ThreadPoolExecutor(max_workers=max(1, transfers), thread_name_prefix="transfer") as pool:
        futures = [pool.submit(task) for task in tasks]
        _, pending = wait(futures, return_when=FIRST_EXCEPTION)
        for future in pending:
            future.cancel()
    failures = [f.exception() for f in futures if not f.cancelled() and f.exception() is not None]
    for failure in failures:
        if failure is not None:
            raise failure
    return [future.result() for future in futures]
