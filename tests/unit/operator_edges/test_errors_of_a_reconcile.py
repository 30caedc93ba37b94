"""What every kind of error in a reconcile leads to."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fovea_operator import errors
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.left_out import LeftOut, Named
from fovea_operator.cluster.queue import Again, Backoff, Schedule
from fovea_operator.reconcile.shared.decision import Child, Decision, Write
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.settings import Settings
from support.kinds import POD
from support.reconciled import DIGITS, World, job, pod, whole


def condition(kind: str) -> dict[str, Any]:
    told = {"type": kind, "status": "True", "reason": kind, "message": ""}
    return {**told, "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}


def test_a_refused_child_is_told_in_the_status_and_tried_again_later() -> None:
    refusals: list[str] = []

    def decide(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
        refusals.append(observed.refused)
        if observed.refused:
            return Decision(children=(Child(Write.CREATE, pod()),), status={"message": observed.refused})
        return whole(observed, now, settings)

    world = World(decide)
    world.know(job())
    world.server.fail = lambda call: errors.Refused("exceeded quota", code=403) if call == "create Pod" else None
    failure, calls = world.work()
    assert failure == Again(0)
    assert calls == ["create Pod", "patch TrainingJob/status"]
    assert refusals == ["", "exceeded quota"]
    assert world.status == {"message": "exceeded quota"}
    world.server.fail = None
    failure, calls = world.work()
    assert failure is None
    assert calls[:2] == ["create Pod", "patch TrainingJob/status"]


def test_a_refusal_whose_words_vary_is_not_tried_again_before_its_back_off() -> None:
    tries = 0

    def refuse(call: str) -> Exception | None:
        nonlocal tries
        tries += call == "create Pod"
        return errors.Refused(f"exceeded quota, used: {tries}", code=403) if call == "create Pod" else None

    def decide(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
        again = whole(observed, now, settings)
        return replace(again, status={"message": observed.refused}, deletions=()) if observed.refused else again

    world = World(decide)
    world.know(job())
    world.server.fail = refuse
    schedule: Schedule[Key] = Schedule(Backoff(1, 60))
    schedule.add(DIGITS, 0)
    for second in range(60):
        world.queued.clear()
        while (item := schedule.take(second)) is not None:
            failure, _ = world.work(item[0])
            for key in world.queued:
                schedule.add(key, second)
            assert failure is not None
            schedule.failed(item[0], second)
            assert tries <= 10, "not once in a second"
    assert tries == 6  # at 0, 1, 3, 7, 15 and 31 s
    assert world.status == {"message": "exceeded quota, used: 6"}


@pytest.mark.parametrize(("due", "at_most"), [(30, 30.0), (-5, 0.0), (None, None)])
def test_a_deadline_of_a_refused_job_is_kept(due: int | None, at_most: float | None) -> None:
    def decide(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
        again = whole(observed, now, settings)
        return replace(again, requeue_at=None if due is None else now + timedelta(seconds=due))

    world = World(decide)
    world.know(job())
    world.server.fail = lambda call: errors.Refused("exceeded quota", code=403) if call == "create Pod" else None
    assert world.work()[0] == Again(at_most=at_most)


@pytest.mark.parametrize(
    ("error", "back"),
    [
        (errors.Conflict("out of date", code=409), Again()),
        (errors.Overtaken("the number is taken", code=409), Again(at_once=True)),
        (errors.Transient("slow down", code=429, retry_after=9), Again(9)),
    ],
)
def test_a_transient_error_stops_the_decision_and_comes_back(error: Exception, back: Again) -> None:
    world = World(whole)
    world.know(job())
    world.server.fail = lambda call: error if call == "create Pod" else None
    failure, calls = world.work()
    assert failure == back
    assert calls == ["create Pod"]
    assert world.status == {}


@pytest.mark.parametrize("call", ["patch TrainingJob/status", "delete Pod"])
def test_a_refused_status_or_deletion_is_an_error_of_its_own(call: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World(whole)
    world.know(job())
    refusal = errors.Refused("forbidden (PATCH /apis/fovea.dev/v1alpha1/x: 403)", code=403)
    world.server.fail = lambda made: refusal if made == call else None
    failure, _ = world.work()
    assert failure == Again()
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert vars(record)["key"] == "TrainingJob team/digits"
    assert "PATCH" in vars(record)["error"]
    assert 'outcome="refused"' in world.metrics.text().decode()


def test_a_job_that_went_away_meanwhile_is_no_failure() -> None:
    world = World(whole)
    world.know(job())
    world.server.fail = lambda call: errors.Gone("no such job", code=404) if "status" in call else None
    failure, _ = world.work()
    assert failure is None


def test_a_defect_is_told_on_the_object_once_and_tried_again() -> None:
    broken = True

    def decide(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
        if broken:
            raise ZeroDivisionError
        return whole(observed, now, settings)

    world = World(decide)
    world.know(job(status={"state": "RUNNING"}))
    failure, calls = world.work()
    assert failure == Again()
    assert calls == ["patch TrainingJob/status"]
    assert world.status["state"] == "RUNNING"
    (condition,) = world.status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Admitted", "Unknown", "InternalError")
    assert "ZeroDivisionError" in condition["message"]
    _, calls = world.work()
    assert calls == []
    broken = False
    failure, _ = world.work()
    assert failure is None
    assert world.status["state"] == "PREPARING"


@pytest.mark.parametrize(
    "rest",
    [
        {"status": {"state": "SUCCEEDED", "message": "Succeeded: the output is published."}},
        {
            "spec": {"trainer": {"container": {"image": "a:1"}}, "suspend": True},
            "status": {"state": "QUEUED", "conditions": [condition("Suspended")], "message": "Suspended: no pod runs."},
        },
    ],
)
def test_a_defect_is_not_told_on_a_job_whose_status_nobody_would_correct(rest: dict[str, Any]) -> None:
    def decide(*_: Any) -> Decision:
        raise ZeroDivisionError

    world = World(decide)
    world.know(job(**rest))
    failure, calls = world.work()
    assert failure == Again()
    assert calls == []
    assert world.status == rest["status"]


def test_an_object_that_cannot_be_read_gets_a_condition_once_and_keeps_its_pods() -> None:
    world = World(whole)
    stored = world.know(job(status={"state": "RUNNING", "conditions": []}))
    world.know(pod())
    stored["spec"]["trainer"]["container"]["image"] = 7
    world.know(stored)
    failure, calls = world.work()
    assert failure is None
    assert calls == ["get TrainingJob", "patch TrainingJob/status"]
    (condition,) = world.status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Admitted", "False", "InvalidSpec")
    assert "spec.trainer.container.image" in condition["message"]
    assert world.status["state"] == "RUNNING"
    _, calls = world.work()
    assert calls == ["get TrainingJob"]


@pytest.mark.parametrize(
    ("error", "seconds", "looks", "then"),
    [
        (errors.Refused("exceeded quota", code=403), 0.0, None, ["create Pod"]),
        (errors.Refused("exceeded quota", code=403), 30.0, None, []),
        (errors.NotOurs("another owner has the name"), 30.0, None, []),
        (errors.Refused("failed calling webhook", code=500), 30.0, 0.5, []),
        (errors.Transient("no answer in time", code=504), 30.0, 0.5, []),
        (errors.Transient("too many requests", code=429, retry_after=7), 30.0, 7, []),
    ],
    ids=["after a while", "not at each decision", "a name", "a webhook", "no answer", "as the server asks"],
)
def test_an_optional_child_that_is_refused_has_a_clock_of_its_own_and_its_owner_none(
    error: errors.ApiError,
    seconds: float,
    looks: float | None,
    then: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its owner fails for nothing of it: a back-off of the owner would put off a rollback."""
    monkeypatch.setattr("fovea_operator.cluster.left_out.LASTING_SECONDS", seconds)
    children = (Child(Write.CREATE, pod(), is_optional=True),)
    world = World(lambda *_: Decision(children=children, status={"state": "RUNNING"}))
    world.know(job())
    world.server.fail = lambda call: error if call == "create Pod" else None
    assert world.work() == (None, ["create Pod", "patch TrainingJob/status"])
    assert world.requeued[DIGITS] == (looks and pytest.approx(looks, abs=0.2))
    world.server.fail = None
    assert world.work() == (None, then)


