"""Which calls share a run, and that each caller gets its own rows or its own error."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from fovea_serving.protocol.errors import ServingError, deadline_exceeded, invalid_argument
from fovea_serving.protocol.signatures import Signature, Slot
from fovea_serving.server import batching
from fovea_serving.server.batching import Batcher, BatchingSettings
from fovea_serving.server.waiting import WaitingCalls
from hypothesis import given
from hypothesis import strategies as st


@dataclass(eq=False)
class Call:
    key: Hashable
    rows: int = 1
    abandoned: bool = False
    owner: str = "model"
    shareable: bool = True


def queue_of(*calls: Call) -> WaitingCalls[Call]:
    queue: WaitingCalls[Call] = WaitingCalls()
    for call in calls:
        queue.add(call)
    return queue


def test_calls_of_one_key_run_together_up_to_the_most_rows() -> None:
    a, b, c, other = Call("x", 2), Call("x", 3), Call("x", 4), Call("y")
    queue = queue_of(a, other, b, c)
    assert [queue.take(5), queue.take(5), queue.take(5), queue.take(5)] == [[a, b], [other], [c], []]


def test_a_call_with_more_rows_than_a_batch_runs_alone() -> None:
    big, small = Call("x", 99), Call("x", 1)
    queue = queue_of(big, small)
    assert [queue.take(8), queue.take(8)] == [[big], [small]]


def test_keys_take_turns() -> None:
    busy, quiet = [Call("busy") for _ in range(6)], Call("quiet")
    queue = queue_of(*busy, quiet)
    assert [queue.take(2), queue.take(2), queue.take(2)] == [busy[:2], [quiet], busy[2:4]]


def test_models_take_turns_before_their_keys_do() -> None:
    busy = [Call(object(), owner="busy") for _ in range(4)]
    quiet = [Call("a", owner="quiet"), Call("b", owner="quiet")]
    queue = queue_of(*busy, *quiet)
    assert [queue.take(8)[0] for _ in range(6)] == [busy[0], quiet[0], busy[1], quiet[1], busy[2], busy[3]]


def test_abandoned_calls_are_dropped() -> None:
    gone, there = Call("x", 4, abandoned=True), Call("x", 1)
    queue = queue_of(gone, Call("y", 2, abandoned=True), there)
    assert (queue.rows, queue.take(8), queue.take(8), queue.rows, bool(queue)) == (7, [there], [], 0, False)


CALLS = st.builds(Call, st.sampled_from("xyz"), st.integers(1, 9), st.booleans(), st.sampled_from("mn"), st.booleans())


@given(st.lists(CALLS), st.integers(1, 12))
def test_every_call_is_taken_once_in_order_and_never_with_another_key(calls: list[Call], most: int) -> None:
    queue = queue_of(*calls)
    taken: list[Call] = []
    while batch := queue.take(most):
        assert len({(call.owner, call.key) for call in batch}) == 1
        assert len(batch) == 1 or sum(call.rows for call in batch) <= most
        taken.extend(batch)
    for group in itertools.product("mn", "xyz"):
        wanted = [call for call in calls if (call.owner, call.key) == group and not call.abandoned]
        assert [call for call in taken if (call.owner, call.key) == group] == wanted
    assert (queue.rows, queue.unshareable) == (0, 0)


@dataclass
class Doubling:
    """A model that doubles its input; it cannot work with -1, and `gate` holds every run until it is set."""

    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    runs: list[int] = field(default_factory=list)

    def run(
        self, signature: Any, feeds: Sequence[Any], outputs: Sequence[str], timeout: float | None = None
    ) -> list[Any]:
        self.entered.set()
        assert self.gate.wait(20)
        self.runs.append(len(feeds[0]))
        if (feeds[0] == -1).any():
            raise invalid_argument("-1 is no input")
        if signature.name == "sum":
            return [feeds[0].sum(keepdims=True)]
        return [feeds[0] * 2]


def signature(name: str, *row_wise: str) -> Signature:
    return Signature(name, "", {"x": Slot("x:0", 2, (-1,))}, {"y": Slot("y:0", 2, None)}, {}, frozenset(row_wise))


DOUBLE, SUM, SINGLE = signature("double", "y"), signature("sum", "y"), signature("single")


def settings(**changes: Any) -> BatchingSettings:
    return BatchingSettings(**{"runners": 1, "most_rows": 8, "most_waiting_rows": 64, **changes})


async def started(
    batcher: Batcher, model: Doubling, values: Sequence[list[float]], signature: Signature = DOUBLE, **more: Any
) -> list[Any]:
    """Calls that wait while a first one occupies the only runner."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(batcher.run(model, DOUBLE, [np.array([0.0])], ("y",)))]  # type: ignore[arg-type]
    assert await loop.run_in_executor(None, model.entered.wait, 20)
    for value in values:
        call = batcher.run(model, signature, [np.array(value)], ("y",), **more)  # type: ignore[arg-type]
        tasks.append(loop.create_task(call))
    await asyncio.sleep(0)
    return tasks[1:]


