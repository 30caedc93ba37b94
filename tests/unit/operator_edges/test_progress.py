"""Progress reports: which pod they are of, when they are forgotten, and what the endpoint answers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from fovea_api.contract import labels, names
from fovea_api.contract.report import PROGRESS_PATH, ProgressAnswer, ProgressReport
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.progress import Desk, Doorkeeper, Reports, Sender
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.observed import Heard, Pace
from fovea_operator.reconcile.training import stopping
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from support.kinds import POD, TRAINING_JOB

NAME = "digits-chief-0-0"


class World:
    """A cache, and the reports of its pods."""

    def __init__(self) -> None:
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.reports = Reports(5, lambda *_: None)
        self.jobs = TrainingJobs(self.cache, self.reports)
        self.intake = Intake(self.cache, Kinds(self.jobs), lambda _key: None)
        self.intake.on_removed(self.reports.forget)

    def progress(self) -> ProgressReport | None:
        """What a decision on the job sees."""
        observed = self.jobs.observe(self.jobs.key("team", "digits"), "")
        assert observed is not None
        kept = self.reports.shown(observed.ticket)
        assert observed.progress == (kept.report if kept is not None else None)
        return observed.progress

    def answer_to(self, sender: Sender) -> ProgressAnswer | None:
        entry = self.cache.pods.get(sender.namespace, sender.pod)
        return stopping.answer(entry.record) if entry is not None and entry.uid == sender.uid else None


def job(uid: str, version: int) -> dict[str, Any]:
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "namespace": "team", "uid": uid, "resourceVersion": str(version)},
        "spec": {"trainer": {"container": {"image": "a:1"}}},
    }


def pod(uid: str, owner: str, version: int) -> dict[str, Any]:
    reference = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "name": "digits", "uid": owner}
    metadata = {
        "name": NAME,
        "namespace": "team",
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{**reference, "controller": True}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}}


def test_a_namesake_does_not_show_the_progress_of_the_job_before_it() -> None:
    world = World()
    world.intake.seen(TRAINING_JOB, job("old", 1))
    world.intake.seen(POD, pod("old-pod", "old", 2))
    world.reports.put(Sender("team", NAME, "old-pod"), ProgressReport(step=120), 0)
    assert world.progress() == ProgressReport(step=120)
    world.intake.seen(TRAINING_JOB, job("new", 3))
    world.intake.seen(POD, pod("new-pod", "new", 4))
    assert world.progress() is None
    # The last word of the old pod, on its way since before: it is not the new one's either.
    world.reports.put(Sender("team", NAME, "old-pod"), ProgressReport(step=130), 1)
    assert world.progress() is None
    world.reports.put(Sender("team", NAME, "new-pod"), ProgressReport(step=1), 1)
    assert world.progress() == ProgressReport(step=1)


@pytest.mark.parametrize(
    "end",
    [
        lambda intake: intake.event(POD, "DELETED", pod("old-pod", "old", 3)),
        lambda intake: intake.gone(POD, "team", NAME, "old-pod", 3),
        lambda intake: intake.seen(POD, pod("new-pod", "new", 4)),
    ],
    ids=["deleted", "missing in a list", "replaced"],
)
def test_a_report_is_forgotten_when_its_pod_is_gone(end: Callable[[Intake], None]) -> None:
    world = World()
    world.intake.seen(POD, pod("old-pod", "old", 2))
    world.reports.put(Sender("team", NAME, "old-pod"), ProgressReport(step=7), 0)
    world.intake.seen(POD, {**pod("old-pod", "old", 3), "status": {"phase": "Succeeded"}})
    assert world.reports.latest("old-pod") == ProgressReport(step=7)
    end(world.intake)
    assert world.reports.latest("old-pod") is None


def verdict(**changes: Any) -> dict[str, Any]:
    """What the API server says of the pod's token."""
    extra = {"authentication.kubernetes.io/pod-name": [NAME], "authentication.kubernetes.io/pod-uid": ["p1"]}
    user = {"username": "system:serviceaccount:team:default", "extra": extra}
    return {"authenticated": True, "audiences": [names.REPORT_TOKEN_AUDIENCE], "user": user, **changes}


def token(audiences: Any = (names.REPORT_TOKEN_AUDIENCE,), number: int = 0, **more: Any) -> str:
    """What looks like a service account's token."""
    claims = json.dumps({"aud": audiences, "jti": number} | more).encode()
    return f"eyJhbGciOiJSUzI1NiJ9.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


