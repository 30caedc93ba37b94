"""Keeping the Lease: what a leader survives, and what ends it."""

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fovea_operator.cluster import lease
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.lease import Leadership
from fovea_operator.cluster.queue import WorkQueue
from fovea_operator.cluster.resources import Resource
from fovea_operator.errors import AlreadyExists, ApiError, Conflict, Gone, LeaseLost, Transient
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from support.kinds import TRAINING_JOB

SETTINGS = Settings(lease_seconds=30, lease_renew_seconds=0.001)


class LeaseServer:
    """An API server that keeps one Lease, by version; answers to writes can get lost or not come."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.writes = 0
        self.before_write: Callable[[int], None] = lambda _number: None
        self.answer: Callable[[int], ApiError | None] = lambda _number: None
        """Says with what the answer to a write, which was done, is replaced."""
        self.hangs: Callable[[int], bool] = lambda _number: False
        self._version = 0

    def store(self, lease: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.lease)

    def edit(self, **spec: Any) -> None:
        """Somebody else writes."""
        assert self.lease is not None
        self.store({**self.lease, "spec": {**self.lease["spec"], **spec}})

    async def get(self, _resource: Resource, _namespace: str, _name: str) -> dict[str, Any]:
        if self.lease is None:
            raise Gone("no such lease", code=404)
        return copy.deepcopy(self.lease)

    async def create(self, lease: dict[str, Any]) -> dict[str, Any]:
        if self.lease is not None:
            raise AlreadyExists("taken", code=409)
        return self.store(lease)

    async def replace(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        self.before_write(self.writes)
        if self.hangs(self.writes):
            await asyncio.Event().wait()
        if self.lease is None:
            raise Gone("no such lease", code=404)
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified", code=409)
        stored = self.store(lease)
        if (error := self.answer(self.writes)) is not None:
            raise error
        return stored


class PlayedClock(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time: its clock jumps to what is due next."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            self._seconds += timeout or 0.0
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._seconds


def lead(server: LeaseServer, *, until: int, identity: str = "me") -> Leadership:
    """Take the Lease and keep it for that many writes. Raises LeaseLost."""

    async def run() -> Leadership:
        leadership = Leadership(server, SETTINGS, identity)  # type: ignore[arg-type]
        await leadership.acquire()
        keeping = asyncio.create_task(leadership.keep())
        async with asyncio.timeout(20):
            while server.writes < until and not keeping.done():  # noqa: ASYNC110 - the server notifies no test
                await asyncio.sleep(0)
        if keeping.done():
            keeping.result()
        keeping.cancel()
        await asyncio.wait([keeping])
        await leadership.release()
        return leadership

    return asyncio.run(run())


def test_a_leader_keeps_the_lease_when_the_answer_to_a_renewal_is_lost() -> None:
    server = LeaseServer()
    server.answer = lambda number: Transient("connection reset") if number in (2, 3) else None
    lead(server, until=8)
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == ""  # and gives it back in the end
    assert server.lease["spec"]["leaseTransitions"] == 0


def test_a_leader_keeps_the_lease_when_somebody_labels_it() -> None:
    server = LeaseServer()
    server.before_write = lambda number: server.edit() if number == 3 else None
    lead(server, until=6)


def test_a_lease_whose_last_renewal_nobody_heard_of_is_given_back_all_the_same() -> None:
    server = LeaseServer()
    server.answer = lambda number: Transient("connection reset") if number == 3 else None
    lead(server, until=3)
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"holderIdentity": "other"}, "held by other, not by me"),
        ({"holderIdentity": ""}, "held by nobody, not by me"),
        ({"acquireTime": "2031-01-01T00:00:00.000000Z"}, "another process with the identity me"),
    ],
)
def test_a_leader_ends_when_another_one_took_the_lease(edit: dict[str, str], why: str) -> None:
    server = LeaseServer()
    server.before_write = lambda number: server.edit(**edit) if number == 3 else None
    with pytest.raises(LeaseLost, match=why):
        lead(server, until=6)
    assert server.writes == 3
    assert server.lease is not None
    assert edit.items() <= server.lease["spec"].items()


def test_a_leader_whose_lease_was_deleted_ends() -> None:
    server = LeaseServer()

    def delete(number: int) -> None:
        if number == 3:
            server.lease = None

    server.before_write = delete
    with pytest.raises(LeaseLost, match="no such lease"):
        lead(server, until=6)


def test_a_leader_that_stood_still_past_its_lease_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LeaseServer()
    still = 0.0
    monkeypatch.setattr(lease, "_now", lambda: asyncio.get_running_loop().time() + still)

    async def run() -> None:
        nonlocal still
        leadership = Leadership(server, SETTINGS, "me")  # type: ignore[arg-type]
        await leadership.acquire()
        keeping = asyncio.create_task(leadership.keep())
        async with asyncio.timeout(20):
            while server.writes < 3:  # noqa: ASYNC110 - the server notifies no test
                await asyncio.sleep(0)
            still = 21.0  # more than two thirds of the Lease's 30 s
            await keeping

    with pytest.raises(LeaseLost, match="was not renewed for 21 s"):
        asyncio.run(run())
    assert server.writes == 3


def keep_with_the_defaults(server: LeaseServer, seconds: float) -> float:
    """Lead for a number of played seconds; returns when it ended. Raises LeaseLost."""

    async def run() -> float:
        leadership = Leadership(server, Settings(), "me")  # type: ignore[arg-type]
        await leadership.acquire()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await leadership.keep()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=PlayedClock) as runner:
        return runner.run(run())


@pytest.mark.parametrize("failures", [(1,), (1, 2, 3), (2, 4, 5), (1, 3, 5)])
def test_by_default_a_renewal_that_fails_is_tried_again_before_the_lease_is_given_up(failures: tuple[int, ...]) -> None:
    server = LeaseServer()
    server.answer = lambda number: Transient("connection reset") if number in failures else None
    assert keep_with_the_defaults(server, 60) == 60
    assert server.writes > 10


def test_by_default_a_renewal_that_hangs_leaves_time_for_another() -> None:
    server = LeaseServer()
    server.hangs = lambda number: number in (2, 5)
    assert keep_with_the_defaults(server, 60) == 60


@pytest.mark.parametrize("how", ["hangs", "fails"])
def test_a_leader_that_cannot_renew_ends_after_two_thirds_of_its_lease(how: str) -> None:
    server = LeaseServer()
    server.hangs = lambda number: how == "hangs" and number > 1
    server.before_write = lambda number: server.edit(seen=str(number)) if how == "fails" else None
    server.answer = lambda _number: Transient("connection reset")
    with pytest.raises(LeaseLost, match="was not renewed for 10 s"):
        keep_with_the_defaults(server, 60)


@pytest.mark.parametrize("lost", [True, False])
def test_a_leader_that_loses_the_lease_while_it_shuts_down_drops_its_work(lost: bool) -> None:
    ends: list[str] = []
    released: list[str] = []

    async def main() -> None:
        operator = Operator(Settings())
        begun, losing, answer = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work(_key: Key, _waited: float) -> None:
            begun.set()
            try:
                await answer.wait()
                ends.append("finished")
            except asyncio.CancelledError:
                ends.append("dropped")
                raise

        async def keep() -> None:
            await losing.wait()
            raise LeaseLost("held by another")

        async def release() -> None:
            released.append("me")

        operator._queue = WorkQueue(work, workers=1)
        operator._leadership.release = release  # type: ignore[method-assign]
        operator._queue.start()
        operator._queue.add(Key(TRAINING_JOB, "team", "digits"))
        await begun.wait()
        standing_down = asyncio.create_task(operator._stand_down(asyncio.create_task(keep()), None))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not standing_down.done(), "what is in flight may end while the Lease is kept"
        (losing if lost else answer).set()
        async with asyncio.timeout(10):
            await standing_down
        assert operator._queue.schedule.depth == 0

    asyncio.run(main())
    assert (ends, released) == ((["dropped"], []) if lost else (["finished"], ["me"]))
