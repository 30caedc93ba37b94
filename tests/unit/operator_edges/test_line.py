"""Keys whose pods a quota refused wait in line."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.line import MISSES, Line
from fovea_operator.errors import Refused
from fovea_operator.reconcile.shared.decision import POD, TRAINING_JOB, Child, Decision, Write
from hypothesis import given
from hypothesis import strategies as st
from support.reconciled import DIGITS, World, job, pod


def key(name: str, namespace: str = "team") -> Key:
    return Key(TRAINING_JOB, namespace, name)


def time(number: int) -> str:
    """When the job of that number came."""
    return f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"


class Quota:
    """A namespace that holds some pods; a woken key asks at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.running: list[str] = []
        self.started: list[str] = []
        self.asked: list[str] = []
        self.line = Line(self.ask)

    def ask(self, who: Key) -> None:
        self.asked.append(who.name)
        if len(self.running) < self.size:
            self.running.append(who.name)
            self.started.append(who.name)
            self.line.leave(who)
        else:
            self.line.refused(who, time(int(who.name.rpartition("-")[2])))

    def one_ends(self) -> None:
        self.running.pop(0)
        self.line.room("team")


def test_whoever_came_first_is_served_first_whatever_comes_later() -> None:
    quota = Quota(3)
    for number in range(30):
        quota.ask(key(f"old-{number}"))
    for number in range(30):
        quota.one_ends()
        quota.ask(key(f"late-{30 + number}"))
    everybody = [f"old-{number}" for number in range(30)] + [f"late-{30 + number}" for number in range(30)]
    assert quota.started == everybody[: len(quota.started)]
    assert len(quota.started) == 33


@given(st.permutations(range(12)))
def test_the_line_is_the_same_in_whatever_order_a_new_operator_meets_the_jobs(order: list[int]) -> None:
    quota = Quota(0)
    for number in order:
        quota.ask(key(f"job-{number}"))
    quota.size = 1
    for _ in range(12):
        quota.line.room("team")
        quota.running.clear()
    assert quota.started == [f"job-{number}" for number in range(12)]


def test_a_small_one_is_served_where_a_large_one_does_not_fit_and_nobody_asks_without_end() -> None:
    asked: list[str] = []

    def wake(who: Key) -> None:
        asked.append(who.name)
        if who.name == "small":
            line.leave(who)
        else:
            line.refused(who, since[who.name])

    line = Line(wake)
    names = ("large", "small", *(f"more-{number}" for number in range(10)))
    since = {name: time(number) for number, name in enumerate(names)}
    for name in names:
        line.refused(key(name), since[name])
    line.room("team")
    assert asked == ["large", "small", "more-0", "more-1"]
    assert asked.count("small") == 1
    assert len(asked) - 1 == MISSES
    asked.clear()
    line.room("team")
    assert asked[0] == "large", "a refusal costs no place"


def test_lines_of_namespaces_are_apart_and_what_goes_leaves() -> None:
    woken: list[Key] = []
    line = Line(woken.append)
    line.refused(key("a"), time(1))
    line.refused(key("b", "other"), time(2))
    line.leave(key("a"))
    line.leave(key("never there"))
    line.room("team")
    line.room("nowhere")
    assert woken == []
    assert len(line) == 1
    line.room("other")
    assert woken == [key("b", "other")]


def test_a_pass_skips_those_that_left_meanwhile() -> None:
    woken: list[Key] = []
    line = Line(woken.append)
    for name in "abc":
        line.refused(key(name), time(1))
    line.room("team")
    line.leave(key("b"))
    line.leave(key("a"))
    assert woken == [key("a"), key("c")]


def refusing(message: str) -> World:
    world = World(lambda *_: Decision(children=(Child(Write.CREATE, pod()),)))
    world.know(job())

    async def refuse(_manifest: Any) -> dict[str, Any]:
        raise Refused(message, code=403)

    world.server.create = refuse  # type: ignore[method-assign]
    return world


QUOTA = 'pods "digits-chief-0-0" is forbidden: exceeded quota: team, requested: cpu=1, used: cpu=4, limited: cpu=4'


def later(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], "resourceVersion": "99"}}


def test_a_job_that_a_quota_refused_is_woken_when_a_pod_of_its_namespace_ends() -> None:
    ends: dict[str, Callable[[World, dict[str, Any]], None]] = {
        "ended": lambda world, of: world.intake.seen(POD, {**later(of), "status": {"phase": "Succeeded"}}),
        "gone": lambda world, of: world.intake.event(POD, "DELETED", later(of)),
    }
    for end in ends.values():
        world = refusing(QUOTA)
        other = world.know(pod("other-chief-0-0", owner="u2"))
        world.work()
        assert world.woken == []
        end(world, other)
        assert world.woken == [DIGITS]


def test_a_pod_that_had_ended_makes_room_once_more_when_it_goes_since_a_quota_may_count_it_until_then() -> None:
    world = refusing(QUOTA.replace("cpu=", "count/pods="))
    other = world.know({**pod("other-chief-0-0", owner="u2"), "status": {"phase": "Succeeded"}})
    world.work()
    world.intake.event(POD, "DELETED", later(other))
    assert world.woken == [DIGITS]


def test_a_job_waits_in_line_since_it_was_queued_and_a_new_operator_looks_at_the_oldest_first() -> None:
    world = refusing(QUOTA)
    resumed = {"queueTime": "2026-01-01T00:00:09Z"}
    for name, created, status in (("b", 3, {}), ("c", 1, resumed), ("a", 5, {}), ("d", 2, {"state": "RUNNING"})):
        metadata = {**job()["metadata"], "name": name, "uid": f"uid-{name}", "creationTimestamp": time(created)}
        world.know(job(metadata=metadata, status=status))
    found = [which.name for which in world.kinds.due(datetime.now(UTC)) if which.name in "abcd"]
    assert found == ["d", "b", "a", "c"]
    for name in "abcd":
        world.work(key(name))
    world.line.room("team")
    for _ in range(4):
        world.line.leave(world.woken[-1])
    assert [which.name for which in world.woken] == ["d", "b", "a", "c"]


def test_a_job_that_a_policy_refused_waits_for_no_room() -> None:
    world = refusing('admission webhook "policy" denied the request: no GPUs on Sundays')
    other = world.know(pod("other-chief-0-0", owner="u2"))
    world.work()
    world.intake.event(POD, "DELETED", later(other))
    assert world.woken == []


def test_a_key_that_is_refused_for_another_reason_holds_up_nobody_behind_it() -> None:
    world = refusing(QUOTA)
    world.work()
    behind = key("behind")
    world.line.refused(behind, time(9))
    world.line.room("team")
    assert world.woken == [DIGITS]

    async def refuse(_manifest: Any) -> dict[str, Any]:
        raise Refused("admission webhook denied the request: no GPUs on Sundays", code=403)

    world.server.create = refuse  # type: ignore[method-assign]
    world.work()
    assert world.woken == [DIGITS, behind]
    world.line.room("team")
    assert world.woken[2:] == [behind], "it waits for no room any more"


def test_an_end_that_comes_with_the_deletion_alone_makes_room() -> None:
    world = refusing(QUOTA)
    other = world.know({**pod("other-chief-0-0", owner="u1"), "status": {"phase": "Running"}})
    world.work()
    world.intake.event(POD, "DELETED", {**later(other), "status": {"phase": "Succeeded"}})
    assert world.woken == [DIGITS, DIGITS], "by its end and by its going"