def post(world: World, body: Callable[[], bytes]) -> tuple[int, str]:
    """Status and text of the endpoint's answer to a report whose body comes only after the token was reviewed."""
    reviewed = asyncio.Event()

    async def review(_token: str, _audience: str) -> dict[str, Any]:
        reviewed.set()
        return verdict()

    async def parts() -> AsyncIterator[bytes]:
        yield b" "
        await reviewed.wait()
        yield body()

    async def run() -> tuple[int, str]:
        desk = Desk(world.reports, Doorkeeper(review), world.answer_to)
        async with TestClient(TestServer(desk.application())) as client:
            answer = await client.post(PROGRESS_PATH, data=parts(), headers={"Authorization": f"Bearer {token()}"})
            return answer.status, await answer.text()

    return asyncio.run(run())


def test_a_report_of_a_pod_that_went_away_while_it_arrived_is_not_kept() -> None:
    world = World()
    world.intake.seen(POD, pod("p1", "u1", 2))

    def body() -> bytes:
        world.intake.gone(POD, "team", NAME, "p1")
        return ProgressReport(step=7).to_json().encode()

    assert post(world, body)[0] == 403
    assert world.reports.latest("p1") is None


@pytest.mark.parametrize("ended", [False, True])
def test_the_answer_to_a_report_says_whether_the_pods_program_has_ended(ended: bool) -> None:
    world = World()
    state = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:01:00Z"}} if ended else {"running": {}}
    status = {"phase": "Running", "containerStatuses": [{"name": names.TRAINER_CONTAINER, "state": state}]}
    world.intake.seen(POD, {**pod("p1", "u1", 2), "status": status})
    code, text = post(world, lambda: ProgressReport(step=7).to_json().encode())
    assert code == (200 if ended else 204)
    assert ProgressAnswer.from_json(text) == ProgressAnswer(program_ended=ended)


@pytest.mark.parametrize(
    "text", ["", "accepted", "[1]", "null", '{"program_ended": "yes"}', '{"later": 1}', "[" * 9999]
)
def test_an_answer_of_another_release_or_of_a_proxy_says_nothing(text: str) -> None:
    assert ProgressAnswer.from_json(text) == ProgressAnswer()


def test_the_running_operator_forgets_the_reports_of_pods_that_are_gone() -> None:
    async def run() -> ProgressReport | None:
        operator = Operator(Settings())
        operator._intake.seen(POD, pod("p1", "u1", 2))
        operator._reports.put(Sender("team", NAME, "p1"), ProgressReport(step=7), 0)
        operator._intake.gone(POD, "team", NAME, "p1")
        return operator._reports.latest("p1")

    assert asyncio.run(run()) is None


def test_a_job_is_looked_at_once_per_period_with_the_newest_report() -> None:
    woken: list[float] = []
    reports = Reports(5, lambda _namespace, _pod, seconds: woken.append(seconds))
    sender = Sender("team", "digits-chief-0-0", "p1")
    for now, step in ((0.0, 1), (1.0, 2), (2.0, 3), (6.0, 4), (30.0, 5), (31.0, 5)):
        reports.put(sender, ProgressReport(step=step), now)
    # at once; at 5 for the two after it; at 10; at once again after a silence; nothing new at 31
    assert woken == [0.0, 4.0, 4.0, 0.0]
    assert reports.latest("p1") == ProgressReport(step=5)
    reports.forget("p1")
    assert reports.latest("p1") is None


def test_the_running_operator_answers_to_training_pods_only() -> None:
    async def run() -> list[ProgressAnswer | None]:
        operator = Operator(Settings())
        operator._intake.seen(POD, pod("p1", "u1", 2))
        return [operator._senders.answer(Sender("team", NAME, uid)) for uid in ("p1", "another")]

    assert asyncio.run(run()) == [ProgressAnswer(), None]


@pytest.mark.parametrize(
    "refused",
    [
        verdict(authenticated=False),
        verdict(audiences=["another"]),
        verdict(audiences=[]),
        verdict(user={"username": "kubernetes-admin"}),
        verdict(user={"username": "system:serviceaccount:team:default", "extra": {}}),
        {},
    ],
)
def test_only_a_token_bound_to_a_pod_for_our_audience_is_let_in(refused: dict[str, Any]) -> None:
    async def review(_token: str, _audience: str) -> dict[str, Any]:
        return refused

    assert asyncio.run(Doorkeeper(review).sender(token(), 0)) is None


