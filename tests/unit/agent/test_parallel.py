"""Many transfers at once: in order, a few ahead, the first failure ends them soon."""

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from fovea_agent.errors import Missing, StoreUnreachable
from fovea_agent.parallel import check_cancelled, run_all, run_each
from fovea_agent.patience import Patience

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


def test_tasks_are_not_made_before_they_can_run() -> None:
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

    run_each(tasks(), THREADS)
    assert ended == 2_000
    assert most_ahead <= THREADS


def test_nothing_is_kept_of_tasks_that_have_ended() -> None:
    tracemalloc.start()
    try:
        run_each((lambda n=n: bytes(n) for n in range(20_000)), THREADS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, "20,000 results or futures are more"


@pytest.mark.parametrize("run", [run_each, run_all])
@pytest.mark.parametrize("source", ["a task", "the tasks' maker"])
def test_the_first_failure_ends_them_all(source: str, run: Callable[..., object]) -> None:
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
        run(tasks(), THREADS)
    assert len(begun) < 10_000


def test_a_failure_is_not_held_up_by_a_task_that_waits_for_the_store() -> None:
    waiting = threading.Event()

    def unreachable() -> None:
        waiting.set()
        raise StoreUnreachable("no answer")

    def fail() -> None:
        assert waiting.wait(60)
        raise Missing("gone")

    patience = Patience(3600, jitter=lambda: 0.0)
    began = time.monotonic()
    with pytest.raises(Missing):
        run_each([lambda: patience.run(unreachable, "read"), fail], THREADS)
    assert time.monotonic() - began < 600, "an hour of patience for a result that is not waited for"


def test_a_failure_is_not_held_up_by_a_task_that_takes_long() -> None:
    working = threading.Event()

    def endless() -> None:
        while True:
            working.set()
            check_cancelled()

    def fail() -> None:
        assert working.wait(60)
        raise Missing("gone")

    with pytest.raises(Missing):
        run_each([endless, fail], THREADS)
