"""The keyed queue: the pure schedule with a played clock, and the workers on asyncio."""

import asyncio
import random

import pytest
from fovea_operator.cluster.queue import HEAD_START, Again, Backoff, Schedule, WorkQueue
from hypothesis import given
from hypothesis import strategies as st


def taken(schedule: Schedule[str], now: float) -> list[str]:
    found = []
    while (item := schedule.take(now)) is not None:
        found.append(item[0])
    return found


def test_a_key_added_twice_is_taken_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0)
    schedule.add("b", 0)
    schedule.add("a", 1)
    assert taken(schedule, 1) == ["a", "b"]


def test_a_key_added_while_it_is_worked_on_comes_once_more_and_not_before() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0)
    assert schedule.take(0) == ("a", 0)
    schedule.add("a", 1)
    schedule.add("a", 2)
    assert schedule.take(2) is None
    schedule.done("a", 3)
    assert taken(schedule, 3) == ["a"]
    schedule.done("a", 4)
    assert taken(schedule, 4) == []


def test_the_time_waited_is_told() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 10)
    assert schedule.take(12.5) == ("a", 2.5)


def test_failures_back_off_doubling_up_to_the_cap_and_success_forgets_them() -> None:
    schedule: Schedule[str] = Schedule(Backoff(base=1, cap=5))
    now, delays = 0.0, []
    schedule.add("a", now)
    for _ in range(5):
        assert taken(schedule, now) == ["a"]
        delays.append(schedule.failed("a", now))
        assert taken(schedule, now + delays[-1] - 0.01) == []
        now += delays[-1]
    assert delays == [1, 2, 4, 5, 5]
    assert taken(schedule, now) == ["a"]
    schedule.done("a", now)
    schedule.add("a", now)
    taken(schedule, now)
    assert schedule.failed("a", now) == 1


def test_a_server_that_asks_for_more_time_gets_it() -> None:
    schedule: Schedule[str] = Schedule(Backoff(base=1, cap=5))
    schedule.add("a", 0)
    schedule.take(0)
    assert schedule.failed("a", 0, at_least=30) == 30
    assert schedule.next_due() == 30


def test_what_seemed_to_be_settled_comes_back_at_once_the_first_time_only() -> None:
    schedule: Schedule[str] = Schedule(Backoff(base=1, cap=60))
    delays = []
    for now in range(4):
        schedule.add("a", now)
        schedule.take(now)
        delays.append(schedule.failed("a", now, at_once=True))
    assert delays == [0, 2, 4, 8]
    schedule.add("a", 100)
    schedule.take(100)
    schedule.done("a", 100)
    schedule.add("a", 101)
    schedule.take(101)
    assert schedule.failed("a", 101, at_once=True) == 0


@pytest.mark.parametrize(("at_most", "due"), [(5, 5), (60, 30), (0, 0), (None, 30)])
def test_a_deadline_of_the_object_holds_whatever_the_back_off_says(at_most: float | None, due: float) -> None:
    schedule: Schedule[str] = Schedule(Backoff(1, 8))
    schedule.add("a", 0)
    schedule.take(0)
    assert schedule.failed("a", 0, at_least=30, at_most=at_most) == due
    assert schedule.next_due() == due


def test_an_event_is_not_held_up_by_a_back_off() -> None:
    schedule: Schedule[str] = Schedule(Backoff(base=60, cap=60))
    schedule.add("a", 0)
    schedule.take(0)
    schedule.failed("a", 0)
    schedule.add("a", 1)
    assert taken(schedule, 1) == ["a"]


def test_a_later_time_replaces_the_one_before_and_none_takes_it_back() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add_at("a", 10)
    schedule.add_at("a", 20)
    schedule.add_at("b", 15)
    assert schedule.next_due() == 15
    schedule.add_at("b", None)
    assert taken(schedule, 19) == []
    assert schedule.next_due() == 20
    assert taken(schedule, 20) == ["a"]
    assert schedule.next_due() is None


def test_a_deadline_told_again_and_again_takes_no_more_room() -> None:
    schedule: Schedule[str] = Schedule()
    for number in range(10_000):
        schedule.add_at("same", 1000 + (number % 2) * 0.001)  # as reckoned from two readings of the clock
    assert len(schedule._heap) == 1
    for number in range(10_000):
        schedule.add_at("moved", 2000 + number)
        schedule.add_at("withdrawn", 3000 + number)
        schedule.add_at("withdrawn", None)
    assert len(schedule._heap) < 100
    assert schedule.next_due() == pytest.approx(1000, abs=0.01)
    assert taken(schedule, 1001) == ["same"]
    assert schedule.next_due() == 11_999
    assert taken(schedule, 20_000) == ["moved"]
    assert schedule.next_due() is None


def test_a_timer_that_ends_during_the_work_is_not_lost() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0)
    schedule.take(0)
    schedule.add_at("a", 5)
    assert schedule.take(6) is None
    schedule.done("a", 7)
    assert taken(schedule, 7) == ["a"]


def urgent(*keys: str) -> Schedule[str]:
    return Schedule(is_urgent=keys.__contains__)


def test_an_urgent_key_overtakes_those_that_came_a_little_before_it() -> None:
    schedule = urgent("c", "d")
    for key in "abcd":
        schedule.add(key, 0)
    assert taken(schedule, 0) == ["c", "d", "a", "b"]


def test_an_urgent_key_does_not_overtake_one_that_waits_long() -> None:
    schedule = urgent("c", "d")
    schedule.add("a", 0)
    schedule.add("b", 2)
    schedule.add("c", HEAD_START)
    schedule.add("d", HEAD_START + 1)
    assert taken(schedule, 60) == ["c", "a", "d", "b"]