def test_all_jobs_together_cost_no_more_looks_a_second_than_the_rate() -> None:
    looks: list[float] = []
    now = 0.0
    reports = Reports(5, lambda _namespace, _pod, seconds: looks.append(now + seconds), rate=4)
    senders = [Sender("team", f"digits-{n}-chief-0-0", f"p{n}") for n in range(200)]
    for second in range(400):
        now = float(second)
        for sender in senders:
            reports.put(sender, ProgressReport(step=second), now)
    assert reports.period == 50
    steady = [look for look in looks if 100 <= look < 300]
    assert len(steady) / 200 <= 4
    assert len(looks) - len(steady) > 200, "each of them is looked at again and again"


def test_pods_that_have_ended_do_not_slow_down_the_others() -> None:
    reports = Reports(5, lambda *_: None, rate=1)
    for number in range(100):
        reports.put(Sender("team", f"pod-{number}", f"p{number}"), ProgressReport(step=1), 0)
    assert reports.period == 100
    for number in range(99):
        reports.ended(f"p{number}")
    assert reports.period == 5
    assert reports.latest("p3") == ProgressReport(step=1), "the decision on its end still reads it"


NEWS = {
    "a checkpoint": {"checkpoint_step": 100, "checkpoint_digest": "sha256:0"},
    "the end of the program": {"publishing": True},
    "the last words": {"last_words": "{}"},
    "a store that is away": {"store_unreachable_since": "2026-11-21T10:00:00Z"},
    "something that is not published": {"left_out": "model: it is unreadable"},
}


@pytest.mark.parametrize("what", NEWS)
def test_what_is_more_than_a_number_is_looked_at_at_once(what: str) -> None:
    woken: list[float] = []
    reports = Reports(50, lambda _namespace, _pod, seconds: woken.append(seconds))
    sender = Sender("team", "digits-chief-0-0", "p1")
    reports.put(sender, ProgressReport(step=1), 0.0)
    reports.put(sender, ProgressReport(step=2), 1.0)
    reports.put(sender, ProgressReport(step=3, metrics={"loss": 0.5}), 2.0)
    assert woken == [0.0, 49.0]
    reports.put(sender, ProgressReport(step=3, **NEWS[what]), 3.0)
    assert woken == [0.0, 49.0, 0.0]