def outcomes(
    values: Sequence[list[float]], signature: Signature = DOUBLE, **changes: Any
) -> tuple[list[Any], list[int]]:
    async def go() -> tuple[list[Any], list[int]]:
        model, batcher = Doubling(), Batcher(settings(**changes))
        tasks = await started(batcher, model, values, signature)
        model.gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        batcher.close()
        return [one.values[0].tolist() if not isinstance(one, BaseException) else str(one) for one in done], model.runs

    return asyncio.run(go())


def test_what_waits_runs_together_and_each_caller_gets_its_rows() -> None:
    assert outcomes([[1.0], [2.0, 3.0], [4.0]]) == ([[2.0], [4.0, 6.0], [8.0]], [1, 4])


def test_one_bad_input_fails_alone() -> None:
    found, runs = outcomes([[1.0], [-1.0], [4.0]])
    assert found == [[2.0], "INVALID_ARGUMENT: -1 is no input", [8.0]]
    assert runs == [1, 3, 1, 1, 1]


def test_calls_of_different_row_shapes_and_types_run_apart() -> None:
    assert outcomes([[1.0], [[2.0, 3.0]], [4], [5.0]])[0] == [[2.0], [[4.0, 6.0]], [8], [10.0]]


def test_a_signature_that_was_wrongly_said_to_keep_its_rows_is_run_call_by_call() -> None:
    assert outcomes([[1.0, 2.0], [3.0, 4.0]], SUM) == ([[3.0], [7.0]], [1, 4, 2, 2])


def test_a_signature_not_known_to_be_row_wise_or_with_batching_off_runs_every_call_alone() -> None:
    assert outcomes([[1.0], [2.0]], SINGLE)[1] == [1, 1, 1]
    assert outcomes([[1.0], [2.0]], enabled=False)[1] == [1, 1, 1]


def test_a_full_queue_answers_unavailable() -> None:
    found, _ = outcomes([[1.0, 2.0], [3.0, 4.0]], most_waiting_rows=3)
    assert found == [[2.0, 4.0], "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full"]


def test_calls_that_expired_or_were_given_up_while_they_waited_are_never_run() -> None:
    async def go() -> None:
        model, batcher = Doubling(), Batcher(settings())
        expired = await started(batcher, model, [[1.0]], deadline=time.monotonic() - 1)
        cancelled = asyncio.get_running_loop().create_task(
            batcher.run(model, DOUBLE, [np.array([2.0])], ("y",))  # type: ignore[arg-type]
        )
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        model.gate.set()
        with pytest.raises(ServingError) as caught:
            await expired[0]
        assert str(caught.value) == "RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue"
        await batcher.run(model, DOUBLE, [np.array([3.0, 4.0])], ("y",))  # type: ignore[arg-type]
        assert model.runs == [1, 2]
        batcher.close()

    asyncio.run(go())


def test_a_call_that_waits_is_answered_when_its_time_is_up_and_not_when_a_runner_is_free() -> None:
    async def go() -> None:
        model, batcher = Doubling(), Batcher(settings())
        (waiting,) = await started(batcher, model, [[1.0]], deadline=time.monotonic() + 0.05)
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
            await asyncio.wait_for(waiting, 10)
        model.gate.set()
        batcher.close()

    asyncio.run(go())


def test_a_full_batch_does_not_wait_for_its_time() -> None:
    async def go() -> list[int]:
        model, batcher = Doubling(), Batcher(settings(wait_seconds=600.0, most_rows=3))
        model.gate.set()
        calls = [batcher.run(model, DOUBLE, [np.array([1.0])], ("y",)) for _ in range(3)]  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            await asyncio.gather(*calls)
        batcher.close()
        return model.runs

    assert asyncio.run(go()) == [3]


def test_a_batch_that_is_not_full_waits_its_time_for_more() -> None:
    async def go() -> list[int]:
        model, batcher = Doubling(), Batcher(settings(wait_seconds=0.2))
        model.gate.set()
        loop = asyncio.get_running_loop()
        first = loop.create_task(batcher.run(model, DOUBLE, [np.array([1.0])], ("y",)))  # type: ignore[arg-type]
        await asyncio.wait({first}, timeout=0.02)
        async with asyncio.timeout(20):
            await asyncio.gather(first, batcher.run(model, DOUBLE, [np.array([2.0])], ("y",)))  # type: ignore[arg-type]
        batcher.close()
        return model.runs

    assert asyncio.run(go()) == [2]


async def beside_a_run(call: Callable[[Batcher], Awaitable[Any]], **changes: Any) -> list[int]:
    """What a call makes of the second runner while the first one is occupied; the sizes of the runs on the first."""
    model, batcher = Doubling(), Batcher(settings(runners=2, **changes))
    loop = asyncio.get_running_loop()
    first = loop.create_task(batcher.run(model, DOUBLE, [np.array([0.0])], ("y",)))  # type: ignore[arg-type]
    assert await loop.run_in_executor(None, model.entered.wait, 20)
    async with asyncio.timeout(20):
        await call(batcher)
    assert not first.done()
    model.gate.set()
    await first
    batcher.close()
    return model.runs


def quick() -> Doubling:
    model = Doubling()
    model.gate.set()
    return model


