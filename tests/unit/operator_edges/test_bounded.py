"""Several writes at the same time: how many, in which order, and what a failure stops."""

import asyncio
from collections.abc import Callable

import pytest
from fovea_api.contract import labels
from fovea_operator import errors
from fovea_operator.cluster import bounded
from fovea_operator.reconcile.shared.decision import Child, Decision, Write
from hypothesis import given
from hypothesis import strategies as st
from support.reconciled import World, job, pod


def service(name: str) -> Child:
    document = {**pod(name), "kind": "Service", "spec": {"ports": [], "selector": {}}}
    return Child(Write.CREATE, document)


def member(number: int) -> Child:
    document = pod(f"digits-worker-{number}-0")
    document["metadata"]["labels"] = {labels.JOB: "digits", labels.ATTEMPT: "0"}
    return Child(Write.CREATE, document)


def work(world: World, children: tuple[Child, ...]) -> tuple[list[str], int]:
    """Names in the order in which their creation began, and how many were under way at the same time at most."""
    begun: list[str] = []
    active = most = 0
    create = world.server.create

    async def slow(manifest: dict[str, object]) -> dict[str, object]:
        nonlocal active, most
        begun.append(manifest["metadata"]["name"])  # type: ignore[index]
        active += 1
        most = max(most, active)
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            return await create(manifest)
        finally:
            active -= 1

    world.server.create = slow  # type: ignore[assignment,method-assign]
    world.work()
    return begun, most


def test_pods_are_made_together_but_not_all_at_once_and_after_what_they_need() -> None:
    children = (service("digits-pods"), *(member(number) for number in range(40)))
    world = World(lambda *_: Decision(children=children))
    world.know(job())
    begun, most = work(world, children)
    assert begun == [child.manifest["metadata"]["name"] for child in children]
    assert most == 16
    assert len(world.server.objects) == 42


def test_what_is_no_pod_is_made_one_by_one() -> None:
    children = tuple(service(f"s{number}") for number in range(5))
    world = World(lambda *_: Decision(children=children))
    world.know(job())
    assert work(world, children)[1] == 1


def test_a_refused_pod_stops_those_that_were_not_begun_and_is_told_to_the_next_decision() -> None:
    children = tuple(member(number) for number in range(40))
    refusals: list[str] = []

    def decide(observed: object, *_: object) -> Decision:
        refusals.append(observed.refused)  # type: ignore[attr-defined]
        return Decision(children=children) if not refusals[-1] else Decision()

    world = World(decide)
    world.know(job())
    world.server.fail = lambda call: errors.Refused("exceeded quota", code=403) if call == "create Pod" else None
    begun, _ = work(world, children)
    assert len(begun) == 16
    assert refusals == ["", "exceeded quota"]


class Failed(Exception):
    """Of the item with that number."""


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30), st.integers(1, 8))
def test_the_first_failure_in_order_is_raised_and_whatever_was_begun_has_ended(
    items: list[tuple[int, bool]], at_once: int
) -> None:
    begun, ended = [], []

    async def one(index: int) -> None:
        turns, fails = items[index]
        begun.append(index)
        for _ in range(turns):
            await asyncio.sleep(0)
        ended.append(index)
        if fails:
            raise Failed(index)

    raised = caught(lambda: asyncio.run(bounded.each(range(len(items)), one, at_once)))
    assert begun == list(range(len(begun)))
    assert sorted(ended) == begun
    failed = [index for index in begun if items[index][1]]
    assert raised == (failed[0] if failed else None)
    assert failed or len(begun) == len(items)


def caught(call: Callable[[], None]) -> int | None:
    try:
        call()
    except Failed as error:
        return int(error.args[0])
    return None


def test_an_interrupted_batch_takes_its_writes_with_it() -> None:
    cancelled: list[int] = []

    async def one(index: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(index)
            raise

    async def run() -> None:
        task = asyncio.create_task(bounded.each([0, 1, 2], one, 2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert cancelled == [0, 1]
