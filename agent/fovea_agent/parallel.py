"""Many transfers at once: bounded, and the first failure ends them all within a second."""

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from fovea_agent.settings import DEFAULT_TRANSFERS

T = TypeVar("T")


class Cancelled(BaseException):
    """Another task has failed: this one's result is not asked for any more. Nothing but `run_each` catches it."""


_here = threading.local()


def check_cancelled() -> None:
    """Raise Cancelled in a task whose `run_each` has failed. For whatever takes longer than a moment."""
    stop: threading.Event | None = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise Cancelled


def sleep(seconds: float) -> None:
    """Sleep; in a task no longer than until another one fails, which raises Cancelled."""
    stop: threading.Event | None = getattr(_here, "stop", None)
    (threading.Event() if stop is None else stop).wait(seconds)
    check_cancelled()


def run_each(tasks: Iterable[Callable[[], object]], transfers: int = DEFAULT_TRANSFERS) -> None:
    """Run the tasks on up to `transfers` threads; raises the first failure, once all threads are idle.

    `tasks` is read by a thread that has become free, so there are never more of them than threads; what reading it
    raises is a failure like another. Nothing is kept of a task that has ended: there may be millions.
    """
    source = iter(tasks)
    reading = threading.Lock()
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        _here.stop = stop
        try:
            while not stop.is_set():
                with reading:
                    task = next(source, None)
                if task is None:
                    return
                task()
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            failures.append(error)
            stop.set()

    # Threads as tasks come: most folders have fewer files than there are threads.
    first = list(itertools.islice(source, max(1, transfers)))
    source = itertools.chain(first, source)
    threads = [threading.Thread(target=work, name=f"transfer-{n}", daemon=True) for n in range(len(first))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        stop.set()  # an interruption: the threads end on their own
        raise
    if failures:
        raise failures[0]


def run_all(tasks: Iterable[Callable[[], T]], transfers: int = DEFAULT_TRANSFERS) -> list[T]:
    """The same for tasks with results, which come in the order of the tasks. All results must fit into memory."""
    results: dict[int, T] = {}

    def keep(number: int, task: Callable[[], T]) -> Callable[[], None]:
        def run() -> None:
            results[number] = task()

        return run

    run_each((keep(number, task) for number, task in enumerate(tasks)), transfers)
    return [results[number] for number in range(len(results))]
