"""Requests of models without a pod: they wait, are passed on once, and hear when waiting is in vain."""

import asyncio
import gzip
import json
import socket
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from fovea_api.contract import names
from fovea_api.contract.waiting import WaitingReport
from fovea_gateway.activator import rest_front
from fovea_gateway.activator.backends import backend_of
from fovea_gateway.activator.rest_front import RestFront
from fovea_gateway.activator.room import Refused
from fovea_wire import methods
from support.activator import (
    DIGITS,
    HEADERS,
    HOST,
    LONGEST,
    PETS,
    Operator,
    free_port,
    front,
    rest_activator,
    run,
    serving,
    site,
    until,
)

# -- the room ----------------------------------------------------------------------------------------------------------


def test_the_operator_hears_of_a_request_at_once_and_when_there_is_none_any_more() -> None:
    async def story() -> None:
        operator = Operator()
        room = operator.room()
        async with room.held(DIGITS, 1), room.held(DIGITS, 1):
            await until(lambda: 2 in operator.heard)
        await until(lambda: operator.heard[-1] == 0)
        before = len(operator.heard)
        async with room.held(DIGITS, 1):
            await until(lambda: operator.heard[before:] != [])

    run(story())


def test_no_more_wait_than_there_is_room_for() -> None:
    async def story() -> None:
        room = Operator().room(requests_of_version=2, bytes_in_all=100)
        async with room.held(DIGITS, 10), room.held(DIGITS, 10):
            with pytest.raises(Refused, match="too many requests wait for ModelDeployment digits") as refused:
                async with room.held(DIGITS, 10):
                    pass
            assert refused.value.is_full
            with pytest.raises(Refused):
                async with room.held(PETS, 81):
                    pass
            async with room.held(PETS, 80):
                assert room.requests == 3
        assert room.requests == 0

    run(story())


def test_requests_hear_when_waiting_is_in_vain_and_later_ones_wait_again() -> None:
    async def story() -> None:
        operator = Operator()
        room = operator.room()
        async with room.held(DIGITS, 1) as ticket:
            operator.unavailable = "version 1 of model digits cannot start"
            with pytest.raises(Refused, match="version 1 of model digits cannot start") as refused:
                await ticket.unless_refused(asyncio.sleep(LONGEST))
            assert not refused.value.is_full
            operator.unavailable = ""
            await until(lambda: len(operator.heard) > 5)
            async with room.held(DIGITS, 1) as later:
                assert await later.unless_refused(asyncio.sleep(0.1, "an answer")) == "an answer"

    run(story())


def test_an_activator_shows_that_it_is_there_also_when_nothing_waits() -> None:
    async def story() -> None:
        operator = Operator()
        alive = asyncio.create_task(operator.room().alive(every=0.01))
        await until(lambda: len(operator.heard) > 2)
        alive.cancel()
        assert set(operator.heard) == {0}

    run(story())


def test_while_the_operator_is_away_requests_wait() -> None:
    async def story() -> None:
        operator = Operator()
        operator.away = True
        room = operator.room()
        async with room.held(DIGITS, 1) as ticket:
            assert await ticket.unless_refused(asyncio.sleep(0.1, "an answer")) == "an answer"
            operator.away = False
            await until(lambda: operator.heard != [])

    run(story())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        HEADERS | {names.BACKEND_HEADER: "kubernetes.default.svc.cluster.local"},
        HEADERS | {names.BACKEND_HEADER: "digits-v1-0a1b2c3d.other.svc.cluster.local"},
        HEADERS | {names.BACKEND_HEADER: "pets-v1-0a1b2c3d.vision.svc.cluster.local"},
        HEADERS | {names.BACKEND_HEADER: "digits-v1-0a1b2c3d.vision.example.com"},
        HEADERS | {names.BACKEND_HEADER: "digits-v1-0a1b2c3d.vision.svc.attacker.example"},
        HEADERS | {names.BACKEND_HEADER: "169.254.169.254"},
        HEADERS | {names.BACKEND_HEADER: f"{HOST}:22"},
        HEADERS | {names.BACKEND_HEADER: f"{HOST}/../"},
        HEADERS | {names.MODEL_DEPLOYMENT_HEADER: "digits"},
    ],
    ids=str,
)
def test_nothing_but_a_version_of_the_named_model_is_reached(headers: dict[str, str]) -> None:
    assert backend_of(HEADERS) == (DIGITS, HOST)
    assert backend_of(headers) is None


# -- gRPC --------------------------------------------------------------------------------------------------------------


