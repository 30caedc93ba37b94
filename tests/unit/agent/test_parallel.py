"""Many transfers at once: in order, a few ahead, the first failure ends them."""

import threading
from collections.abc import Callable, Iterator

import pytest
from fovea_agent.parallel import AHEAD, run_all

THREADS = 4


def test_results_come_in_the_order_of_the_tasks() -> None:
    first_may_end = threading.Event()

    def task(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(60)
        if number == 50:  # the first, though it takes long, does not hold up the others
            first_may_end.set()
        return number

    assert run_all((lambda n=n: task(n) for n in range(100)), THREADS) == list(range(100))
    assert run_all([], THREADS) == []


def test_a_million_tasks_are_not_made_before_they_can_run() -> None:
    ended = 0
    lock = threading.Lock()
    most_ahead = 0

    def task() -> None:
        nonlocal ended
        with lock:
            ended += 1

    def tasks() -> Iterator[Callable[[], None]]:
        nonlocal most_ahead
        for made in range(2_000):
            most_ahead = max(most_ahead, made - ended)
            yield task

    run_all(tasks(), THREADS)
    assert ended == 2_000
    assert most_ahead <= AHEAD * THREADS


@pytest.mark.parametrize("source", ["a task", "the tasks' maker"])
def test_the_first_failure_ends_them_all(source: str) -> None:
    begun: list[int] = []

    def fail() -> None:
        raise KeyError(source)

    def tasks() -> Iterator[Callable[[], None]]:
        yield lambda: begun.append(0)
        if source == "a task":
            yield fail
        else:
            fail()
        for number in range(1, 10_000):
            yield lambda number=number: begun.append(number)

    with pytest.raises(KeyError, match=source):
        run_all(tasks(), THREADS)
    assert len(begun) < 10_000
