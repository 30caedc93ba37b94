"""The comparator with two played versions: what is asked, what is counted, and that nobody waits for it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
from aiohttp import web
from fovea_gateway.comparator.answers import Outputs, Unreadable, of_grpc
from fovea_gateway.comparator.comparing import WAITING, WAITING_BYTES, Ask, Comparing, Counts, Failed, Question
from fovea_gateway.comparator.fronts import Ports, Version, serving
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


def answers(*classes: str) -> Ask:
    async def ask() -> Outputs:
        return of_grpc(says(*classes))

    return ask


async def fails() -> Outputs:
    raise Failed("INTERNAL")


async def mumbles() -> Outputs:
    raise Unreadable("no tensor")


def compared(stable: Ask, candidate: Ask, times: int = 1) -> Counts:
    counts = Counts()
    comparing = Comparing(counts)
    for _ in range(times):
        asyncio.run(comparing.compare(Question(1, stable, candidate)))
    return counts


def seen(counts: Counts) -> Compared:
    """As the operator reads it."""
    return read_compared(generate_latest(counts.registry).decode())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - counters notify nobody
            await asyncio.sleep(0.01)


def test_answers_are_compared_and_the_operator_reads_the_counts() -> None:
    counts = compared(answers("a", "b"), answers("a", "c"), times=4)
    assert seen(counts) == Compared(4, 2.0, 0)
    assert seen(counts).mean == 0.5


def test_a_request_that_the_candidate_fails_alone_is_wholly_apart_and_one_that_both_fail_is_none() -> None:
    assert seen(compared(answers("a"), fails)) == Compared(1, 1.0, 1)
    both = compared(fails, fails)
    assert seen(both) == Compared()
    assert both.left_out._value.get() == 1


def test_what_cannot_be_read_is_left_out_and_the_next_one_is_compared() -> None:
    async def story() -> None:
        counts = Counts()
        comparing = Comparing(counts)
        working = asyncio.create_task(comparing.run())
        comparing.take(Question(1, mumbles, answers("a")))
        comparing.take(Question(1, answers("a"), answers("a")))
        await until(lambda: seen(counts).total > 0)
        working.cancel()
        assert counts.left_out._value.get() == 1

    asyncio.run(story())


def test_more_requests_than_may_wait_are_dropped_and_those_that_are_too_large_together() -> None:
    async def story() -> None:
        counts = Counts()
        comparing = Comparing(counts)
        for _ in range(WAITING + 3):
            comparing.take(Question(1, answers("a"), answers("a")))
        assert counts.dropped._value.get() == 3
        large = Counts()
        comparing = Comparing(large)
        for _ in range(3):
            comparing.take(Question(WAITING_BYTES // 2, answers("a"), answers("a")))
        assert large.dropped._value.get() == 1

    asyncio.run(story())


@dataclass
class Played:
    """A version: its answers over gRPC and REST, and what it was asked."""

    classes: str
    wait: Callable[[], Awaitable[Any]] = field(default=lambda: asyncio.sleep(0))
    asked: list[Any] = field(default_factory=list)

    async def predict(self, payload: bytes, _: Any) -> bytes:
        self.asked.append(predict_pb2.PredictRequest.FromString(payload).model_spec)
        await self.wait()
        return says(self.classes)

    async def by_rest(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, await request.json()))
        return web.json_response({"predictions": [self.classes]})

    @asynccontextmanager
    async def serves(self) -> AsyncIterator[Version]:
        played = self

        class Handler(grpc.GenericRpcHandler):
            def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
                known = details.method == methods.PREDICT
                return grpc.unary_unary_rpc_method_handler(played.predict) if known else None

        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        application = web.Application()
        application.router.add_post("/{path:.*}", self.by_rest)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield Version(f"127.0.0.1:{port}", f"127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await server.stop(0)
            await runner.cleanup()


@asynccontextmanager
async def comparator(stable: Played, candidate: Played) -> AsyncIterator[tuple[Ports, Counts]]:
    """One that compares these versions."""
    counts = Counts()
    comparing = Comparing(counts)
    async with AsyncExitStack() as stack:
        versions = [await stack.enter_async_context(each.serves()) for each in (stable, candidate)]
        ports = await stack.enter_async_context(serving(comparing.take, *versions, Ports(0, 0), 10))
        working = asyncio.create_task(comparing.run())
        yield ports, counts
        working.cancel()


def test_a_mirrored_request_is_answered_at_once_and_compared_over_the_wire() -> None:
    async def story() -> None:
        released = asyncio.Event()
        stable, candidate = Played("a"), Played("b", released.wait)
        async with comparator(stable, candidate) as (ports, counts):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
                assert await channel.unary_unary(methods.PREDICT)(request(version=7), timeout=10) == b""
                assert await channel.unary_unary(methods.GET_MODEL_METADATA)(b"", timeout=10) == b""
            released.set()
            await until(lambda: seen(counts).total > 0)
            assert seen(counts) == Compared(1, 1.0, 0)
        for asked in (stable.asked, candidate.asked):
            assert [(each.name, each.HasField("version")) for each in asked] == [("digits", False)]

    asyncio.run(story())


def test_requests_by_rest_are_compared_too_whatever_version_they_name_and_however_they_are_packed() -> None:
    async def story() -> None:
        stable, candidate, body = Played("a"), Played("a"), {"instances": [1.0]}
        async with comparator(stable, candidate) as (ports, counts), aiohttp.ClientSession() as client:
            at = f"http://127.0.0.1:{ports.rest}/v1/models/digits"
            packed, headers = gzip.compress(json.dumps(body).encode()), {"Content-Encoding": "gzip"}
            paths = ("", "/versions/7", "/labels/best")
            for path in paths:
                async with client.post(f"{at}{path}:predict", data=packed, headers=headers) as answer:
                    assert (answer.status, await answer.read()) == (200, b"")
            for path in (":classify", "/metadata"):
                async with client.post(f"{at}{path}", json=body) as answer:
                    assert answer.status == 200
            await until(lambda: seen(counts).total == len(paths))
            assert seen(counts) == Compared(len(paths), 0.0, 0)
        assert stable.asked == candidate.asked == [("/v1/models/digits:predict", body)] * len(paths)

    asyncio.run(story())


def test_a_version_that_cannot_be_reached_has_failed() -> None:
    async def story() -> None:
        stable, candidate = Played("a"), Played("a")
        async with stable.serves() as there:
            async with candidate.serves() as gone:
                pass
            counts = Counts()
            comparing = Comparing(counts)
            async with (
                serving(comparing.take, there, gone, Ports(0, 0), 10) as ports,
                aiohttp.ClientSession() as client,
            ):
                working = asyncio.create_task(comparing.run())
                await client.post(f"http://127.0.0.1:{ports.rest}/v1/models/digits:predict", json={"instances": [1]})
                await until(lambda: seen(counts).total > 0)
                assert seen(counts) == Compared(1, 1.0, 1)
                working.cancel()

    asyncio.run(story())
