"""How fast a program is by its reports, and which worker is a straggler."""

import pytest
from fovea_api.v1alpha1.training_job_status import ProgressStatus
from fovea_operator.reconcile.shared.observed import Pace
from fovea_operator.reconcile.training.pace import LONG_ENOUGH, WINDOW, Track, progress_with, stragglers


def track(*reports: tuple[float, int | None]) -> Track:
    found = Track()
    for at, step in reports:
        found = found.then(step, at)
    return found


def steady(rate: float, until: int, every: int = 5) -> list[tuple[float, int | None]]:
    return [(at, round(rate * at)) for at in range(every, until, every)]


TRACKS = {
    "no report": ([], None),
    "a report without a step": ([(0, None)], None),
    "one report": ([(0, 10)], None),
    "two reports that are too close to each other": ([(0, 10), (5, 60)], None),
    "two reports": ([(0, 10), (10, 60)], Pace(5.0, 10)),
    "a report without a step between them": ([(0, 10), (5, None), (10, 60)], Pace(5.0, 10)),
    "a program that resumed counts from its first step on": ([(0, 0), (5, 5000), (15, 5050)], Pace(5.0, 10)),
    "a program that went back counts from there on": ([(0, 900), (5, 950), (10, 400), (20, 450)], Pace(5.0, 10)),
    "a program that stands still": ([(0, 10), (30, 10)], Pace(0.0, 30)),
}


@pytest.mark.parametrize(("reports", "pace"), TRACKS.values(), ids=TRACKS.keys())
def test_a_pace_is_of_the_newest_reports(reports: list[tuple[float, int | None]], pace: Pace | None) -> None:
    assert track(*reports).pace == pace


def test_a_pace_forgets_what_was_two_minutes_ago_and_needs_little_memory() -> None:
    slow = steady(1, 600)
    fast = [(600 + at, 600 + 10 * at) for at in range(0, 200, 5)]
    found = track(*slow, *fast)
    assert found.pace is not None
    assert found.pace.steps_per_second == pytest.approx(10)
    assert WINDOW <= found.pace.seconds < WINDOW + 20
    assert len(found.marks) < 12


def test_a_worker_that_freezes_slows_down_with_each_report_that_says_the_same() -> None:
    before = track(*steady(2, 300))
    after = before.then(before.marks[-1][1], 325).then(before.marks[-1][1], 355)
    assert before.pace is not None
    assert after.pace is not None
    assert after.pace.steps_per_second < before.pace.steps_per_second / 1.5


LEFT = {
    "at this pace": (ProgressStatus(step=120, steps=500), Pace(4.0, 60), 4.0, 95),
    "with four digits": (ProgressStatus(step=120, steps=500), Pace(3.14159, 60), 3.142, 121),
    "where all is done": (ProgressStatus(step=500, steps=500), Pace(4.0, 60), 4.0, 0),
    "where more is done than planned": (ProgressStatus(step=501, steps=500), Pace(4.0, 60), 4.0, 0),
    "where nothing is planned": (ProgressStatus(step=120), Pace(4.0, 60), 4.0, None),
    "of one that stands still": (ProgressStatus(step=120, steps=500), Pace(0.0, 60), 0.0, None),
    "of one that hardly moves": (ProgressStatus(step=0, steps=2**53), Pace(1e-9, 60), 1e-9, 2**53),
    "without a pace": (ProgressStatus(step=120, steps=500, remaining_seconds=7), None, None, None),
}


@pytest.mark.parametrize(("said", "pace", "rate", "left"), LEFT.values(), ids=LEFT.keys())
def test_the_time_that_is_left(said: ProgressStatus, pace: Pace | None, rate: float | None, left: int | None) -> None:
    found = progress_with(said, pace)
    assert (found.steps_per_second, found.remaining_seconds) == (rate, left)
    assert (found.step, found.steps) == (said.step, said.steps)


def paces(*rates: float, seconds: float = 120) -> dict[str, Pace]:
    return {f"worker-{index}": Pace(rate, seconds) for index, rate in enumerate(rates)}


STRAGGLERS = {
    "none": (paces(4, 4, 4, 4), {}),
    "one is 40 % behind": (paces(10, 10, 6, 10), {"worker-2": 40}),
    "a little slower is no straggler": (paces(10, 10, 8, 10), {}),
    "one that is faster than all others makes no stragglers of them": (paces(10, 10, 10, 30), {}),
    "one that stands still": (paces(10, 0, 10), {"worker-1": 100}),
    "of two, by the middle between them": (paces(1, 3), {"worker-0": 50}),
    "one alone": (paces(1), {}),
    "nobody": ({}, {}),
    "all stand still": (paces(0, 0, 0), {}),
    "too early to say": (paces(10, 5, 10, seconds=LONG_ENOUGH - 1), {}),
    "one that has just begun again is not compared": (paces(10, 10, 10) | {"worker-3": Pace(2, 20)}, {}),
    "of few steps some are missing by chance": (paces(0.05, 0.05, 0.03, seconds=120), {}),
    "of few steps all are missing": (paces(0.05, 0.05, 0, seconds=120), {"worker-2": 100}),
}


@pytest.mark.parametrize(("known", "behind"), STRAGGLERS.values(), ids=STRAGGLERS.keys())
def test_stragglers_are_workers_that_lag_by_more_than_chance(known: dict[str, Pace], behind: dict[str, int]) -> None:
    assert stragglers(known) == behind