def test_a_key_that_becomes_urgent_while_it_waits_moves_up_and_is_taken_once() -> None:
    keys: set[str] = set()
    schedule: Schedule[str] = Schedule(is_urgent=keys.__contains__)
    for key in "abc":
        schedule.add(key, 0)
    keys.add("c")
    schedule.add("c", 3)
    assert schedule.depth == 3
    assert schedule.take(4) == ("c", 4)
    schedule.done("c", 4)
    assert taken(schedule, 4) == ["a", "b"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "add", "take", "turn"]), st.sampled_from("abcdef"), st.floats(0, 4)),
        max_size=80,
    )
)
def test_no_key_is_taken_before_one_that_came_earlier_by_more_than_the_head_start(
    steps: list[tuple[str, str, float]],
) -> None:
    keys: set[str] = set()
    schedule: Schedule[str] = Schedule(is_urgent=keys.__contains__)
    came: dict[str, tuple[bool, float]] = {}  # urgent, since when in its line
    now = 0.0
    for step, key, pause in steps:
        now += pause
        if step == "turn":
            keys ^= {key}  # shows at the next time that it is added
        elif step == "add":
            schedule.add(key, now)
            if key not in came or (key in keys and not came[key][0]):
                came[key] = (key in keys, now)
        elif (item := schedule.take(now)) is None:
            assert not came
        else:
            due = {each: since + (0 if first else HEAD_START) for each, (first, since) in came.items()}
            assert due[item[0]] == min(due.values())
            del came[item[0]]
            schedule.done(item[0], now)
    assert set(taken(schedule, now)) == set(came)


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "done", "fail", "at"]), st.sampled_from("abc")), max_size=60))
def test_no_key_is_ever_worked_on_twice_at_once_and_every_added_key_is_worked_on_in_the_end(
    steps: list[tuple[str, str]],
) -> None:
    schedule: Schedule[str] = Schedule(Backoff(base=1, cap=4), is_urgent=lambda key: key == "b")
    working: set[str] = set()
    pending: set[str] = set()
    now = 0.0
    for step, key in steps:
        now += 0.5
        if step == "add":
            schedule.add(key, now)
            pending.add(key)
        elif step == "at":
            schedule.add_at(key, now + 1)
        elif step == "take" and (item := schedule.take(now)) is not None:
            assert item[0] not in working
            working.add(item[0])
            pending.discard(item[0])
        elif step == "done" and key in working:
            working.discard(key)
            schedule.done(key, now)
        elif step == "fail" and key in working:
            working.discard(key)
            schedule.failed(key, now)
    for key in working:
        schedule.done(key, now)
    assert pending <= set(taken(schedule, now + 100))


def test_workers_never_run_one_key_twice_at_once_and_leave_nothing() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    running: set[str] = set()
    most = 0
    finished: list[str] = []

    async def work(key: str, waited: float) -> Again | None:
        nonlocal most
        assert key not in running
        assert waited >= 0
        running.add(key)
        most = max(most, len(running))
        await asyncio.sleep(rng.uniform(0, 0.005))
        running.discard(key)
        finished.append(key)
        return Again() if rng.random() < 0.2 else None

    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(work, workers=4, backoff=Backoff(base=0.001, cap=0.002))
        queue.add("early")
        queue.start()
        for number in range(200):
            queue.add(f"key-{number % 17}")
            if number % 20 == 0:
                await asyncio.sleep(0.001)
        async with asyncio.timeout(20):
            while queue.schedule.depth or queue.schedule.active or queue.schedule.next_due() is not None:  # noqa: ASYNC110 - the queue notifies no test that it is empty
                await asyncio.sleep(0.001)
        await queue.stop()

    asyncio.run(main())
    assert set(finished) == {"early", *(f"key-{number}" for number in range(17))}
    assert 1 < most <= 4


def test_stop_waits_for_the_work_in_flight_and_takes_no_more() -> None:
    finished: list[str] = []

    async def main() -> None:
        gate = asyncio.Event()

        async def work(key: str, _: float) -> None:
            await gate.wait()
            finished.append(key)

        queue: WorkQueue[str] = WorkQueue(work, workers=1)
        queue.start()
        queue.add("a")
        queue.add("b")
        while not queue.schedule.active:  # noqa: ASYNC110
            await asyncio.sleep(0)
        stopping = asyncio.create_task(queue.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        gate.set()
        await stopping

    asyncio.run(main())
    assert finished == ["a"]


def test_a_key_whose_work_raises_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[str] = []

    async def main() -> None:
        done = asyncio.Event()

        async def work(key: str, _: float) -> None:
            tries.append(key)
            if len(tries) == 1:
                raise KeyError("unexpected")
            done.set()

        queue: WorkQueue[str] = WorkQueue(work, workers=1, backoff=Backoff(base=0.001))
        queue.start()
        queue.add("a")
        async with asyncio.timeout(10):
            await done.wait()
        await queue.stop()
        assert queue.schedule.active == 0

    asyncio.run(main())
    assert tries == ["a", "a"]
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert vars(record)["key"] == "a"
    assert record.exc_info is not None


def test_abandon_cancels_the_work_in_flight() -> None:
    cancelled: list[str] = []

    async def main() -> None:
        async def work(key: str, _: float) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(key)
                raise

        queue: WorkQueue[str] = WorkQueue(work, workers=1)
        queue.start()
        queue.add("a")
        while not queue.schedule.active:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue.abandon()
        await queue.stop()

    asyncio.run(main())
    assert cancelled == ["a"]


@pytest.mark.parametrize(("failures", "delay"), [(1, 0.5), (2, 1), (7, 32), (8, 60), (5000, 60)])
def test_back_off_is_bounded_however_often_a_key_fails(failures: int, delay: float) -> None:
    assert Backoff().delay(failures) == delay
