"""What the activator holds at most, what it says beyond that, and who does not keep what he has begun."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from fovea_gateway.activator import grpc_front
from fovea_gateway.activator.memory import Answers
from fovea_gateway.activator.room import Refused
from fovea_wire import methods
from prometheus_client import generate_latest
from support import activator
from support.activator import DIGITS, HEADERS, PETS, Operator, free_port, front, run, serving, until

MIB = 1 << 20
TESTS = Path(activator.__file__).parents[1]
PROGRAM = """
import asyncio, resource, sys
sys.path.insert(0, sys.argv[3])
from support.activator import Operator, grpc_front

async def main():
    async with grpc_front(Operator(), int(sys.argv[1]), requests_of_version=int(sys.argv[2])) as address:
        print(address, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)

asyncio.run(main())
"""


# -- the room ----------------------------------------------------------------------------------------------------------


def test_a_model_that_never_starts_leaves_room_for_the_others_and_each_refusal_says_what_is_full() -> None:
    async def story() -> None:
        room = Operator().room(bytes_of_version=60, bytes_in_all=90, requests_of_version=2, requests_in_all=3)
        async with room.held(DIGITS, 50):
            with pytest.raises(Refused, match=r"digits in vision: they have .* may wait for one version") as refused:
                async with room.held(DIGITS, 20):
                    pass
            assert refused.value.is_full
            async with room.held(PETS, 30), room.held(PETS, 0):
                with pytest.raises(Refused, match="ModelDeployment pets in vision: 2 of at most 2"):
                    async with room.held(PETS):
                        pass
                with pytest.raises(Refused, match="the activator is full: 3 of at most 3 requests") as full:
                    async with room.held(DIGITS):
                        pass
                assert "1 of them for ModelDeployment digits in vision" in str(full.value)
                assert "gateway.activator.replicas" in str(full.value)
        async with room.held(DIGITS, 50):
            with pytest.raises(Refused, match="the activator is full: the requests for all models"):
                async with room.held(PETS, 50):
                    pass
        async with room.held(DIGITS, 60):
            pass

    run(story())


def test_a_request_counts_as_it_grows_and_is_refused_where_it_becomes_too_large() -> None:
    async def story() -> None:
        operator = Operator()
        room = operator.room(bytes_of_version=60, bytes_in_all=90)
        async with room.held(DIGITS) as ticket:
            ticket.takes(40)
            with pytest.raises(Refused):
                ticket.takes(40)
            ticket.takes(20)
        async with room.held(DIGITS, 60):
            pass

    run(story())


# -- gRPC --------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def apart(port: int, requests: int) -> AsyncIterator[Any]:
    """An activator in a process of its own: a function that asks it, and one that says the most memory that it has had, in MiB."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(port),
        str(requests),
        str(TESTS),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def most() -> int:
        stdin.write(b"\n")
        return int(await stdout.readline())

    options = [("grpc.max_send_message_length", -1)]
    address = (await stdout.readline()).decode().strip()
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = channel.unary_unary(methods.PREDICT)

        async def ask(request: bytes) -> tuple[grpc.StatusCode, str]:
            try:
                await call(request, metadata=tuple(HEADERS.items()), timeout=activator.LONGEST)
            except grpc.aio.AioRpcError as error:
                return error.code(), error.details() or ""
            return grpc.StatusCode.OK, ""

        try:
            yield ask, most
        finally:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(("requests", "size", "grows"), [(0, 30, 10), (100, 40, 240)], ids=["many", "large"])
def test_calls_that_are_refused_take_no_memory_and_large_ones_are_read_one_at_a_time(
    requests: int, size: int, grows: int
) -> None:
    async def story() -> None:
        port = free_port()
        async with apart(port, requests) as (ask, most):
            before, message = await most(), b"x" * (size * MIB)
            asked = [asyncio.create_task(ask(message)) for _ in range(8)]
            await until(lambda: sum(each.done() for each in asked) >= len(asked) - 1)
            async with serving(port) as version:
                version.answer = b""
                # The version takes messages of 4 MiB only: what it says comes back.
                codes = {await each for each in asked}
            assert {code for code, _ in codes} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert {said.partition(" (")[0].partition(":")[0] for _, said in codes} <= {
                "too many requests wait for ModelDeployment digits in vision",
                "SERVER",
            }
            assert await most() - before < grows

    run(story())


