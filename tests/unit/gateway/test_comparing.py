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
import pytest
from aiohttp import web
from fovea_gateway.comparator.answers import of_grpc, of_rest
from fovea_gateway.comparator.comparing import (
    LARGEST_ANSWER,
    LARGEST_OTHER,
    LARGEST_REQUEST,
    WAITING,
    WAITING_BYTES,
    Ask,
    Comparing,
    Counts,
    Failed,
    Question,
    Read,
    TooLarge,
)
from fovea_gateway.comparator.fronts import Ports, Version, serving
from fovea_operator.cluster.comparators import read_compared
from fovea_operator.reconcile.shared.traffic import Compared
from fovea_wire import methods, model_pb2, predict_pb2, tensor_pb2, tensors, types_pb2
from prometheus_client import generate_latest


def request(version: int | None = None) -> bytes:
    spec = model_pb2.ModelSpec(name="digits")
    if version is not None:
        spec.version.value = version
    return predict_pb2.PredictRequest(model_spec=spec, inputs={"x": tensors.encode([1.0])}).SerializeToString()


def says(*classes: str) -> bytes:
    return predict_pb2.PredictResponse(outputs={"classes": tensors.encode(list(classes))}).SerializeToString()


def sends(answer: bytes) -> Ask:
    async def ask() -> bytes:
        return answer

    return ask


def answers(*classes: str) -> Ask:
    return sends(says(*classes))


async def fails() -> bytes:
    raise Failed("INTERNAL")


async def is_too_large() -> bytes:
    raise TooLarge


mumbles = sends(b"\xff\xff")


def question(size: int, stable: Ask, candidate: Ask, read: Read = of_grpc) -> Question:
    return Question(size, stable, candidate, read)


def compared(stable: Ask, candidate: Ask, times: int = 1, read: Read = of_grpc) -> Counts:
    async def story() -> Counts:
        counts = Counts()
        comparing = Comparing(counts)
        for _ in range(times):
            await comparing.compare(question(1, stable, candidate, read))
        return counts

    return asyncio.run(story())


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


def rest(text: str) -> bytes:
    return f'{{"predictions": {text}}}'.encode()


GOOD_ROWS = rest("[[0.1, 0.9]]")
BROKEN_ROWS = {
    "a null": rest("[[null, 0.9]]"),
    "rows of different lengths": rest("[[0.1], [0.1, 0.9]]"),
    "an object": rest('[[{"x": 1}, 0.9]]'),
    "a row without an output": rest('[{"a": 1.0}, {"b": 1.0}]'),
    "cut off": rest("[[0.1, 0.9]]")[:-5],
    "no text": b"\xff\xfe",
    "lists without an end": rest("[" * 100_000 + "]" * 100_000),
    "a number beyond all floats": rest(f"[[1{'0' * 400}, 0.9]]"),
    "an error with the code of an answer": b'{"error": "out of memory"}',
}
GOOD_TENSOR = predict_pb2.PredictResponse(outputs={"y": tensors.encode([0.1, 0.9])})


def tensor(**fields: Any) -> bytes:
    return predict_pb2.PredictResponse(outputs={"y": tensor_pb2.TensorProto(**fields)}).SerializeToString()


def shape(*sizes: int) -> tensor_pb2.TensorShapeProto:
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in sizes])


BROKEN_TENSORS = {
    "cut off": GOOD_TENSOR.SerializeToString()[:-3],
    "a type that is none": tensor(dtype=types_pb2.DT_RESOURCE, tensor_shape=shape(1)),
    "too few values": tensor(dtype=types_pb2.DT_FLOAT, tensor_shape=shape(3), tensor_content=b"1234"),
    "a half that is none": tensor(dtype=types_pb2.DT_HALF, tensor_shape=shape(1), half_val=[1 << 20]),
    "half a complex number": tensor(dtype=types_pb2.DT_COMPLEX64, tensor_shape=shape(1), tensor_content=b"1234"),
    "a shape beyond all memory": tensor(dtype=types_pb2.DT_FLOAT, tensor_shape=shape(1 << 40), float_val=[1.0]),
}


@pytest.mark.parametrize(
    ("good", "broken", "read"),
    [
        *(pytest.param(GOOD_ROWS, broken, of_rest, id=f"REST: {what}") for what, broken in BROKEN_ROWS.items()),
        *(
            pytest.param(GOOD_TENSOR.SerializeToString(), broken, of_grpc, id=f"gRPC: {what}")
            for what, broken in BROKEN_TENSORS.items()
        ),
    ],
)
def test_an_answer_that_the_new_version_alone_has_garbled_counts_as_failed(
    good: bytes, broken: bytes, read: Read
) -> None:
    assert seen(compared(sends(good), sends(broken), read=read)) == Compared(1, 1.0, 1)
    both = compared(sends(broken), sends(broken), read=read)
    assert seen(both) == seen(compared(sends(broken), sends(good), read=read)) == Compared()
    assert both.left_out._value.get() == 1


def test_an_answer_that_is_too_large_is_not_compared_unless_the_new_version_s_alone_is() -> None:
    large = compared(is_too_large, answers("a"))
    assert (seen(large), large.too_large._value.get()) == (Compared(), 1)
    assert seen(compared(answers("a"), is_too_large)) == Compared(1, 1.0, 1)


