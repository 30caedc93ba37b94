"""The endpoint from which a sidecar reads the log of its own pod."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fovea_api.contract import names
from fovea_api.contract.report import LOG_PATH
from fovea_operator.cluster import pod_logs
from fovea_operator.cluster.pod_logs import LogDesk
from fovea_operator.cluster.progress import Doorkeeper, Sender
from fovea_operator.errors import ApiError, Refused, Transient

NAME = "digits-worker-1-0"


def token() -> str:
    claims = json.dumps({"aud": [names.REPORT_TOKEN_AUDIENCE]}).encode()
    return f"eyJhbGciOiJSUzI1NiJ9.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


async def review(_token: str, _audience: str) -> dict[str, Any]:
    extra = {"authentication.kubernetes.io/pod-name": [NAME], "authentication.kubernetes.io/pod-uid": ["p1"]}
    user = {"username": "system:serviceaccount:team:default", "extra": extra}
    return {"authenticated": True, "audiences": [names.REPORT_TOKEN_AUDIENCE], "user": user}


class Kubelet:
    """What it has of logs, and what it was asked for; `breaks` in the middle, `refuses` at once, or waits for `opened`."""

    def __init__(self, breaks: ApiError | None = None, refuses: ApiError | None = None) -> None:
        self.breaks, self.refuses = breaks, refuses
        self.asked: list[tuple[str, str, str]] = []
        self.opened = asyncio.Event()
        self.opened.set()

    @asynccontextmanager
    async def read(self, namespace: str, pod: str, container: str, _lines: int) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append((namespace, pod, container))
        if self.refuses is not None:
            raise self.refuses
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"1 epoch 1\n"
        await self.opened.wait()
        if self.breaks is not None:
            raise self.breaks
        yield b"2 epoch 2\n"


def client_of(kubelet: Kubelet, known: bool = True) -> TestClient[web.Request, web.Application]:
    application = web.Application()
    desk = LogDesk(Doorkeeper(review), lambda sender: known and sender == Sender("team", NAME, "p1"), kubelet.read)
    application.router.add_get(LOG_PATH, desk.get)
    return TestClient(TestServer(application))


HEADERS = {"Authorization": f"Bearer {token()}"}


def asked(kubelet: Kubelet, path: str = LOG_PATH, known: bool = True, **headers: str) -> tuple[int, str]:
    async def run() -> tuple[int, str]:
        async with client_of(kubelet, known) as client:
            answer = await client.get(path, headers=headers)
            return answer.status, await answer.text()

    return asyncio.run(run())


def test_a_sidecar_gets_the_log_of_its_own_pod_whatever_it_asks_for() -> None:
    kubelet = Kubelet()
    path = f"{LOG_PATH}?namespace=other&pod=secret&container=vault"
    assert asked(kubelet, path, **HEADERS) == (200, "1 epoch 1\n2 epoch 2\n")
    assert kubelet.asked == [("team", NAME, names.TRAINER_CONTAINER)]


def test_nobody_else_gets_a_log() -> None:
    kubelet = Kubelet()
    assert asked(kubelet)[0] == 401
    assert asked(kubelet, known=False, **HEADERS)[0] == 403
    assert asked(kubelet, Authorization="Bearer no.such.token")[0] == 403
    assert kubelet.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(Refused("container trainer is waiting to start", code=400), 404), (Transient("no answer"), 503)],
)
def test_a_log_that_is_not_there_is_said(error: ApiError, status: int) -> None:
    assert asked(Kubelet(refuses=error), **HEADERS)[0] == status


def test_a_log_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        asked(Kubelet(breaks=Transient("the kubelet went away")), **HEADERS)


def test_few_logs_go_through_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "AT_ONCE", 1)

    async def run() -> list[int]:
        kubelet = Kubelet()
        kubelet.opened.clear()
        async with client_of(kubelet) as client:
            first = await client.get(LOG_PATH, headers=HEADERS)  # its first piece is here
            second = await client.get(LOG_PATH, headers=HEADERS)
            kubelet.opened.set()
            await first.read()
            third = await client.get(LOG_PATH, headers=HEADERS)
            await third.read()
            return [first.status, second.status, third.status]

    assert asyncio.run(run()) == [200, 429, 200]
