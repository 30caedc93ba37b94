"""The comparison with the metadata of all objects: what it finds, and what it costs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator import runtime
from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.comparison import compare_all, pause_after
from fovea_operator.cluster.intake import Intake, list_all
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.progress import Reports
from fovea_operator.errors import BackInTime
from fovea_operator.handlers.memories import NoMemories
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ended_jobs import ended_job
from support.kinds import TRAINING_JOB
from support.memory_api import Server

KINDS = [f"list {resource.kind}/metadata" for resource in resources.WATCHED]


class World:
    """A server whose watch is broken, and an operator that compares."""

    def __init__(self, server: Server | None = None) -> None:
        self.server = server or Server()
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.queued: list[Key] = []
        kinds = Kinds(TrainingJobs(self.cache, Reports(5, lambda *_: None)), ModelDeployments(self.cache))
        self.intake = Intake(self.cache, kinds, self.queued.append)

    def bring(self, how: Any = compare_all) -> list[str]:
        """Compare, or list; the calls."""
        self.server.detail.clear()
        self.queued.clear()
        asyncio.run(how(self.server, self.cache, self.intake, Settings()))
        return list(self.server.detail)


def job(name: str, state: str = "RUNNING") -> dict[str, Any]:
    return {**ended_job(name), "status": {"state": state}}


def key(name: str) -> Key:
    return Key(TRAINING_JOB, "team", name)


def test_objects_that_nobody_touched_cost_their_metadata_and_wake_nobody() -> None:
    world = World()
    for number in range(20):
        world.server.put(job(f"job-{number}"))
    world.bring(list_all)
    assert world.bring() == KINDS
    assert world.queued == []


def test_what_the_watch_missed_is_fetched_one_by_one_and_what_went_is_gone() -> None:
    world = World()
    for name in ("same", "changed", "deleted", "made-again"):
        world.server.put(job(name))
    world.bring(list_all)
    world.server.put(job("changed", "SUCCEEDED"))
    world.server.put(job("new"))
    world.server.put({**job("made-again"), "metadata": {**job("made-again")["metadata"], "uid": "another"}})
    del world.server.objects[TRAINING_JOB, "deleted"]
    fetched = [call for call in world.bring() if call not in KINDS]
    assert fetched == [f"list TrainingJob/{name}" for name in ("changed", "made-again", "new")]
    assert set(world.queued) == {key("changed"), key("new"), key("made-again"), key("deleted")}
    assert world.cache.jobs.get("team", "deleted") is None


def test_where_much_differs_the_kind_is_listed_whole() -> None:
    world = World()
    for number in range(100):
        world.server.put(job(f"job-{number}"))
    assert [call for call in world.bring() if call not in KINDS] == ["list TrainingJob"]
    assert len(world.cache.jobs) == 100


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.integers(0, 5), st.sampled_from(["RUNNING", "FAILED"])))
)
def test_after_a_comparison_the_cache_is_as_after_a_list(missed: list[tuple[str, int, str]]) -> None:
    server = Server()
    world = World(server)
    for number in range(4):
        server.put(job(f"job-{number}"))
    world.bring(list_all)
    for verb, number, state in missed:
        if verb == "put":
            server.put(job(f"job-{number}", state))
        else:
            server.objects.pop((TRAINING_JOB, f"job-{number}"), None)
    world.bring()
    listed = World(server)
    listed.bring(list_all)
    assert dict(world.cache.jobs) == dict(listed.cache.jobs)


@pytest.mark.parametrize("how", [compare_all, list_all])
def test_an_api_server_that_was_restored_from_a_backup_ends_the_operator(how: Any) -> None:
    world = World()
    backup = [world.server.put(job(name)) for name in ("old", "older")]
    for number in range(3):
        world.server.put(job(f"job-{number}"))
    world.bring(list_all)
    world.server.objects.clear()
    world.server._version = 0
    for raw in backup:
        world.server.put(raw)
    with pytest.raises(BackInTime, match=r"TrainingJobs as of version 2, and version 5 was seen before"):
        world.bring(how)


@pytest.mark.parametrize("how", [compare_all, list_all])
@pytest.mark.parametrize(
    "seen", ["a later state", "its end", "a namesake after it", "a later state that cannot be read"]
)
def test_a_backup_that_was_restored_with_a_jump_ahead_ends_the_operator(seen: str, how: Any) -> None:
    world = World()
    backup = world.server.put(job("digits"))
    world.bring(list_all)
    if seen == "a later state":
        world.server.put(job("digits", "SUCCEEDED"))
    elif seen == "a namesake after it":
        world.server.put({**job("digits"), "metadata": {**job("digits")["metadata"], "uid": "another"}})
    elif seen == "its end":
        del world.server.objects[TRAINING_JOB, "digits"]
        world.server._version += 1
    else:
        world.server.put({**job("digits"), "spec": {"trainer": 1}})
    world.bring()
    world.server.objects[TRAINING_JOB, "digits"] = backup
    world.server._version += 1000
    with pytest.raises(BackInTime, match="lists TrainingJob team/digits in version 1, and a later one was seen before"):
        world.bring(how)


def test_deletions_show_as_well_that_an_api_server_was_restored() -> None:
    world = World()
    gone = world.server.put(job("gone"))
    world.bring(list_all)
    world.server.objects.clear()
    world.intake.event(TRAINING_JOB, "DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": "9"}})
    with pytest.raises(BackInTime):
        world.bring()


def test_what_is_written_while_a_list_is_on_its_way_does_not_look_like_a_restored_server() -> None:
    world = World()
    world.server.put(job("first"))
    world.bring(list_all)

    class Busy(Server):
        async def pages(self, *of: Any, **how: Any) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
            async for items, version in super().pages(*of, **how):
                world.intake.seen(TRAINING_JOB, self.put(job("written")))
                yield items, version

    busy = Busy()
    busy.objects, busy._version = world.server.objects, world.server._version
    for how in (compare_all, list_all):
        asyncio.run(how(busy, world.cache, world.intake, Settings()))
    assert world.cache.jobs.get("team", "written") is not None


def test_the_running_operator_does_not_try_again_where_the_server_went_back() -> None:
    async def run() -> None:
        async def went_back(*_: Any) -> None:
            raise BackInTime("older than before")

        await Operator(Settings())._list_until_done(went_back)

    with pytest.raises(BackInTime):
        asyncio.run(run())


def test_kopf_keeps_nothing_of_the_objects_that_it_sees() -> None:
    async def run() -> list[Any]:
        memories = NoMemories()
        for number in range(3):
            await memories.recall({"metadata": {"uid": str(number)}}, noticed_by_listing=True)
        return list(memories.iter_all_memories())

    assert asyncio.run(run()) == []


def test_a_comparison_waits_until_the_list_of_a_new_watch_has_been_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    compared: list[int] = []

    async def run() -> None:
        operator = Operator(Settings(relist_seconds=7))

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) < 3:  # the watch still delivers what it began with
                operator._relisted(TRAINING_JOB)

        async def compare() -> None:
            compared.append(len(pauses))
            raise asyncio.CancelledError

        monkeypatch.setattr(asyncio, "sleep", pause)
        monkeypatch.setattr(operator, "_list_until_done", compare)
        operator._relisted(TRAINING_JOB)
        await operator._resync()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert pauses == [7, 7, 7]
    assert compared == [3]


@pytest.mark.parametrize("how", ["begins", "ends"])
def test_the_watch_of_an_optional_kind_costs_no_comparison_of_all_kinds(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    done: list[str] = []

    async def run() -> None:
        operator = Operator(Settings())

        async def pause(_: float) -> None:
            done.append("pause")

        async def compare() -> None:
            done.append("compare")
            raise asyncio.CancelledError

        async def look() -> bool:
            done.append("look for kinds")
            return len(done) == 2

        def again() -> None:
            done.append("due objects")
            raise asyncio.CancelledError

        monkeypatch.setattr(asyncio, "sleep", pause)
        monkeypatch.setattr(operator, "_list_until_done", compare)
        monkeypatch.setattr(operator._discovery, "look", look)
        monkeypatch.setattr(operator, "_all_again", again)
        if how == "begins":
            operator._relisted(resources.NODE.gvk)
        else:
            operator._relist.set()
        await operator._resync()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert done == ["pause", "look for kinds", "due objects"]


def test_a_watch_that_begins_again_and_again_does_not_put_off_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    async def run() -> None:
        operator = Operator(Settings(relist_seconds=7, resync_seconds=30))

        async def pause(seconds: float) -> None:
            clock[0] += seconds
            assert clock[0] < 100
            operator._relisted(TRAINING_JOB)

        async def compare() -> None:
            raise asyncio.CancelledError

        monkeypatch.setattr(runtime, "_now", lambda: clock[0])
        monkeypatch.setattr(asyncio, "sleep", pause)
        monkeypatch.setattr(operator, "_list_until_done", compare)
        operator._relisted(TRAINING_JOB)
        await operator._resync()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert clock == [35.0]


@pytest.mark.parametrize(
    ("cost", "least", "pause"),
    [
        (0.0, 600, 600),  # few objects: at every resync
        (3.0, 600, 600),
        (6.0, 600, 1200),  # 50,000 objects: half a percent of a core
        (1000.0, 600, 3600),  # at the latest after an hour
        (1000.0, 7200, 7200),
    ],
)
def test_regular_comparisons_take_half_a_percent_of_a_core_at_most(cost: float, least: float, pause: float) -> None:
    assert pause_after(cost, least) == pause


def test_between_two_costly_comparisons_due_objects_and_new_kinds_are_still_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    async def run() -> None:
        operator = Operator(Settings(resync_seconds=0.1))

        async def compare() -> None:
            done.append("compare")

        async def look() -> bool:
            done.append("look for kinds")
            return False

        def again() -> None:
            done.append("due objects")
            if len(done) == 6:
                raise asyncio.CancelledError

        monkeypatch.setattr(runtime, "pause_after", lambda _cost, _least: 3600.0)
        monkeypatch.setattr(operator, "_list_until_done", compare)
        monkeypatch.setattr(operator._discovery, "look", look)
        monkeypatch.setattr(operator, "_all_again", again)
        await operator._resync()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert done == ["compare", "due objects"] + 2 * ["look for kinds", "due objects"]
