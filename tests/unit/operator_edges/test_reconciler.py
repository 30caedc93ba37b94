"""One reconcile: the order of its writes, and what of a status is written."""

from datetime import datetime
from typing import Any

import pytest
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.queue import Again, Backoff, Schedule
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.settings import Settings
from support.kinds import TRAINING_JOB
from support.reconciled import DIGITS, World, job, pod, whole


def counts(**of: int) -> dict[str, int]:
    return {"pending": 0, "active": 0, "succeeded": 0, "failed": 0, **of}


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


def test_no_requeue_time_takes_the_one_before_back() -> None:
    world = World(lambda *_: Decision())
    world.know(job())
    world.work()
    assert world.requeued == {DIGITS: None}


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
