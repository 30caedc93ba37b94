"""The comparator with two played versions: what is asked, what is counted, and that nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from fovea_gateway.comparator.comparing import WAITING, WAITING_BYTES, Ask, Comparing, Counts, asker, serve
from fovea_operator.cluster.comparators import read_compared
from fovea_operator.reconcile.shared.traffic import Compared
from fovea_wire import methods, model_pb2, predict_pb2, tensors
from prometheus_client import generate_latest


def request(version: int | None = None) -> bytes:
    spec = model_pb2.ModelSpec(name="digits")
    if version is not None:
        spec.version.value = version
    return predict_pb2.PredictRequest(model_spec=spec, inputs={"x": tensors.encode([1.0])}).SerializeToString()


def says(*classes: str) -> bytes:
    return predict_pb2.PredictResponse(outputs={"classes": tensors.encode(list(classes))}).SerializeToString()


def answers(with_: bytes) -> Ask:
    async def ask(_: bytes) -> bytes:
        return with_

    return ask


async def fails(_: bytes) -> bytes:
    raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata())


def compared(stable: Ask, candidate: Ask, times: int = 1) -> Counts:
    counts = Counts()
    comparing = Comparing(stable, candidate, counts)
    for _ in range(times):
        asyncio.run(comparing.compare(request()))
    return counts


def seen(counts: Counts) -> Compared:
    """As the operator reads it."""
    return read_compared(generate_latest(counts.registry).decode())


def test_answers_are_compared_and_the_operator_reads_the_counts() -> None:
    counts = compared(answers(says("a", "b")), answers(says("a", "c")), times=4)
    assert seen(counts) == Compared(4, 2.0, 0)
    assert seen(counts).mean == 0.5


def test_a_request_that_the_candidate_fails_alone_is_wholly_apart_and_one_that_both_fail_is_none() -> None:
    assert seen(compared(answers(says("a")), fails)) == Compared(1, 1.0, 1)
    both = compared(fails, fails)
    assert seen(both) == Compared()
    assert both.left_out._value.get() == 1


def test_each_version_is_asked_without_a_number() -> None:
    asked: list[Any] = []

    async def ask(payload: bytes) -> bytes:
        asked.append(predict_pb2.PredictRequest.FromString(payload))
        return says("a")

    asyncio.run(Comparing(ask, ask, Counts()).compare(request(version=7)))
    assert [each.model_spec.HasField("version") for each in asked] == [False, False]
    assert {each.model_spec.name for each in asked} == {"digits"}


def test_what_cannot_be_read_is_left_out_and_the_next_one_is_compared() -> None:
    async def story() -> None:
        counts = Counts()
        comparing = Comparing(answers(says("a")), answers(says("a")), counts)
        working = asyncio.create_task(comparing.run())
        comparing.take(b"\xff\xff")
        comparing.take(request())
        async with asyncio.timeout(10):
            while seen(counts).total == 0:  # noqa: ASYNC110 - counters notify nobody
                await asyncio.sleep(0.01)
        working.cancel()
        assert counts.left_out._value.get() == 1

    asyncio.run(story())


def test_more_requests_than_may_wait_are_dropped() -> None:
    async def story() -> None:
        counts = Counts()
        comparing = Comparing(answers(says("a")), answers(says("a")), counts)
        for _ in range(WAITING + 3):
            comparing.take(request())
        assert counts.dropped._value.get() == 3

    asyncio.run(story())


def test_requests_that_are_too_large_to_wait_together_are_dropped() -> None:
    async def story() -> None:
        counts = Counts()
        comparing = Comparing(answers(says("a")), answers(says("a")), counts)
        for _ in range(3):
            comparing.take(bytes(WAITING_BYTES // 2))
        assert counts.dropped._value.get() == 1

    asyncio.run(story())


@asynccontextmanager
async def version(answer: Callable[[bytes], Awaitable[bytes]]) -> AsyncIterator[str]:
    """A server of PredictionService; its address."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            async def predict(payload: bytes, _: Any) -> bytes:
                return await answer(payload)

            return grpc.unary_unary_rpc_method_handler(predict) if details.method == methods.PREDICT else None

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def test_a_mirrored_request_is_answered_at_once_and_compared_over_the_wire() -> None:
    async def story() -> None:
        released = asyncio.Event()

        async def slow(_: bytes) -> bytes:
            await released.wait()
            return says("b")

        async with version(answers(says("a"))) as stable, version(slow) as candidate:
            counts, stop, bound = Counts(), asyncio.Event(), asyncio.get_running_loop().create_future()
            comparing = Comparing(asker(stable, 10), asker(candidate, 10), counts)
            serving = asyncio.create_task(serve(0, comparing, stop, bound.set_result))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{await bound}") as channel:
                assert await channel.unary_unary(methods.PREDICT)(request(), timeout=10) == b""
                assert await channel.unary_unary(methods.GET_MODEL_METADATA)(b"", timeout=10) == b""
            released.set()
            async with asyncio.timeout(10):
                while seen(counts).total == 0:  # noqa: ASYNC110 - counters notify nobody
                    await asyncio.sleep(0.01)
            assert seen(counts) == Compared(1, 1.0, 0)
            stop.set()
            await serving

    asyncio.run(story())