def test_while_a_run_is_under_way_another_one_waits_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "COMPANY_SECONDS", 600.0)
    model = quick()

    async def two(batcher: Batcher) -> None:
        one = asyncio.ensure_future(batcher.run(model, DOUBLE, [np.array([1.0])], ("y",)))  # type: ignore[arg-type]
        for _ in range(5):
            await asyncio.sleep(0)
        await asyncio.gather(one, batcher.run(model, DOUBLE, [np.array([2.0])], ("y",)))  # type: ignore[arg-type]

    assert asyncio.run(beside_a_run(two)) == [1]
    assert model.runs == [2]


def test_a_call_that_gets_no_company_is_run_beside_a_run_all_the_same() -> None:
    async def one(batcher: Batcher) -> None:
        await batcher.run(quick(), DOUBLE, [np.array([1.0])], ("y",))  # type: ignore[arg-type]

    assert asyncio.run(beside_a_run(one)) == [1]


def test_a_call_that_can_have_no_company_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "COMPANY_SECONDS", 600.0)

    async def single(batcher: Batcher) -> None:
        await batcher.run(quick(), SINGLE, [np.array([1.0])], ("y",))  # type: ignore[arg-type]

    async def double(batcher: Batcher) -> None:
        await batcher.run(quick(), DOUBLE, [np.array([1.0])], ("y",))  # type: ignore[arg-type]

    assert asyncio.run(beside_a_run(single)) == [1]
    assert asyncio.run(beside_a_run(double, enabled=False)) == [1]


def test_calls_that_waited_for_company_are_run_when_the_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "COMPANY_SECONDS", 600.0)

    async def go() -> list[int]:
        model, batcher = Doubling(), Batcher(settings(runners=2))
        (waiting,) = await started(batcher, model, [[1.0]])
        model.gate.set()
        async with asyncio.timeout(20):
            await waiting
        batcher.close()
        return model.runs

    assert asyncio.run(go()) == [1, 1]


def test_calls_that_waited_while_all_runners_were_occupied_do_not_wait_again() -> None:
    async def go() -> list[int]:
        model, batcher = Doubling(), Batcher(settings(wait_seconds=600.0, most_rows=2))
        loop = asyncio.get_running_loop()
        calls = [loop.create_task(batcher.run(model, DOUBLE, [np.array([1.0, 2.0])], ("y",)))]  # type: ignore[arg-type]
        assert await loop.run_in_executor(None, model.entered.wait, 20)
        calls.append(loop.create_task(batcher.run(model, DOUBLE, [np.array([3.0])], ("y",))))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        model.gate.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*calls)
        batcher.close()
        return model.runs

    assert asyncio.run(go()) == [2, 1]


async def finished(tasks: Sequence[Any]) -> list[str]:
    async with asyncio.timeout(20):
        done = await asyncio.gather(*tasks, return_exceptions=True)
    return [str(one) if isinstance(one, BaseException) else str(one.values[0].tolist()) for one in done]


def test_inputs_that_do_not_fit_into_memory_together_are_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> Any:
        raise MemoryError("Unable to allocate 9 GiB")

    async def go() -> None:
        model, batcher = Doubling(), Batcher(settings())
        tasks = await started(batcher, model, [[1.0], [2.0]])
        monkeypatch.setattr(np, "concatenate", full)
        model.gate.set()
        assert await finished(tasks) == ["[2.0]", "[4.0]"]
        batcher.close()

    asyncio.run(go())


def test_a_defect_while_a_batch_is_run_is_told_to_its_callers_and_costs_no_runner(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Any) -> Any:
        raise ZeroDivisionError("oops")

    async def go() -> None:
        model, batcher = Doubling(), Batcher(settings())
        tasks = await started(batcher, model, [[1.0], [2.0]])
        monkeypatch.setattr(batcher, "_together", broken)
        model.gate.set()
        told = "INTERNAL: The batch could not be run: ZeroDivisionError: oops"
        assert await finished(tasks) == [told, told]
        assert await finished([batcher.run(model, DOUBLE, [np.array([3.0])], ("y",))]) == ["[6.0]"]  # type: ignore[arg-type]
        batcher.close()

    asyncio.run(go())
    assert "A batch could not be run" in caplog.text


def test_calls_whose_run_together_took_too_long_did_not_wait_in_the_queue() -> None:
    class Slow(Doubling):
        def run(
            self, signature: Any, feeds: Sequence[Any], outputs: Sequence[str], timeout: float | None = None
        ) -> list[Any]:
            values = super().run(signature, feeds, outputs)
            if timeout is None:
                return values
            time.sleep(timeout)  # as TensorFlow does: it gives up when the time is over
            raise deadline_exceeded("Timed out waiting for notification")

    async def go() -> None:
        model, batcher = Slow(), Batcher(settings())
        tasks = await started(batcher, model, [[1.0], [2.0]], deadline=time.monotonic() + 0.5)
        model.gate.set()
        assert await finished(tasks) == ["DEADLINE_EXCEEDED: Run() timeout exceeded while the model was run"] * 2
        assert model.runs == [1, 2]
        batcher.close()

    asyncio.run(go())
