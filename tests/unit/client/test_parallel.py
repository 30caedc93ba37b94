"""Transfers that run at once: bounded ahead of time, and ended together by the first failure."""

import threading
from collections.abc import Callable, Iterator

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.parallel import Progress, Stopped, Tally, run_all


def test_results_come_in_order_and_a_million_tasks_are_not_made_at_once() -> None:
    made = 0

    def tasks() -> Iterator[Callable[[], int]]:
        nonlocal made
        for number in range(5000):
            made += 1
            yield lambda number=number: number  # type: ignore[misc]
            assert made - finished() < 200

    done: list[Progress] = []
    tally = Tally(5000, 0, done.append)

    def finished() -> int:
        return done[-1].files_done if done else 0

    def counted(task: Callable[[], int]) -> Callable[[], int]:
        def run() -> int:
            result = task()
            tally.done()
            return result

        return run

    assert run_all((counted(task) for task in tasks()), 2, tally) == list(range(5000))


def test_the_first_failure_ends_what_goes_on() -> None:
    tally, begun = Tally(2, 2, lambda _: None), threading.Event()
    ended: list[type[BaseException]] = []

    def endless() -> None:
        begun.set()
        try:
            while True:
                tally.add(1)
        except Stopped as error:
            ended.append(type(error))

    def failing() -> None:
        assert begun.wait(30)
        raise InvalidError("full")

    with pytest.raises(InvalidError, match="full"):
        run_all([failing, endless], 2, tally)
    assert ended == [Stopped]
