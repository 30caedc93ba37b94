"""Optional kinds: begun when the API server serves them, forgotten when it stops, and never waited for."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator import errors, runtime
from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache, Change, Store
from fovea_operator.cluster.client import ApiClient
from fovea_operator.cluster.discovery import Discovery
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.kind import Kind, Kinds
from fovea_operator.cluster.resources import Resource
from fovea_operator.reconcile.shared.decision import Decision, GroupVersionKind
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from support.kinds import TRAINING_JOB
from support.memory_api import Server
from support.reconciled import job

GROUP = Resource("scheduling.example.com/v1", "Gang", "gangs", optional=True)
NAMESAKE = Resource("scheduling.example.org/v1", "Gang", "gangs", optional=True)
DIGITS = Key(TRAINING_JOB, "team", "digits")


def group(name: str = "digits", of: Resource = GROUP, **metadata: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "uid": f"{name} of {of.group}", **metadata}
    return {"apiVersion": of.api_version, "kind": of.kind, "metadata": metadata}


class Scheduled(Kind[Any]):
    """Jobs of a made-up kind that have a Gang where there are some."""

    resource = Resource("fovea.dev/v1alpha1", "TrainingJob", "trainingjobs")
    trouble = "Admitted"

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache.jobs)
        self._cache = cache

    def decide(self, key: Key, now: Any, settings: Any, refused: str) -> Decision:
        there = GROUP.gvk in self._cache.served
        store = self._cache.store(GROUP.gvk)
        assert store is not None
        found = "has one" if store.get(key.namespace, key.name) else "has none"
        return Decision(status={"message": found if there else "needs none"})

    def concerned(self, gvk: GroupVersionKind, change: Change[Any]) -> Iterator[Key]:
        if gvk in (GROUP.gvk, TRAINING_JOB):
            yield self.key(*change.name)


class Watch:
    def __init__(self) -> None:
        self.ended = self.stopped = False

    async def stop(self) -> None:
        self.stopped = True


class World:
    def __init__(self) -> None:
        self.server = Server()
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        for resource in (GROUP, NAMESAKE):
            self.cache.add(Store(resource, lambda raw: raw["metadata"]["name"]))
        self.kind = Scheduled(self.cache)
        self.queued: list[Key] = []
        self.intake = Intake(self.cache, Kinds(self.kind), self.queued.append)
        self.watches: list[tuple[Resource, Watch]] = []
        client: Any = self.server
        self.discovery = Discovery(client, self.cache, self.intake, Settings(), self._begin)

    def _begin(self, resource: Resource) -> Watch:
        self.watches.append((resource, Watch()))
        return self.watches[-1][1]

    def look(self) -> bool:
        self.queued.clear()
        return asyncio.run(self.discovery.look())

    @property
    def decided(self) -> Any:
        return self.kind.decide(DIGITS, None, None, "").status

    def known(self, resource: Resource = GROUP) -> list[str]:
        store = self.cache.store(resource.gvk)
        assert store is not None
        return [name for (_, name), _ in store]


@pytest.fixture
def world() -> World:
    return World()


def test_a_kind_that_is_served_is_listed_and_watched_and_decisions_see_it(world: World) -> None:
    world.server.served.add(GROUP)
    world.server.put(group())
    assert world.look()
    assert world.known() == ["digits"]
    assert [resource for resource, _ in world.watches] == [GROUP]
    assert world.queued == [DIGITS]
    assert world.decided == {"message": "has one"}
    assert not world.look(), "it was there before"
    assert len(world.watches) == 1


def test_a_kind_that_is_not_served_is_neither_listed_nor_waited_for_and_begins_when_it_comes(world: World) -> None:
    assert not world.look()
    assert "list" not in world.server.calls
    assert world.decided == {"message": "needs none"}
    world.server.served.add(GROUP)
    assert world.look()
    assert world.decided == {"message": "has none"}
    assert [resource for resource, _ in world.watches] == [GROUP]


def test_what_was_known_of_a_kind_goes_with_it_and_may_come_back_as_it_was(world: World) -> None:
    world.server.served.add(GROUP)
    raw = world.server.put(group())
    world.look()
    world.server.served.clear()
    assert world.look()
    assert world.watches[0][1].stopped
    assert world.known() == []
    assert world.queued == [DIGITS]
    assert world.decided == {"message": "needs none"}
    world.server.served.add(GROUP)
    assert world.look()
    assert world.known() == ["digits"], "the same object with the same uid"
    assert raw["metadata"]["uid"] == "digits of scheduling.example.com"
    assert len(world.watches) == 2


def test_kinds_of_the_same_name_in_two_groups_are_two(world: World) -> None:
    world.server.served |= {GROUP, NAMESAKE}
    world.server.put(group())
    world.server.put(group("theirs", NAMESAKE))
    world.look()
    assert (world.known(GROUP), world.known(NAMESAKE)) == (["digits"], ["theirs"])
    world.server.served.remove(NAMESAKE)
    world.look()
    assert world.cache.served == {GROUP.gvk}
    assert (world.known(GROUP), world.known(NAMESAKE)) == (["digits"], [])
    assert [(resource.group, watch.stopped) for resource, watch in world.watches] == [
        ("scheduling.example.com", False),
        ("scheduling.example.org", True),
    ]


def test_a_watch_that_ended_by_itself_is_begun_again_while_the_kind_is_served(world: World) -> None:
    world.server.served.add(GROUP)
    world.look()
    world.watches[0][1].ended = True
    assert not world.look()
    assert len(world.watches) == 2
    assert world.decided == {"message": "has none"}


def test_an_api_server_that_does_not_answer_changes_nothing_that_is_known(world: World) -> None:
    world.server.served.add(GROUP)
    world.server.put(group())
    world.look()
    world.server.fail = lambda _call: errors.Transient("no answer")
    assert not world.look()
    assert world.known() == ["digits"]
    assert not world.watches[0][1].stopped


@pytest.mark.parametrize("error", [errors.Refused("gangs is forbidden", code=403), errors.Gone("went", code=404)])
def test_a_kind_that_may_not_be_listed_or_went_meanwhile_counts_as_not_served(
    world: World, error: errors.ApiError, caplog: pytest.LogCaptureFixture
) -> None:
    world.server.served.add(GROUP)
    world.server.fail = lambda call: error if call == "list Gang" else None
    assert not world.look()
    assert world.watches == []
    assert world.decided == {"message": "needs none"}
    assert ("an optional kind is left out" in caplog.text) == isinstance(error, errors.Refused)


FORBIDDEN = errors.Refused("gangs is forbidden", code=403)


def test_a_kind_whose_right_is_taken_away_is_left_out_when_looks_in_a_row_have_been_refused(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.server.served.add(GROUP)
    world.server.put(group())
    world.look()
    world.server.fail = lambda call: FORBIDDEN if call == "list Gang" else None
    looks = [(world.look(), world.discovery.in_doubt, world.known()) for _ in range(7)]
    assert looks == [(False, True, ["digits"])] * 5 + [(True, False, []), (False, False, [])]
    assert world.watches[0][1].stopped
    assert world.decided == {"message": "needs none"}
    assert caplog.text.count("an optional kind is left out") == 1


@pytest.mark.parametrize("passing", [FORBIDDEN, errors.Transient("no answer")], ids=["refused", "no answer"])
def test_a_kind_that_is_refused_for_a_moment_keeps_its_objects_and_its_watch(
    world: World, passing: errors.ApiError
) -> None:
    world.server.served.add(GROUP)
    world.server.put(group())
    world.look()
    for _ in range(3):
        world.server.fail = lambda call: passing if call == "list Gang" else None
        assert [world.look() for _ in range(5)] == [False] * 5
        world.server.fail = None
        assert not world.look()
    assert (world.known(), len(world.watches), world.discovery.in_doubt) == (["digits"], 1, False)


def test_objects_that_cannot_be_read_are_forgotten_with_their_kind(world: World) -> None:
    def read(raw: Any) -> Any:
        raise errors.InvalidSpec("spec: no")

    store = Store(GROUP, read)
    world.cache.add(store)
    world.server.served.add(GROUP)
    world.server.put(group())
    world.look()
    assert list(store.unreadable) == [("team", "digits")]
    world.server.served.clear()
    world.look()
    assert store.unreadable == {}
    assert world.queued == [DIGITS]


def test_no_watch_goes_on_after_the_end(world: World) -> None:
    world.server.served |= {GROUP, NAMESAKE}
    world.look()
    asyncio.run(world.discovery.stop())
    assert [watch.stopped for _, watch in world.watches] == [True, True]


@pytest.mark.parametrize("again", [2, 5, 99])
def test_a_kind_that_is_refused_in_the_middle_of_a_run_is_asked_for_again_at_once(
    monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    server, asked = Server(), 0

    def fail(call: str) -> Exception | None:
        nonlocal asked
        asked += call == "list Gang" and bool(server.objects)
        return FORBIDDEN if call == "list Gang" and server.objects and asked <= again else None

    server.served, server.fail = {GROUP, resources.NODE}, fail
    monkeypatch.setattr(runtime, "_POLL_SECONDS", 0)
    monkeypatch.setattr(ApiClient, "pages", lambda _self, *args, **how: server.pages(*args, **how))
    monkeypatch.setattr(ApiClient, "is_served", lambda _self, resource: server.is_served(resource))

    async def run() -> list[bool]:
        operator = Operator(Settings(relist_seconds=0))
        monkeypatch.setattr(operator._discovery, "_begin", lambda _resource: Watch())
        operator._cache.add(Store(GROUP, lambda raw: raw["metadata"]["name"]))
        await operator._list_until_done()
        server.put(group())
        look, looked = operator._discovery.look, asyncio.Event()
        served: list[bool] = []

        async def counted() -> bool:
            changed = await look()
            served.append(GROUP.gvk in operator._cache.served)
            if asked > min(again, 5):
                looked.set()
            return changed

        monkeypatch.setattr(operator._discovery, "look", counted)
        resyncing = asyncio.create_task(operator._resync())
        operator._relist.set()
        async with asyncio.timeout(30):
            await looked.wait()
        resyncing.cancel()
        return served

    assert asyncio.run(run()) == ([True] * (again + 1) if again < 6 else [True] * 5 + [False])


@pytest.mark.parametrize(("failures", "served", "looks"), [(2, True, 3), (99, False, 11)])
def test_an_optional_kind_that_gets_no_answer_at_the_start_is_asked_for_again_before_the_first_decision_but_not_for_good(
    monkeypatch: pytest.MonkeyPatch, failures: int, served: bool, looks: int
) -> None:
    server, asked = Server(), 0
    server.served = {GROUP, resources.NODE}

    def fail(call: str) -> Exception | None:
        nonlocal asked
        asked += call == "discover Gang"
        return errors.ApiError("etcd has a new leader", code=500) if "Gang" in call and asked <= failures else None

    server.fail = fail
    monkeypatch.setattr(runtime, "_POLL_SECONDS", 0)
    monkeypatch.setattr(ApiClient, "pages", lambda _self, *args, **how: server.pages(*args, **how))
    monkeypatch.setattr(ApiClient, "is_served", lambda _self, resource: server.is_served(resource))

    async def run() -> bool:
        operator = Operator(Settings())
        monkeypatch.setattr(operator._discovery, "_begin", lambda _resource: Watch())
        operator._cache.add(Store(GROUP, lambda raw: raw["metadata"]["name"]))
        await operator._list_until_done()
        return GROUP.gvk in operator._cache.served

    assert (asyncio.run(run()), asked) == (served, looks)


def test_the_running_operator_looks_at_every_comparison_and_decides_again_when_a_kind_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    monkeypatch.setattr(ApiClient, "pages", lambda _self, *args, **how: server.pages(*args, **how))
    monkeypatch.setattr(ApiClient, "is_served", lambda _self, resource: server.is_served(resource))

    async def run() -> list[int]:
        operator = Operator(Settings())
        monkeypatch.setattr(operator._discovery, "_begin", lambda _resource: Watch())
        operator._cache.add(Store(GROUP, lambda raw: raw["metadata"]["name"]))
        server.put(job())
        depths = []
        for served in (set(), {GROUP}, {GROUP}):
            server.served = served
            await operator._list_until_done()
            depths.append(operator._queue.schedule.depth)
            while (item := operator._queue.schedule.take(0)) is not None:
                operator._queue.schedule.done(item[0], 0)
        return depths

    assert asyncio.run(run()) == [1, 1, 0]
