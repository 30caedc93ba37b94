"""How long the agent tries again."""

import pytest
from fovea_agent.errors import GraceExceeded, KeyRefused, StoreUnreachable
from fovea_agent.patience import LONGEST_WAIT, Patience, wait_before


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def patience(clock: Clock, limit: float | None) -> Patience:
    return Patience(limit, clock=clock, sleep=clock.sleep, jitter=lambda: 0.0)


class Store:
    """Down until a moment."""

    def __init__(self, clock: Clock, up_at: float) -> None:
        self.clock, self.up_at, self.asked = clock, up_at, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.clock.now < self.up_at:
            raise StoreUnreachable("down")
        return "answer"


def test_waits_double_up_to_a_limit_and_jitter_takes_up_to_half() -> None:
    assert [wait_before(n, 0.0) for n in (1, 2, 3, 4, 5, 6, 7, 1000)] == [
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        5.0,
        5.0,
        LONGEST_WAIT,
    ]
    assert wait_before(1, 1.0) == 0.1


def test_an_outage_shorter_than_patience_is_survived() -> None:
    clock = Clock()
    store = Store(clock, up_at=1060)
    assert patience(clock, 300).run(store, "x") == "answer"
    assert sum(clock.pauses) < 66


def test_an_outage_longer_than_patience_ends_in_time() -> None:
    clock = Clock()
    with pytest.raises(StoreUnreachable, match="tried"):
        patience(clock, 30).run(Store(clock, up_at=1e9), "x")
    assert 20 < clock.now - 1000 <= 30


def test_without_a_limit_an_outage_of_hours_is_survived() -> None:
    clock = Clock()
    assert patience(clock, None).run(Store(clock, up_at=1000 + 7200), "x") == "answer"


def test_a_limit_that_is_taken_away_ends_nothing_from_then_on() -> None:
    clock = Clock()
    waits = patience(clock, 300)
    waits.without_limit()
    assert waits.run(Store(clock, clock.now + 7200), "read x") == "answer"


def test_a_deadline_ends_also_what_had_no_limit() -> None:
    clock = Clock()
    endless = patience(clock, None)
    endless.end_at(1060)
    with pytest.raises(StoreUnreachable):
        endless.run(Store(clock, up_at=1e9), "x")
    assert clock.now <= 1060
    clock.now = 1061
    with pytest.raises(GraceExceeded, match="next: x"):
        endless.run(lambda: "answer", "x")


def test_progress_between_interruptions_begins_a_new_outage() -> None:
    clock = Clock()
    received = [0]

    def download() -> str:
        received[0] += 1
        clock.now += 20
        if received[0] < 10:
            raise StoreUnreachable("interrupted")
        return "all"

    assert patience(clock, 30).run(download, "x", lambda: received[0]) == "all"
    received[0] = 0
    with pytest.raises(StoreUnreachable):
        patience(clock, 30).run(download, "x")


def test_what_is_not_an_outage_is_not_tried_again() -> None:
    clock = Clock()
    asked = []

    def refuse() -> None:
        asked.append(1)
        raise KeyRefused("no")

    with pytest.raises(KeyRefused):
        patience(clock, None).run(refuse, "x")
    assert (len(asked), clock.pauses) == (1, [])


def test_what_ends_with_the_grace_period_in_its_middle_is_not_tried_again() -> None:
    clock = Clock()
    one = patience(clock, None)
    one.end_at(1010)

    def slow() -> None:
        clock.now += 30
        one.check("part 7")

    with pytest.raises(GraceExceeded, match="next: part 7"):
        one.run(slow, "write")
    assert (clock.pauses, one.unreachable_since, one.left()) == ([], None, 0.0)


def test_a_wait_that_outlasts_the_grace_period_is_said_to_be_the_stores_absence_not_its_slowness() -> None:
    now = 0.0

    def oversleep(seconds: float) -> None:  # a busy node
        nonlocal now
        now += seconds + 60

    patience = Patience(None, clock=lambda: now, sleep=oversleep)
    patience.end_at(30.0)

    def away() -> None:
        raise StoreUnreachable("no answer")

    with pytest.raises(StoreUnreachable, match=r"no answer .*grace period") as caught:
        patience.run(away, "read")
    assert caught.value.reason == "StoreUnreachable"


def test_what_can_be_done_without_is_not_tried_for_ever() -> None:
    clock = Clock()
    store = Store(clock, up_at=float("inf"))
    for patient in (patience(clock, None), patience(clock, 300)):
        began = clock.now
        with pytest.raises(StoreUnreachable):
            patient.run(store, "x", most=60)
        assert 50 < clock.now - began <= 60
    ending = patience(clock, None)
    ending.end_at(clock.now + 10)
    with pytest.raises(StoreUnreachable):
        ending.run(store, "x", most=60)
    assert ending.left() is not None
