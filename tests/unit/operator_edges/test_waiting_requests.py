"""What decides on the number of pods, as it is read: requests under way at the proxies, and requests that wait at the activator."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fovea_api.contract.waiting import WAITING_PATH, WaitingAnswer, WaitingReport
from fovea_operator.cluster.envoy import Counts, Service
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.load import LoadWindow
from fovea_operator.cluster.progress import Sender
from fovea_operator.cluster.waiting import Waiting, WaitingRoom
from support.kinds import MODEL_DEPLOYMENT

DIGITS = Key(MODEL_DEPLOYMENT, "vision", "digits")
V1, V2 = Service("vision", "digits-v1-aaaa"), Service("vision", "digits-v2-bbbb")
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def test_a_request_is_seen_while_it_is_under_way_and_by_the_count_of_those_that_were_quick() -> None:
    window = LoadWindow((V1,), stabilization=60)
    window.add(later(0), {V1: Counts(begun=100)})
    assert (window.load("").last_request, window.load("").begun) == (None, T0)
    window.add(later(1), {V1: Counts(begun=101)})
    assert window.load("").last_request == later(1)
    window.add(later(2), {V1: Counts(begun=101, active=1)})
    window.add(later(3), {V1: Counts(begun=101)})
    load = window.load("a trouble")
    assert (load.last_request, [sample.active for sample in load.samples]) == (later(2), [0, 0, 1, 0])
    assert load.trouble == "a trouble"


def test_requests_of_all_versions_are_added_up_and_a_new_version_has_no_past() -> None:
    window = LoadWindow((V1,), stabilization=60)
    window.add(later(0), {V1: Counts(begun=5)})
    window.name((V1, V2))
    window.add(later(1), {V1: Counts(begun=5), V2: Counts(begun=7_000)})
    assert window.load("").last_request is None
    window.add(later(2), {V1: Counts(begun=5, active=2), V2: Counts(begun=7_000, active=3)})
    assert window.load("").samples[-1].active == 5


def test_no_more_readings_are_kept_than_the_decision_goes_by() -> None:
    window = LoadWindow((V1,), stabilization=10)
    for second in range(200):
        window.add(later(second), {V1: Counts()})
    assert len(window.samples) == 71
    assert window.load("").begun == T0
    window.add(later(600), {V1: Counts()})
    assert [sample.time for sample in window.samples] == [later(199), later(600)], (
        "the last one before holds until then"
    )


def test_a_reading_that_says_nothing_new_is_decided_on_now_and_then() -> None:
    window = LoadWindow((V1,), stabilization=10)
    news = []
    for second, active in enumerate([0, 0, 0, 0, 0, 0, 4, 4, 4]):
        window.add(later(second), {V1: Counts(active=active)})
        news.append(window.is_news)
    assert news == [True, False, False, False, True, False, True, False, False]


def test_what_several_activators_hold_is_one_number_until_they_are_silent() -> None:
    waiting = Waiting()
    assert waiting.put(DIGITS, "a", 3, 100.0)
    assert waiting.put(DIGITS, "b", 1, 101.0)
    assert not waiting.put(DIGITS, "b", 1, 102.0)
    held = waiting.of(DIGITS, 103.0)
    assert held is not None
    assert held.requests == 4
    assert waiting.put(DIGITS, "a", 0, 103.0)
    held = waiting.of(DIGITS, 104.0)
    assert held is not None
    assert held.requests == 1
    assert waiting.of(DIGITS, 107.1) is None, "the other one has ended"


def test_activators_are_there_once_heard_and_away_once_silent() -> None:
    waiting = Waiting()
    assert [waiting.answers(now) for now in (100.0, 114.9, 115.0)] == [None, None, False]
    waiting.heard(120.0)
    assert [waiting.answers(now) for now in (120.0, 134.9, 135.0)] == [True, True, False]


@dataclass
class Door:
    """Knows one token."""

    sender: Sender | None = field(
        default_factory=lambda: Sender("fovea-system", "fovea-activator-1", "u1", "fovea-activator")
    )

    async def sender_of(self, request: web.Request, now: float) -> Sender | web.Response | None:
        del request, now
        return self.sender


def post(body: str, door: Any, **known: str) -> tuple[int, str, list[Key]]:
    """Code, text, and the keys that are decided on because of it; `known`: ModelDeployments, and why they are not available."""
    woken: list[Key] = []

    async def story() -> tuple[int, str]:
        room = WaitingRoom(
            Waiting(),
            door,
            "fovea-system/fovea-activator",
            lambda namespace, name: Key(MODEL_DEPLOYMENT, namespace, name) if name in known else None,
            lambda key, version: known[key.name] if version == V1.name else "replaced",
            woken.append,
        )
        application = web.Application()
        application.router.add_post(WAITING_PATH, room.post)
        async with TestClient(TestServer(application)) as client:
            answer = await client.post(WAITING_PATH, data=body)
            return answer.status, await answer.text()

    return (*asyncio.run(story()), woken)


REPORT = WaitingReport("vision", "digits", V1.name, 3).to_json()


def test_a_report_wakes_its_model_and_hears_whether_it_can_start() -> None:
    code, text, woken = post(REPORT, Door(), digits="")
    assert (code, WaitingAnswer.from_json(text), woken) == (200, WaitingAnswer(), [DIGITS])
    _, text, _ = post(WaitingReport("vision", "digits", V2.name, 3).to_json(), Door(), digits="")
    assert WaitingAnswer.from_json(text).unavailable == "replaced"
    assert post(WaitingReport().to_json(), Door())[0] == 200
    _, text, _ = post(REPORT, Door(), digits="its files are corrupt")
    assert WaitingAnswer.from_json(text).unavailable == "its files are corrupt"
    _, text, woken = post(REPORT, Door())
    assert WaitingAnswer.from_json(text).unavailable == "ModelDeployment digits does not exist in vision"
    assert woken == []


@pytest.mark.parametrize(
    ("body", "sender", "code"),
    [
        (REPORT, None, 403),
        (REPORT, Sender("vision", "p", "u", "fovea-activator"), 403),
        (REPORT, Sender("fovea-system", "p", "u", "default"), 403),
        ("[]", Door().sender, 400),
        ("{", Door().sender, 400),
        ('{"namespace": 7}', Door().sender, 400),
    ],
    ids=["a stranger", "of another namespace", "of another account", "a list", "no JSON", "half a report"],
)
def test_only_the_activator_reports_and_only_what_can_be_read(body: str, sender: Sender | None, code: int) -> None:
    found, _, woken = post(body, Door(sender), digits="")
    assert (found, woken) == (code, [])