def test_large_answers_are_compared_beside_the_taking_of_others() -> None:
    async def story() -> None:
        values = tensors.encode([0.5] * (LARGEST_ANSWER // 4 - 32))
        large = predict_pb2.PredictResponse(outputs={"y": values}).SerializeToString()
        counts, most = Counts(), 0.0
        working = asyncio.create_task(Comparing(counts).compare(question(1, sends(large), sends(large))))
        while not working.done():
            begun = asyncio.get_running_loop().time()
            await asyncio.sleep(0)
            most = max(most, asyncio.get_running_loop().time() - begun)
        assert seen(counts) == Compared(1, 0.0, 0)
        assert most < 0.5

    asyncio.run(story())


def test_what_cannot_be_read_is_left_out_and_the_next_one_is_compared() -> None:
    async def story() -> None:
        counts = Counts()
        comparing = Comparing(counts)
        working = asyncio.create_task(comparing.run())
        comparing.take(question(1, mumbles, answers("a")))
        comparing.take(question(1, answers("a"), answers("a")))
        await until(lambda: seen(counts).total > 0)
        working.cancel()
        assert counts.left_out._value.get() == 1

    asyncio.run(story())


def test_more_requests_than_may_wait_are_dropped_and_those_that_are_too_large_together() -> None:
    async def story() -> None:
        counts = Counts()
        comparing = Comparing(counts)
        for _ in range(WAITING + 3):
            comparing.take(question(1, answers("a"), answers("a")))
        assert counts.dropped._value.get() == 3
        large = Counts()
        comparing = Comparing(large)
        for _ in range(5):
            comparing.take(question(WAITING_BYTES // 4, answers("a"), answers("a")))
        assert large.dropped._value.get() == 1

    asyncio.run(story())


@dataclass
class Played:
    """A version: its answers over gRPC and REST, and what it was asked."""

    classes: str
    wait: Callable[[], Awaitable[Any]] = field(default=lambda: asyncio.sleep(0))
    asked: list[Any] = field(default_factory=list)
    cookies: list[str | None] = field(default_factory=list)
    redirects: bool = False

    async def predict(self, payload: bytes, _: Any) -> bytes:
        self.asked.append(predict_pb2.PredictRequest.FromString(payload).model_spec)
        await self.wait()
        return says(self.classes)

    async def by_rest(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, await request.json()))
        self.cookies.append(request.headers.get("Cookie"))
        if self.redirects:
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/")
        return web.json_response({"predictions": [self.classes]}, headers={"Set-Cookie": "sid=1"})

    @asynccontextmanager
    async def serves(self) -> AsyncIterator[Version]:
        played = self

        class Handler(grpc.GenericRpcHandler):
            def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
                known = details.method == methods.PREDICT
                return grpc.unary_unary_rpc_method_handler(played.predict) if known else None

        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        server = grpc.aio.server(options=unlimited)
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
        ports = await stack.enter_async_context(serving(comparing, *versions, Ports(0, 0), 10))
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


def test_a_request_for_which_there_is_no_room_is_not_read_and_one_that_is_asked_still_takes_room() -> None:
    async def story() -> None:
        released = asyncio.Event()
        stable, candidate = Played("a", released.wait), Played("a", released.wait)
        async with comparator(stable, candidate) as (ports, counts), aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{ports.rest}/v1/models/digits:predict"
            unlimited = [("grpc.max_send_message_length", -1)]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}", options=unlimited) as channel:
                call, large = channel.unary_unary(methods.PREDICT), b"x" * (LARGEST_REQUEST + 1)
                async with client.post(url, data=large) as answer:
                    assert answer.status == 200
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(large, timeout=10)
                await until(lambda: counts.dropped._value.get() == 2)
                # Four of these are asked, and have all the room.
                picture = predict_pb2.PredictRequest.FromString(request())
                picture.inputs["x"].string_val.append(b"x" * (LARGEST_REQUEST - 1000))
                for _ in range(WAITING_BYTES // LARGEST_REQUEST):
                    await call(picture.SerializeToString(), timeout=10)
                await until(lambda: counts.dropped._value.get() == 2)
                assert await call(request(), timeout=10) == b""
                assert counts.dropped._value.get() == 3
            released.set()
            await until(lambda: seen(counts).total > 0 or counts.left_out._value.get() > 0)

    asyncio.run(story())


def test_answers_over_the_wire_are_read_up_to_a_bound_and_versions_share_no_cookies_and_send_nobody_elsewhere() -> None:
    async def story() -> None:
        stable, candidate = Played("a"), Played("a" * (LARGEST_OTHER + 1))
        async with comparator(stable, candidate) as (ports, counts), aiohttp.ClientSession() as client:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
                await channel.unary_unary(methods.PREDICT)(request(), timeout=10)
            await until(lambda: seen(counts) == Compared(1, 1.0, 1))
            url = f"http://127.0.0.1:{ports.rest}/v1/models/digits:predict"
            for _ in range(2):
                await client.post(url, json={"instances": [1.0]})
            await until(lambda: seen(counts) == Compared(3, 3.0, 3))
            stable.classes = "a" * (LARGEST_ANSWER + 1)
            await client.post(url, json={"instances": [1.0]})
            await until(lambda: counts.too_large._value.get() == 1)
            stable.classes, candidate.classes = "a", "/elsewhere"
            candidate.redirects = True
            await client.post(url, json={"instances": [1.0]})
            await until(lambda: seen(counts) == Compared(4, 4.0, 4))
            assert {cookie for each in (stable, candidate) for cookie in each.cookies} == {None}

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
                serving(comparing, there, gone, Ports(0, 0), 10) as ports,
                aiohttp.ClientSession() as client,
            ):
                working = asyncio.create_task(comparing.run())
                await client.post(f"http://127.0.0.1:{ports.rest}/v1/models/digits:predict", json={"instances": [1]})
                await until(lambda: seen(counts).total > 0)
                assert seen(counts) == Compared(1, 1.0, 1)
                working.cancel()

    asyncio.run(story())