def test_calls_wait_for_the_version_and_are_passed_on_once_with_what_the_client_said() -> None:
    async def story() -> None:
        port, operator = free_port(), Operator()
        async with front(operator, port) as ask:
            asked = [asyncio.create_task(ask()) for _ in range(100)]
            await until(lambda: 100 in operator.heard)
            async with serving(port) as version:
                assert set(await asyncio.gather(*asked)) == {b"answer to a picture"}
            assert len(version.asked) == 100
            method, metadata = version.asked[0]
            assert (method, metadata["x-request-id"]) == (methods.PREDICT, "7")
            assert not HEADERS.keys() & metadata.keys()

    run(story())


async def _goes_on_after_the_operator_says_no(operator: Operator, asked: "asyncio.Task[Any]") -> None:
    operator.unavailable = "the version for which this request waited is not served any more"
    before = len(operator.heard)
    await until(lambda: len(operator.heard) > before + 3)
    assert not asked.done()


def test_a_call_that_was_passed_on_gets_its_answer_whatever_becomes_of_its_version() -> None:
    """The version is replaced, and its pods drain: they finish what they have."""

    async def story() -> None:
        port, operator = free_port(), Operator()
        async with front(operator, port) as ask, serving(port) as version:
            version.answers.clear()
            asked = asyncio.create_task(ask())
            await until(lambda: version.asked != [])
            await _goes_on_after_the_operator_says_no(operator, asked)
            version.answers.set()
            assert await asked == b"answer to a picture"

    run(story())


def test_a_call_without_a_deadline_hears_as_by_rest_for_what_it_waited_and_how_long() -> None:
    async def story() -> None:
        async with front(Operator(), free_port(), 0.3) as ask:
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await ask()
            assert (late.value.code(), late.value.details()) == (
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "no pod of ModelDeployment digits answered within 0.3 s",
            )

    run(story())


def test_a_call_ends_with_its_deadline_and_one_that_the_version_refuses_with_its_words() -> None:
    async def story() -> None:
        port = free_port()
        async with front(Operator(), port) as ask:
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await ask(0.3)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            async with serving(port) as version:
                version.fails = True
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask()
                assert (refused.value.code(), refused.value.details()) == (
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "not a picture",
                )
                assert len(version.asked) == 1

    run(story())


def test_calls_that_wait_in_vain_are_unavailable_with_the_reason_and_too_many_are_refused() -> None:
    async def story() -> None:
        operator = Operator()
        async with front(operator, free_port(), requests_of_version=1) as ask:
            first = asyncio.create_task(ask())
            await until(lambda: operator.heard != [])
            with pytest.raises(grpc.aio.AioRpcError) as full:
                await ask()
            assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            operator.unavailable = "version 1 of model digits cannot start: its files are corrupt"
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await first
            assert (refused.value.code(), refused.value.details()) == (
                grpc.StatusCode.UNAVAILABLE,
                operator.unavailable,
            )
            with pytest.raises(grpc.aio.AioRpcError) as stranger:
                await ask(x_fovea_backend="kubernetes.default.svc.cluster.local")
            assert stranger.value.code() is grpc.StatusCode.UNIMPLEMENTED

    run(story())


def test_a_client_that_leaves_is_not_waited_for() -> None:
    async def story() -> None:
        operator = Operator()
        async with front(operator, free_port()) as ask:
            leaves = asyncio.create_task(ask())
            await until(lambda: 1 in operator.heard)
            leaves.cancel()
            await until(lambda: operator.heard[-1] == 0)

    run(story())


# -- REST --------------------------------------------------------------------------------------------------------------


def test_rest_waits_too_and_every_end_has_its_code() -> None:
    async def story() -> None:
        port, own, operator, heard = free_port(), free_port(), Operator(), []

        async def predict(request: web.Request) -> web.Response:
            heard.append((request.path_qs, await request.text(), request.headers.get(names.BACKEND_HEADER)))
            return web.json_response({"predictions": [1]}, status=200)

        model = web.Application()
        model.router.add_post("/v1/models/digits:predict", predict)
        async with aiohttp.ClientSession() as client, rest_front.session() as session:
            rest = RestFront(operator.room(), session, LONGEST, lambda _: f"http://127.0.0.1:{port}")
            url = f"http://127.0.0.1:{own}/v1/models/digits:predict?trace=1"

            async def post(**headers: str) -> tuple[int, Any]:
                given = HEADERS | {key.replace("_", "-"): value for key, value in headers.items()}
                async with client.post(url, data='{"instances": [1]}', headers=given) as answer:
                    return answer.status, json.loads(await answer.text())

            async with site(rest.runner(), own):
                waits = asyncio.create_task(post())
                await until(lambda: operator.heard != [])
                async with site(web.AppRunner(model), port):
                    assert await waits == (200, {"predictions": [1]})
                assert heard == [("/v1/models/digits:predict?trace=1", '{"instances": [1]}', None)]
                assert (await post(x_fovea_backend="elsewhere"))[0] == 404
                operator.unavailable = "its files are corrupt"
                assert await post() == (503, {"error": "its files are corrupt"})
                operator.unavailable = ""
                leaves = asyncio.create_task(post())
                await until(lambda: 1 in operator.heard[-3:])
                leaves.cancel()
                await until(lambda: operator.heard[-1] == 0)

    run(story())


