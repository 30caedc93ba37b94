"""One reconcile: the order of its writes, and what every kind of error leads to."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fovea_operator import errors
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.queue import Again, Backoff, Schedule
from fovea_operator.reconcile.shared.decision import Child, Decision, Deletion, Event, Write
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.settings import Settings
from support.kinds import POD, TRAINING_JOB
from support.reconciled import DIGITS, World, job, pod


def condition(kind: str) -> dict[str, Any]:
    told = {"type": kind, "status": "True", "reason": kind, "message": ""}
    return {**told, "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}


def counts(**of: int) -> dict[str, int]:
    return {"pending": 0, "active": 0, "succeeded": 0, "failed": 0, **of}


def whole(observed: JobObserved, now: datetime, _: Settings) -> Decision:
    return Decision(
        children=(Child(Write.CREATE, pod()),),
        status={"state": "PREPARING", "observedGeneration": 1},
        deletions=(Deletion(POD, "team", "old", "u9", 30),),
        events=(Event("Normal", "PodCreated", "a pod was made"),),
        requeue_at=now + timedelta(seconds=12),
    )


def test_children_come_first_then_one_status_then_deletions_then_events() -> None:
    world = World(whole)
    world.know(job())
    failure, calls = world.work()
    assert failure is None
    assert calls == ["create Pod", "patch TrainingJob/status", "delete Pod", "announce PodCreated"]
    assert world.requeued == {DIGITS: 12.0}


def test_a_decision_that_changes_nothing_writes_nothing() -> None:
    world = World(whole)
    world.know(job())
    world.work()
    _, calls = world.work()
    assert calls == ["delete Pod", "announce PodCreated"]


def test_the_answer_to_an_own_status_write_is_what_the_next_decision_sees() -> None:
    seen: list[Any] = []

    def decide(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
        seen.append(observed.job.status.state)
        return whole(observed, now, settings)

    world = World(decide)
    world.know(job())
    world.work()
    world.work()
    assert seen == [None, "PREPARING"]


def test_of_a_status_only_what_changes_is_written() -> None:
    patches: list[Any] = []
    world = World(lambda *_: Decision(status={"state": "RUNNING", "roles": {"chief": counts(active=1)}}))
    world.know(job(status={"state": "RUNNING", "message": "over", "roles": {"chief": counts(pending=1)}}))
    patch = world.server.merge_status

    async def noted(*call: Any) -> dict[str, Any]:
        patches.append(call[-1])
        return await patch(*call)

    world.server.merge_status = noted  # type: ignore[method-assign]
    world.work()
    assert patches == [{"message": None, "roles": {"chief": {"pending": 0, "active": 1}}}]
    assert world.status == {"state": "RUNNING", "roles": {"chief": counts(active=1)}}


def test_a_default_that_the_status_does_not_have_yet_is_written() -> None:
    world = World(lambda *_: Decision(status={"state": "RUNNING", "roles": {"chief": counts(active=1)}}))
    world.know(job(status={"state": "QUEUED", "roles": {"chief": {"active": 1}}}))
    world.work()
    assert world.status == {"state": "RUNNING", "roles": {"chief": counts(active=1)}}


def test_a_status_that_is_there_but_for_defaults_is_not_written() -> None:
    status = {"state": "RUNNING", "roles": {"chief": {"active": 1}}}
    world = World(lambda *_: Decision(status=status))
    world.know(job(status=status))
    assert world.work() == (None, [])


def test_a_status_is_not_written_over_an_object_that_has_changed_since() -> None:
    world = World(lambda *_: Decision(status={"state": "RUNNING"}))
    stored = world.know(job())
    newer = world.server.put({**stored, "status": {"state": "PREPARING"}})
    world.work()
    assert world.status == {"state": "PREPARING"}
    world.intake.event(TRAINING_JOB, "MODIFIED", newer)
    assert world.work()[0] is None
    assert world.status == {"state": "RUNNING"}, "decided anew, on what is there"


def test_a_change_that_no_watch_reports_does_not_hold_up_the_status() -> None:
    world = World(lambda *_: Decision(status={"state": "RUNNING"}))
    stored = world.know(job())
    world.server.put({**stored, "metadata": {**stored["metadata"], "annotations": {"somebody": "wrote"}}})
    assert world.work() == (Again(at_once=True), ["patch TrainingJob/status", "get TrainingJob"])
    assert world.work() == (None, ["patch TrainingJob/status"])
    assert world.status == {"state": "RUNNING"}


def test_an_object_that_went_back_asks_for_a_comparison() -> None:
    world = World(lambda *_: Decision(status={"state": "RUNNING"}))
    asked: list[Any] = []
    world.intake.relisted = asked.append
    backup = world.server.put(job())
    world.know(job())
    world.server.objects[TRAINING_JOB, "digits"] = backup
    world.work()
    assert asked == [TRAINING_JOB]


def test_somebody_who_writes_an_object_without_end_has_its_status_written_less_and_less_often() -> None:
    world = World(lambda *_: Decision(status={"state": "RUNNING"}))
    stored = world.know(job())
    merge = world.server.merge_status

    async def overtaken(*args: Any) -> Any:
        world.server.put(stored)
        return await merge(*args)

    world.server.merge_status = overtaken  # type: ignore[method-assign]
    schedule: Schedule[Key] = Schedule(Backoff(1, 60))
    delays = []
    for _ in range(4):
        schedule.add(DIGITS, 0)
        schedule.take(0)
        again, calls = world.work()
        assert calls == ["patch TrainingJob/status", "get TrainingJob"]
        assert again is not None
        delays.append(schedule.failed(DIGITS, 0, at_once=again.at_once))
    assert delays == [0, 2, 4, 8]


def while_its_pod_is_written(change: dict[str, Any]) -> tuple[World, Again | None]:
    """A decision to make a pod, while somebody changes the job, and the watch is quick to say so."""
    world = World(whole)
    stored = world.know(job())
    create = world.server.create

    async def changed_meanwhile(manifest: dict[str, Any]) -> dict[str, Any]:
        world.intake.event(TRAINING_JOB, "MODIFIED", world.server.put({**stored, **change}))
        return await create(manifest)

    world.server.create = changed_meanwhile  # type: ignore[method-assign]
    return world, world.work()[0]


def test_a_status_that_another_operator_writes_during_a_decision_is_decided_on_first() -> None:
    world, failure = while_its_pod_is_written({"status": {"state": "RUNNING"}})
    assert failure == Again(at_once=True)
    assert world.status == {"state": "RUNNING"}


def test_an_edit_of_the_spec_during_a_decision_does_not_hold_up_its_status() -> None:
    world, failure = while_its_pod_is_written({"spec": {**job()["spec"], "suspend": True}})
    assert failure is None
    assert world.status["state"] == "PREPARING"


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


def test_the_own_status_write_does_not_queue_its_key_neither_by_the_answer_nor_by_the_watch() -> None:
    world = World(whole)
    world.know(job())
    patch = world.server.merge_status

    async def watched_first(*call: Any) -> dict[str, Any]:
        answer = await patch(*call)
        world.intake.event(TRAINING_JOB, "MODIFIED", answer)
        return answer

    for how in (patch, watched_first):
        world.server.merge_status = how  # type: ignore[method-assign]
        world.server.objects[TRAINING_JOB, "digits"]["status"] = {}
        world.know(world.server.objects[TRAINING_JOB, "digits"])
        world.know(pod())
        world.queued.clear()
        _, calls = world.work()
        assert "patch TrainingJob/status" in calls
        assert world.queued == []


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


@pytest.mark.parametrize("edit", [{"spec": {"suspend": True}}, {"status": {"message": "somebody's"}}])
def test_somebody_elses_change_in_the_answer_to_a_status_write_queues_the_key(edit: dict[str, Any]) -> None:
    world = World(lambda *_: Decision(status={"state": "PREPARING"}))
    world.know(job())
    patch = world.server.merge_status

    async def edited_before(*call: Any) -> dict[str, Any]:
        answer = await patch(*call)
        return {**answer, **{part: {**answer[part], **more} for part, more in edit.items()}}

    world.server.merge_status = edited_before  # type: ignore[method-assign]
    world.queued.clear()
    world.work()
    assert world.queued == [DIGITS]


def test_a_status_write_still_queues_the_others_that_wait_for_the_job() -> None:
    world = World(lambda *_: Decision(status={"state": "SUCCEEDED"}))
    world.know(job())
    follower = job()
    follower["metadata"] = {"name": "follower", "namespace": "team", "uid": "u2", "generation": 1}
    follower["spec"] = {**follower["spec"], "inputs": {"data": "job://digits/output"}}
    world.know(follower)
    world.queued.clear()
    world.work()
    assert world.queued == [Key(TRAINING_JOB, "team", "follower")]


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


def test_no_requeue_time_takes_the_one_before_back() -> None:
    world = World(lambda *_: Decision())
    world.know(job())
    world.work()
    assert world.requeued == {DIGITS: None}


@pytest.mark.parametrize(
    ("code", "seconds", "back", "then"),
    [(403, 0.0, None, ["create Pod"]), (403, 30.0, None, []), (500, 30.0, Again(), ["create Pod"])],
    ids=["after a while", "not at each decision", "a webhook that may answer soon"],
)
def test_an_optional_child_is_tried_again_where_its_refusal_may_pass(
    code: int, seconds: float, back: Again | None, then: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fovea_operator.cluster.reconciler.LEFT_OUT_SECONDS", seconds)
    children = (Child(Write.CREATE, pod(), is_optional=True),)
    world = World(lambda *_: Decision(children=children, status={"state": "RUNNING"}))
    world.know(job())
    world.server.fail = lambda call: errors.Refused("a webhook", code=code) if call == "create Pod" else None
    assert world.work() == (back, ["create Pod", "patch TrainingJob/status"])
    world.server.fail = None
    assert world.work() == (None, then)


@pytest.mark.parametrize(
    ("error", "back"),
    [
        (errors.Gone("no such pod", code=404), None),
        (errors.Conflict("another uid", code=409), None),
        (errors.Refused("may not be changed", code=422), None),
        (errors.Refused("failed calling webhook", code=500), Again()),
    ],
    ids=lambda item: str(getattr(item, "code", "")),
)
def test_a_pod_that_cannot_be_changed_does_not_hurt_its_job(error: errors.ApiError, back: Again | None) -> None:
    metadata = {"namespace": "team", "name": "digits-chief-0-0", "uid": "pod-uid"}
    patch = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"activeDeadlineSeconds": 60}}
    children = (Child(Write.PATCH, patch, is_optional=True), Child(Write.CREATE, pod("digits-worker-0-0")))
    world = World(lambda *_: Decision(children=children, status={"state": "RUNNING"}))
    world.know(job())
    world.server.fail = lambda call: error if call == "patch Pod" else None
    assert world.work() == (back, ["patch Pod", "create Pod", "patch TrainingJob/status"])
    assert world.status["state"] == "RUNNING"


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


def test_what_rides_along_is_written_with_a_change_and_never_alone() -> None:
    state = {"state": "RUNNING"}
    progress = {"step": 1}

    def decide(observed: JobObserved, _now: datetime, _: Settings) -> Decision:
        kept = observed.job.status.dump()
        step = {"step": progress["step"]}
        riders = {"members": {"worker-0": {"state": "RUNNING", "attempt": 0, **step}}, "message": None}
        return Decision(status={**kept, **state}, riders=riders)

    world = World(decide)
    world.know(job(status={"state": "QUEUED", "message": "it waits"}))
    assert world.work()[1] == ["patch TrainingJob/status"]
    status = world.cache.jobs.get("team", "digits").record.status.dump()  # type: ignore[union-attr]
    assert (status["members"]["worker-0"]["step"], "message" in status) == (1, False)
    progress["step"] = 2
    assert world.work()[1] == [], "a step alone is no reason to write"
    state["state"] = "FAILED"
    assert world.work()[1] == ["patch TrainingJob/status"]
    status = world.cache.jobs.get("team", "digits").record.status.dump()  # type: ignore[union-attr]
    assert status["members"]["worker-0"]["step"] == 2
