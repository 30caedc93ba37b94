"""Progress from the operator's memory: a ticket shows its own job's report, and nothing else is shown."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import pytest
from aiohttp.test_utils import TestClient, TestServer
from fovea_api.contract.report import MAX_TICKETS, PROGRESS_PATH, TICKETS_HEADER, ProgressReport
from fovea_api.v1alpha1.live_progress import LiveAnswer
from fovea_operator.cluster.live import Allowance, LiveReports
from fovea_operator.cluster.progress import Reports, Sender
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings

T = TypeVar("T")
DIGITS = Sender("vision", "digits-chief-0-0", "digits-pod")
SECRET = Sender("secrets", "merger-chief-0-0", "merger-pod")
NOTHING = '{"found":{}}'


class Answer(NamedTuple):
    status: int
    text: str

    @property
    def found(self) -> Any:
        return json.loads(self.text)["found"]


def with_operator(act: Callable[[Operator, Callable[..., Awaitable[Answer]]], Awaitable[T]]) -> T:
    """Do something with an operator and `ask(*tickets)`, a question to its port for progress."""

    async def run() -> T:
        operator = Operator(Settings())
        async with TestClient(TestServer(operator._report_application())) as client:

            async def ask(*tickets: str, method: str = "GET", **headers: str) -> Answer:
                sent = {TICKETS_HEADER: ",".join(tickets), **headers} if tickets else headers
                answer = await client.request(method, PROGRESS_PATH, headers=sent)
                return Answer(answer.status, await answer.text())

            return await act(operator, ask)

    return asyncio.run(run())


def put(operator: Operator, sender: Sender, report: ProgressReport) -> str:
    """The agent's report; the ticket for it."""
    operator._reports.put(sender, report, asyncio.get_running_loop().time())
    return operator._reports.ticket(sender.uid)


REPORT = ProgressReport(
    step=90,
    steps=450,
    epoch=2,
    epochs=10,
    metrics={"loss": 0.3},
    checkpoint_step=80,
    checkpoint_digest="sha256:ab",
    checkpoint_time="2026-01-01T00:00:00Z",
    store_unreachable_since="2026-01-01T00:00:00Z",
    last_words="what the pod left",
)