def test_a_store_that_goes_and_comes_back_all_the_time_costs_twice_what_numbers_cost_and_its_last_turn_is_seen() -> (
    None
):
    looks: dict[str, list[float]] = {f"digits-{n}-chief-0-0": [] for n in range(200)}
    now = 0.0
    reports = Reports(5, lambda _namespace, pod, seconds: looks[pod].append(now + seconds), rate=4)
    turns = ("", "2026-11-21T10:00:00Z")
    for second in range(0, 405, 5):
        now = float(second)
        for number, pod in enumerate(looks):
            report = ProgressReport(step=second, store_unreachable_since=turns[second // 5 % 2])
            reports.put(Sender("team", pod, f"p{number}"), report, now)
    steady = [look for of_pod in looks.values() for look in of_pod if 100 <= look < 300]
    assert len(steady) / 200 <= 2 * 4 * 1.05
    assert all(now <= max(of_pod) <= now + reports.period for of_pod in looks.values())


@pytest.mark.parametrize(
    ("claims", "seconds"),
    [({"exp": 1_000_000 + 3_600}, 3_600), ({}, 300), ({"exp": "soon"}, 300), ({"exp": 10**400}, 300)],
)
def test_a_good_verdict_holds_until_the_token_ends(claims: dict[str, Any], seconds: float) -> None:
    asked: list[str] = []

    async def review(token: str, audience: str) -> dict[str, Any]:
        asked.append(token)
        return verdict()

    async def run() -> None:
        door = Doorkeeper(review, wall_clock=lambda: 1_000_000)
        await door.sender(token(**claims), 0)
        await door.sender(token(**claims), seconds - 1)
        assert len(asked) == 1
        await door.sender(token(**claims), seconds + 1)

    asyncio.run(run())
    assert len(asked) == 2


def test_a_verdict_is_asked_for_once_and_again_when_it_is_old() -> None:
    asked: list[str] = []

    async def review(token: str, audience: str) -> dict[str, Any]:
        asked.append(audience)
        return verdict()

    async def run() -> None:
        door = Doorkeeper(review)
        for now in (0, 299, 301):
            assert await door.sender(token(), now) == Sender("team", "digits-chief-0-0", "p1")

    asyncio.run(run())
    assert asked == [names.REPORT_TOKEN_AUDIENCE] * 2


class Reviewer:
    """Says yes to the tokens of GOOD, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def review(self, token: str, _audience: str) -> dict[str, Any]:
        self.asked.append(token)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return verdict() if token in GOOD else {}


GOOD = {token(number=number) for number in range(10)}


@pytest.mark.parametrize(
    "stranger",
    [
        "nonsense",
        "a.b.c",
        "a.é.c",
        "a.\udcff.c",
        "..",
        token("somebody-else"),
        token(["https://kubernetes.default.svc"]),
        token(None),
        f"a.{base64.urlsafe_b64encode(b'[1]').decode()}.c",
        f"a.{base64.urlsafe_b64encode(b'[' * 5000).decode()}.c",
    ],
)
def test_a_token_that_is_not_for_us_by_its_own_words_costs_no_review(stranger: str) -> None:
    reviewer = Reviewer()
    assert asyncio.run(Doorkeeper(reviewer.review).sender(stranger, 0)) is None
    assert reviewer.asked == []


@pytest.mark.parametrize("audiences", [names.REPORT_TOKEN_AUDIENCE, [names.REPORT_TOKEN_AUDIENCE, "other"]])
def test_a_token_names_its_audiences_as_one_or_as_many(audiences: Any) -> None:
    async def review(_token: str, _audience: str) -> dict[str, Any]:
        return verdict()

    assert asyncio.run(Doorkeeper(review).sender(token(audiences), 0)) == Sender("team", NAME, "p1")


def test_a_flood_of_made_up_tokens_is_reviewed_a_few_at_a_time_and_drives_no_pod_out() -> None:
    reviewer = Reviewer()

    async def run() -> None:
        door = Doorkeeper(reviewer.review)
        for good in GOOD:
            assert await door.sender(good, 0) is not None
        flood = [door.sender(token(number=number), 1) for number in range(100, 25_100)]
        assert set(await asyncio.gather(*flood)) == {None}
        assert reviewer.most_at_once <= 8
        reviewer.asked.clear()
        for good in GOOD:
            assert await door.sender(good, 2) is not None
        assert reviewer.asked == []
        assert len(door._refusals) <= 2_000

    asyncio.run(run())


def test_one_token_that_comes_many_times_at_once_is_not_reviewed_as_often() -> None:
    reviewer = Reviewer()

    async def run(token: str) -> None:
        reviewer.asked.clear()
        door = Doorkeeper(reviewer.review)
        answers = await asyncio.gather(*(door.sender(token, 0) for _ in range(50)))
        assert len(set(answers)) == 1
        assert 1 <= len(reviewer.asked) <= 8

    asyncio.run(run(token(number=1)))
    asyncio.run(run(token(number=100)))


def test_a_refused_token_is_asked_for_again_after_a_short_while() -> None:
    said = iter([{}, verdict()])

    async def review(_token: str, _audience: str) -> dict[str, Any]:
        return next(said)

    async def run() -> list[Sender | None]:
        door = Doorkeeper(review)
        return [await door.sender(token(), now) for now in (0, 9, 11, 200)]

    pod = Sender("team", NAME, "p1")
    assert asyncio.run(run()) == [None, None, pod, pod]


def test_the_pace_of_a_pod_is_known_from_its_reports() -> None:
    world = World()
    world.intake.seen(TRAINING_JOB, job("new", 1))
    world.intake.seen(POD, pod("new-pod", "new", 2))
    for second in range(0, 65, 5):
        world.reports.put(Sender("team", NAME, "new-pod"), ProgressReport(step=10 + 2 * second), second)
    observed = world.jobs.observe(world.jobs.key("team", "digits"), "")
    assert observed is not None
    assert observed.pace == Pace(2.0, 60)
    assert observed.heard == {"new-pod": Heard(ProgressReport(step=130), Pace(2.0, 60))}


def test_numbers_of_a_pod_that_does_not_lead_its_job_cause_no_decision() -> None:
    woken: list[tuple[str, float]] = []
    reports = Reports(
        5, lambda _namespace, pod, seconds: woken.append((pod, seconds)), 1, lambda _, pod: pod == "chief"
    )
    for number in range(20):
        reports.put(Sender("team", f"worker-{number}", f"w{number}"), ProgressReport(step=1), 0)
    assert len(woken) == 20, "the first report says that the agent is there"
    assert reports.period == 5, "the period grows with those that are written for alone"
    woken.clear()
    reports.put(Sender("team", "worker-0", "w0"), ProgressReport(step=2, metrics={"loss": 1.0}), 1)
    assert woken == []
    reports.put(Sender("team", "worker-0", "w0"), ProgressReport(step=2, publishing=True), 2)
    assert woken == [("worker-0", 0.0)]
    woken.clear()
    reports.put(Sender("team", "chief", "c"), ProgressReport(step=1), 3)
    reports.put(Sender("team", "chief", "c"), ProgressReport(step=2), 4)
    assert woken == [("chief", 0), ("chief", 4)]