def test_a_request_that_does_not_come_whole_gives_its_turn_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_front, "ARRIVES_SECONDS", 0.3)

    async def story() -> None:
        port = free_port()
        async with (
            activator.grpc_front(Operator(), port) as address,
            serving(port),
            grpc.aio.insecure_channel(address) as channel,
        ):
            stalls = channel.stream_unary(methods.PREDICT)(metadata=tuple(HEADERS.items()))
            await asyncio.sleep(0.1)
            call = channel.unary_unary(methods.PREDICT)
            assert await call(b"a picture", metadata=tuple(HEADERS.items())) == b"answer to a picture"
            with pytest.raises(grpc.aio.AioRpcError, match="did not come whole within"):
                await stalls

    run(story())


def test_an_answer_that_its_client_does_not_take_is_counted_and_others_hear_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grpc_front, "Answers", partial(Answers, patience=0.5))

    async def story() -> None:
        port, operator = free_port(), Operator()
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        async with activator.grpc_front(operator, port) as address, serving(port) as version:
            version.answer = b"x" * (40 * MIB)
            async with (
                grpc.aio.insecure_channel(address, options=unlimited) as slow,
                grpc.aio.insecure_channel(address, options=unlimited) as quick,
            ):
                never = slow.unary_stream(methods.PREDICT)(b"a picture", metadata=tuple(HEADERS.items()))
                await never.initial_metadata()
                # For the operator it does not wait any more.
                await until(lambda: operator.heard[-1] == 0)
                call = quick.unary_unary(methods.PREDICT)
                with pytest.raises(
                    grpc.aio.AioRpcError, match=r"clients have not taken any of the answers here, 40\.0 MiB"
                ):
                    await call(b"a picture", metadata=tuple(HEADERS.items()))
                never.cancel()
                assert len(await call(b"a picture", metadata=tuple(HEADERS.items()))) == 40 * MIB

    run(story())


def test_answers_are_read_one_at_a_time_while_there_is_room_for_the_largest() -> None:
    async def story() -> None:
        answers, reading, most = Answers(most=100, largest=60), 0, 0
        taken = asyncio.Event()

        async def read() -> bytes:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            await asyncio.sleep(0.01)
            reading -= 1
            return b"x" * 30

        read_so_far = 0

        async def one() -> None:
            nonlocal read_so_far
            async with answers.held(read):
                read_so_far += 1
                await taken.wait()

        async with asyncio.TaskGroup() as clients:
            for _ in range(4):
                clients.create_task(one())
            await until(lambda: read_so_far == 2)
            await asyncio.sleep(0.1)
            assert (read_so_far, most) == (2, 1), "the third might have 60, beside 60 that are there"
            taken.set()
        assert read_so_far == 4

    run(story())


def test_an_answer_that_is_too_large_says_so() -> None:
    async def story() -> None:
        port = free_port()
        async with front(Operator(), port) as ask, serving(port) as version:
            version.answer = b"x" * (65 * MIB)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (refused.value.details() or "").startswith(
                "the answer of ModelDeployment digits is larger than 64 MiB, the most that the activator passes on"
            )

    run(story())


def test_refusals_are_counted_by_their_kind() -> None:
    async def story() -> None:
        operator = Operator()
        room = operator.room(requests_of_version=1)
        async with room.held(DIGITS):
            with pytest.raises(Refused):
                async with room.held(DIGITS):
                    pass
        text = generate_latest(room._counts.registry).decode()
        assert 'fovea_activator_refused_total{reason="full"} 1.0' in text
        assert "unavailable" not in text

    run(story())
