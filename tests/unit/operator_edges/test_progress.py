"""Progress reports: which pod they are of, when they are forgotten, and what the endpoint answers."""

import asyncio
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
from support.pod_tokens import NAME, token, verdict


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


def test_the_running_operator_answers_to_training_pods_only() -> None:
    async def run() -> list[ProgressAnswer | None]:
        operator = Operator(Settings())
        operator._intake.seen(POD, pod("p1", "u1", 2))
        return [operator._senders.answer(Sender("team", NAME, uid)) for uid in ("p1", "another")]

    assert asyncio.run(run()) == [ProgressAnswer(), None]


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