def test_a_request_by_rest_that_was_passed_on_gets_its_answer_whatever_becomes_of_its_version() -> None:
    async def story() -> None:
        port, operator, reached, answers = free_port(), Operator(), asyncio.Event(), asyncio.Event()

        async def predict(_: web.Request) -> web.Response:
            reached.set()
            await answers.wait()
            return web.Response(text="an answer")

        model = web.Application()
        model.router.add_post("/predict", predict)

        async def post() -> str:
            async with client.post(f"{url}/predict", data=b"a picture", headers=HEADERS) as answer:
                return await answer.text()

        async with (
            aiohttp.ClientSession() as client,
            rest_activator(operator, port) as url,
            site(web.AppRunner(model), port),
        ):
            # The second one by the connection of the first.
            for _ in range(2):
                operator.unavailable = ""
                await until(lambda: operator.heard == [] or operator.heard[-1] == 0)
                asked = asyncio.create_task(post())
                await reached.wait()
                await _goes_on_after_the_operator_says_no(operator, asked)
                answers.set()
                assert await asked == "an answer"
                reached.clear()
                answers.clear()

    run(story())


def test_a_body_is_passed_on_as_it_is_encoded_in_both_directions() -> None:
    async def story() -> None:
        port, own, operator = free_port(), free_port(), Operator()

        async def predict(request: web.Request) -> web.Response:
            packed = await request.read()
            assert request.headers["Content-Encoding"] == "gzip"
            return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

        model = web.Application()
        model.router.add_post("/predict", predict)
        async with aiohttp.ClientSession(auto_decompress=False) as client, rest_front.session() as session:
            rest = RestFront(operator.room(), session, LONGEST, lambda _: f"http://127.0.0.1:{port}")
            async with site(rest.runner(), own), site(web.AppRunner(model, auto_decompress=False), port):
                sent = gzip.compress(b'{"instances": [1]}')
                headers = HEADERS | {"Content-Encoding": "gzip"}
                async with client.post(f"http://127.0.0.1:{own}/predict", data=sent, headers=headers) as answer:
                    assert (answer.status, await answer.read()) == (200, sent)
                    assert answer.headers["Content-Encoding"] == "gzip"

    run(story())


def test_a_version_to_which_no_connection_comes_about_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where packets to a new pod are dropped until the network knows it."""
    monkeypatch.setattr(rest_front, "_CONNECT_SECONDS", 0.2)

    async def story() -> None:
        own, operator = free_port(), Operator()
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            # A backlog of none takes one connection; the kernel drops the next ones.
            with socket.create_connection(address):
                async with aiohttp.ClientSession() as client, rest_front.session() as session:
                    rest = RestFront(operator.room(), session, 2.0, lambda _: f"http://127.0.0.1:{address[1]}")
                    async with site(rest.runner(), own):
                        begun = asyncio.get_running_loop().time()
                        async with client.get(f"http://127.0.0.1:{own}/", headers=HEADERS) as answer:
                            assert answer.status == 504
                        assert asyncio.get_running_loop().time() - begun > 1.5

    run(story())


def test_a_report_says_what_is_wrong_with_it() -> None:
    said = WaitingReport("vision", "digits", "digits-v1-aaaa", 3)
    assert WaitingReport.from_json(said.to_json()) == said
    assert WaitingReport.from_json("{}") == WaitingReport()
    for text in (
        "[]",
        '{"namespace": 1, "name": "a", "requests": 1}',
        '{"namespace": "a", "name": "b", "requests": "c"}',
    ):
        with pytest.raises(ValueError, match=r"not a JSON object|malformed|has namespace"):
            WaitingReport.from_json(text)
