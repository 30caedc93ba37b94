"""When members of a distributed job fail: which failure is the cause, and who begins another attempt."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.training import cause
from fovea_operator.reconcile.training.decide import decide_job
from fovea_operator.reconcile.training.view import View
from support.decision_table import RUNNING, summary
from support.members import of
from support.observations import SETTINGS, after, at, ended, job, observed, preparing, running

CHIEF, FIRST, SECOND, SERVER = Member(), Member("worker", 0), Member("worker", 1), Member("ps", 0)
DRAINED = {"deleting": True, "told_to_end": at(50), "deletion_deadline": at(650)}


def over(code: int, finished: float, **fields: Any) -> PodRecord:
    """A pod whose program ended with a code at a time."""
    pod = ended(code=code, **fields)
    trainer = replace(pod.containers[names.TRAINER_CONTAINER], finished=at(finished))
    return replace(pod, containers={**pod.containers, names.TRAINER_CONTAINER: trainer})


def servers(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    """A chief, two workers and a parameter server."""
    roles = {"worker": {"count": 2}, "ps": {"count": 1}}
    return job(status, distribution="ParameterServer", roles=roles, **spec)


def mirrored(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    """A chief and two workers with all weights each."""
    return job(status, distribution="MultiWorkerMirrored", roles={"worker": {"count": 2}}, **spec)


def decide(of_job: TrainingJob, *pods: PodRecord, now: float = 60, **seen: Any) -> Decision:
    return decide_job(observed(of_job, *pods, **seen), at(now), SETTINGS)


LIVE = running()
CASES: dict[str, tuple[dict[Member, PodRecord | None], float, str]] = {
    "a worker ran out of memory, and the others lost it": (
        {CHIEF: over(75, 52), FIRST: over(137, 50), SECOND: over(75, 51)},
        60,
        "worker-0",
    ),
    "a worker found bad data, and the others lost it": (
        {CHIEF: over(75, 50), FIRST: over(75, 51), SECOND: over(1, 50)},
        60,
        "worker-1",
    ),
    "a program of another make ends with 1 when it has lost a worker": (
        {CHIEF: over(1, 52), FIRST: over(137, 50), SECOND: over(1, 51)},
        60,
        "worker-0",
    ),
    "an error long before a crash": (
        {CHIEF: over(134, 59), FIRST: over(1, 50), SECOND: LIVE},
        60,
        "worker-0",
    ),
    "the chief's node is drained, and the workers have lost it": (
        {CHIEF: replace(LIVE, **DRAINED), FIRST: over(75, 55), SECOND: over(75, 56)},
        57,
        "chief-0",
    ),
    "a worker's pod was evicted, and the chief ended with an error of its own": (
        {CHIEF: over(1, 52), FIRST: over(143, 50, reason="Evicted", disrupted="eviction"), SECOND: LIVE},
        60,
        "worker-0",
    ),
    "the chief's pod is gone, and the workers have lost it": (
        {CHIEF: None, FIRST: over(75, 55), SECOND: over(75, 56)},
        57,
        "chief-0",
    ),
    "all ask for a restart, and nothing else happens": (
        {CHIEF: over(75, 52), FIRST: over(75, 53), SECOND: over(75, 54)},
        62,
        "chief-0",
    ),
}


def view_of(pods: dict[Member, PodRecord | None], now: float) -> View:
    there = [of(member, pod) for member, pod in pods.items() if pod is not None]
    return View.of(observed(mirrored(RUNNING), *there), at(now), SETTINGS)


@pytest.mark.parametrize("case", CASES)
def test_what_came_first_is_the_cause(case: str) -> None:
    pods, now, member = CASES[case]
    found = cause.find(view_of(pods, now))
    assert isinstance(found, cause.Cause)
    assert found.member.member.key == member


def test_a_request_for_a_restart_waits_for_an_explanation() -> None:
    pods: dict[Member, PodRecord | None] = {CHIEF: LIVE, FIRST: over(75, 50), SECOND: LIVE}
    assert cause.find(view_of(pods, 55)) == at(60)
    explained = {**pods, SECOND: over(137, 48)}
    found = cause.find(view_of(explained, 55))
    assert not isinstance(found, datetime)
    assert found is not None
    assert found.member.member.key == "worker-1"
    waits = decide(mirrored(RUNNING), *(of(member, pod) for member, pod in pods.items() if pod), now=55)
    assert (waits.status, waits.requeue_at) == (None, at(60))


def test_the_drain_of_a_chief_is_no_retry_whatever_its_workers_say() -> None:
    pods, now, _ = CASES["the chief's node is drained, and the workers have lost it"]
    found = decide(mirrored(RUNNING), *(of(member, pod) for member, pod in pods.items() if pod), now=now)
    assert (summary(found)["retries"], summary(found)["disruptions"]) == (None, 1)
    assert (found.status or {})["lastFailure"]["member"] == "chief-0"
    assert summary(found)["attempts"] == {"chief-0": 1, "worker-0": 1, "worker-1": 1}


ALL = {"chief-0": 1, "worker-0": 1, "worker-1": 1, "ps-0": 1}


@pytest.mark.parametrize(
    ("spec", "failed", "attempts"),
    [
        ({}, FIRST, {"chief-0": 0, "worker-0": 1}),
        ({}, SERVER, ALL),
        ({}, CHIEF, ALL),
        ({"sync": True}, FIRST, ALL),
        ({"runPolicy": {"restartScope": "Job"}}, FIRST, ALL),
        ({"runPolicy": {"restartScope": "Role"}}, FIRST, {"chief-0": 0, "worker-0": 1, "worker-1": 1}),
        ({"runPolicy": {"restartScope": "Replica"}}, SERVER, {"chief-0": 0, "ps-0": 1}),
        ({"runPolicy": {"restartScope": "Replica"}}, CHIEF, {"chief-0": 1}),
    ],
    ids=lambda value: str(value) if not isinstance(value, Member) else value.key,
)
def test_the_restart_scope_says_who_begins_again(
    spec: dict[str, Any], failed: Member, attempts: dict[str, int]
) -> None:
    pods = [of(each, over(137, 50) if each == failed else LIVE) for each in (CHIEF, FIRST, SECOND, SERVER)]
    found = decide(servers(RUNNING, **spec), *pods)
    assert summary(found)["attempts"] == attempts
    assert summary(found)["retries"] == 1
    stopped = {f"digits-{each.key}-0" for each in (CHIEF, FIRST, SECOND, SERVER) if each.key in attempts} - {
        f"digits-{failed.key}-0"
    }
    again = {key for key, attempt in attempts.items() if attempt}
    assert set(summary(found)["deletes"]) == {name for name in stopped if name.removeprefix("digits-")[:-2] in again}


def test_a_worker_begins_again_beside_the_others() -> None:
    pods = [of(CHIEF, LIVE), of(SECOND, LIVE), of(SERVER, LIVE)]
    failed = of(FIRST, over(137, 50))
    first = decide(servers(RUNNING), failed, *pods)
    status = first.status or {}
    assert status["state"] == "RUNNING", "the job goes on"
    begins = status["nextAttemptTimes"]["worker-0"]
    assert "nextAttemptTime" not in status
    assert status["message"] == (
        "Attempt 0 of worker-0 failed: the program ended with exit code 137. "
        f"Retry 1 of 3 starts at {begins}. The others go on."
    )

    waiting = after(servers(RUNNING), first)
    pause = decide(waiting, failed, *pods, now=55)
    assert summary(pause)["creates"] == []
    assert f"The next attempt of worker-0 starts at {begins}." in (pause.status or waiting.status.dump())["message"]
    assert pause.requeue_at is not None
    assert pause.requeue_at <= datetime.fromisoformat(begins)

    made = decide(waiting, failed, *pods, now=120)
    assert summary(made)["creates"] == ["digits-pods", "digits-pods", "digits-worker-0-1"]
    assert made.status is None, "nothing is said of a job that goes on"

    there = decide(waiting, failed, of(FIRST, preparing(1)), *pods, now=121)
    assert "nextAttemptTimes" not in (there.status or {}), "it was seen"
    seen = after(waiting, there)
    lost = decide(seen, failed, *pods, now=130)
    assert summary(lost)["disruptions"] == 1, "and its loss is noticed"


def test_a_worker_that_fails_for_good_ends_the_job() -> None:
    found = decide(servers(RUNNING), of(CHIEF, LIVE), of(FIRST, over(1, 50)), of(SECOND, LIVE), of(SERVER, LIVE))
    assert summary(found)["state"] == "FAILED"
    assert "worker-0: the program ended with exit code 1." in (found.status or {})["message"]


def test_a_worker_whose_pod_is_refused_leaves_the_job_running() -> None:
    status = RUNNING | {
        "attempts": {"chief-0": 0, "worker-0": 1},
        "nextAttemptTimes": {"worker-0": "2026-11-21T10:00:30Z"},
    }
    pods = [of(CHIEF, LIVE), of(SECOND, LIVE), of(SERVER, LIVE), of(FIRST, over(137, 20))]
    said = (
        'pods "digits-worker-0-1" is forbidden: exceeded quota: team, requested: pods=1, used: pods=3, limited: pods=3'
    )
    found = decide(servers(status), *pods, refused=said, now=120)
    assert summary(found)["state"] == "RUNNING"
    assert "exceeded quota: team" in (found.status or {})["message"]


def test_a_suspension_forgets_the_pause_of_a_worker() -> None:
    status = RUNNING | {
        "attempts": {"chief-0": 0, "worker-0": 1},
        "nextAttemptTimes": {"worker-0": "2026-11-21T10:02:00Z"},
    }
    gone = [of(each, over(143, 70, deleting=True)) for each in (CHIEF, SECOND, SERVER)]
    found = decide(servers(status | {"suspending": True}, suspend=True), *gone, of(FIRST, over(137, 50)), now=80)
    assert "nextAttemptTimes" not in (found.status or {})
    assert "Suspended" in summary(found)["conditions"]