def test_an_optional_child_that_a_webhook_holds_up_is_tried_ever_later_until_it_is_there() -> None:
    left_out, named, error = (
        LeftOut(Backoff(0.5, 60)),
        Named("Pod", "team", "one"),
        errors.Refused("a webhook", code=500),
    )
    waits, now = [], 0.0
    for _ in range(9):
        left_out.put(named, error, now)
        waits.append(left_out.again(named, now))
        assert left_out.is_held(named, now + 0.4)
        now += 60
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert (left_out.said(named), left_out.is_held(named, now)) == ("a webhook", False)
    left_out.drop(named)
    assert (left_out.said(named), left_out.again(named, now)) == ("", None)
    left_out.put(named, error, now)
    left_out.put(Named("Pod", "team", "other"), error, now + 1000)
    assert left_out.said(named) == "", "what nobody wants any more is forgotten"


@pytest.mark.parametrize(
    ("error", "looks"),
    [
        (errors.Gone("no such pod", code=404), None),
        (errors.Conflict("another uid", code=409), None),
        (errors.Refused("may not be changed", code=422), None),
        (errors.Refused("failed calling webhook", code=500), 0.5),
    ],
    ids=lambda item: str(getattr(item, "code", "")),
)
def test_a_pod_that_cannot_be_changed_does_not_hurt_its_job(error: errors.ApiError, looks: float | None) -> None:
    metadata = {"namespace": "team", "name": "digits-chief-0-0", "uid": "pod-uid"}
    patch = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"activeDeadlineSeconds": 60}}
    children = (Child(Write.PATCH, patch, is_optional=True), Child(Write.CREATE, pod("digits-worker-0-0")))
    world = World(lambda *_: Decision(children=children, status={"state": "RUNNING"}))
    world.know(job())
    world.server.fail = lambda call: error if call == "patch Pod" else None
    assert world.work() == (None, ["patch Pod", "create Pod", "patch TrainingJob/status"])
    assert world.status["state"] == "RUNNING"
    assert world.requeued[DIGITS] == (looks and pytest.approx(looks, abs=0.2))


def test_what_does_not_need_a_refused_child_is_written_all_the_same() -> None:
    children = tuple(Child(Write.CREATE, pod(name), is_needed=False) for name in ("refused-0", "other-1", "refused-2"))
    world = World(lambda observed, *_: Decision(children=() if observed.refused else children))
    world.know(job())
    create = world.server.create

    async def picky(manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["metadata"]["name"].startswith("refused"):
            raise errors.Refused(manifest["metadata"]["name"], code=403)
        return await create(manifest)

    world.server.create = picky  # type: ignore[method-assign]
    again, _ = world.work()
    assert again == Again(0), "the first refusal is the one that is reported"
    assert (POD, "other-1") in world.server.objects