def test_a_ticket_shows_what_a_status_would_show_of_the_newest_report() -> None:
    async def act(operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> Answer:
        return await ask(put(operator, DIGITS, REPORT))

    answer = with_operator(act)
    assert answer.status == 200
    [shown] = answer.found.values()
    assert shown.pop("ageSeconds") < 60
    assert shown == {
        "progress": {
            "summary": "90/450",
            "step": 90,
            "steps": 450,
            "epoch": 2,
            "epochs": 10,
            "metrics": {"loss": 0.3},
        },
        "checkpoint": {"step": 80, "digest": "sha256:ab", "time": "2026-01-01T00:00:00Z"},
    }
    LiveAnswer.model_validate_json(answer.text)


def test_a_list_is_asked_for_with_one_ticket_per_job() -> None:
    async def act(operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> tuple[str, str, Answer]:
        one, two = put(operator, DIGITS, ProgressReport(step=1)), put(operator, SECRET, ProgressReport(step=2))
        return one, two, await ask(one, "unknown", " " + two)

    one, two, answer = with_operator(act)
    assert {ticket: shown["progress"]["step"] for ticket, shown in answer.found.items()} == {one: 1, two: 2}


def wrong(operator: Operator) -> dict[str, str]:
    """Tickets that show nothing, by why."""
    ticket, other = put(operator, DIGITS, REPORT), put(operator, SECRET, REPORT)
    operator._reports.forget(DIGITS.uid)
    return {
        "of a pod that is gone": ticket,
        "part of one": other[:-1],
        "in another case": other.swapcase(),
        "the pod's uid": SECRET.uid,
        "the pod's name": SECRET.pod,
        "of nothing": "AAAAAAAAAAAAAAAAAAAAAA",
        "of another operator, as after a new start": put(Operator(Settings()), SECRET, REPORT),
    }


def test_every_ticket_that_shows_nothing_has_the_same_answer_whether_or_not_there_is_a_job() -> None:
    async def act(operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> dict[str, Answer]:
        return {why: await ask(ticket) for why, ticket in wrong(operator).items()}

    assert {why: answer for why, answer in with_operator(act).items() if answer != Answer(200, NOTHING)} == {}


def test_a_standby_has_no_reports_to_show() -> None:
    async def act(_operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> Answer:
        return await ask("a-ticket-that-the-leader-gave")

    assert with_operator(act) == Answer(200, NOTHING)


@pytest.mark.parametrize("tickets", [(), ("",), (",", " "), ("t",) * (MAX_TICKETS + 1)], ids=range(4))
def test_without_tickets_or_with_too_many_nothing_is_looked_up(tickets: tuple[str, ...]) -> None:
    async def act(operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> Answer:
        put(operator, DIGITS, REPORT)
        return await ask(*tickets)

    answer = with_operator(act)
    assert (answer.status, "digits" in answer.text) == (400, False)


def test_a_users_or_a_pods_token_is_not_what_is_asked_for() -> None:
    async def act(operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> Answer:
        return await ask(Authorization=f"Bearer {put(operator, DIGITS, REPORT)}")

    assert with_operator(act).status == 400


def test_a_ticket_does_not_let_its_holder_report() -> None:
    async def act(operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> list[int]:
        ticket = put(operator, DIGITS, REPORT)
        bearer = await ask(ticket, method="POST", Authorization=f"Bearer {ticket}")
        return [(await ask(ticket, method=method)).status for method in ("POST", "PUT", "DELETE")] + [bearer.status]

    assert with_operator(act) == [401, 405, 405, 403]


def test_as_many_tickets_as_are_taken_fit_into_the_header_that_the_server_takes() -> None:
    async def act(operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> Answer:
        return await ask(*(put(operator, Sender("vision", f"p{n}", f"u{n}"), REPORT) for n in range(MAX_TICKETS)))

    assert len(with_operator(act).found) == MAX_TICKETS


def test_whoever_asks_too_often_is_told_to_try_again() -> None:
    async def act(_operator: Operator, ask: Callable[..., Awaitable[Answer]]) -> list[int]:
        many = ("t",) * MAX_TICKETS
        return [(await ask(*many)).status for _ in range(60)]

    codes = with_operator(act)
    assert (codes[0], codes[-1], set(codes)) == (200, 429, {200, 429})


def test_an_allowance_refills_with_time_up_to_its_burst() -> None:
    allowance = Allowance(rate=10, burst=20)
    assert [allowance.take(15, 100.0), allowance.take(15, 100.0), allowance.take(15, 101.0)] == [True, False, True]
    assert [allowance.take(20, 1000.0), allowance.take(1, 1000.0), allowance.take(21, 9999.0)] == [True, False, False]


def test_a_report_that_says_the_same_again_is_as_new_as_it_is() -> None:
    reports = Reports(5, lambda *_: None)
    for now in (0.0, 30.0):
        reports.put(DIGITS, REPORT, now)
    ticket = reports.ticket(DIGITS.uid)
    [shown] = LiveReports(reports).answer([ticket], 34.0).found.values()
    assert shown.age_seconds == 4.0


def test_a_pod_keeps_its_ticket_and_each_pod_has_another() -> None:
    reports = Reports(5, lambda *_: None)
    tickets = []
    for sender, step in ((DIGITS, 1), (DIGITS, 2), (SECRET, 1)):
        reports.put(sender, ProgressReport(step=step), 0.0)
        tickets.append(reports.ticket(sender.uid))
    assert tickets[0] == tickets[1] != tickets[2]
    assert min(map(len, tickets)) >= 22  # 128 random bits
    assert reports.ticket("no-pod") == ""
    for uid in (DIGITS.uid, SECRET.uid, "no-pod"):
        reports.forget(uid)
    assert (reports._latest, reports._uids) == ({}, {})


def test_of_a_report_with_anything_in_it_only_what_a_status_could_hold_is_shown() -> None:
    odd = ProgressReport.from_json(
        json.dumps({"step": 7, "steps": -1, "metrics": {"loss": float("nan"), **{f"m{n}": n for n in range(900)}}})
    )
    reports = Reports(5, lambda *_: None)
    reports.put(DIGITS, odd, 0.0)
    [shown] = LiveReports(reports).answer([reports.ticket(DIGITS.uid)], 0.0).found.values()
    assert shown.progress is not None
    assert (shown.progress.step, shown.progress.steps, len(shown.progress.metrics or {})) == (7, None, 64)
    assert shown.progress.metrics_left_out == 837
