"""Pods whose job is gone, or is another one of the same name: they have to end soon."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision, Deletion
from support.kinds import POD, TRAINING_JOB
from support.reconciled import DIGITS, World, job, pod


def test_the_pods_of_a_job_that_is_gone_are_deleted_with_the_short_grace() -> None:
    world = World(lambda *_: Decision())
    stored = world.know(job())
    world.know(pod())
    world.know(pod("digits-chief-0-1", owner="another job"))
    world.intake.event(TRAINING_JOB, "DELETED", stored)
    assert world.queued[-1] == DIGITS
    graces: list[Any] = []
    delete = world.server.delete

    async def noted(item: Deletion) -> dict[str, Any]:
        graces.append(item.grace_seconds)
        return await delete(item)

    world.server.delete = noted  # type: ignore[method-assign]
    _, calls = world.work()
    assert calls == ["delete Pod", "delete Pod"]
    assert graces == [7, 7]
    assert world.requeued == {DIGITS: None}
    _, calls = world.work()
    assert calls == []


@pytest.mark.parametrize(("seconds", "calls"), [(600, ["delete Pod"]), (7, [])])
def test_a_pod_that_the_garbage_collector_deleted_first_gets_the_short_grace_too(
    seconds: int, calls: list[str]
) -> None:
    world = World(lambda *_: Decision())
    stored = world.know(job())
    orphan = pod()
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    orphan["metadata"] |= {"deletionTimestamp": times.text(ends), "deletionGracePeriodSeconds": seconds}
    world.know(orphan)
    world.intake.event(TRAINING_JOB, "DELETED", stored)
    assert world.work()[1] == calls


def test_the_pods_of_a_namesake_before_it_are_ended_when_a_job_is_looked_at() -> None:
    world = World(lambda *_: Decision())
    world.know(job())
    world.know(pod("digits-chief-0-7", owner="the job before"))
    world.know(pod())
    _, calls = world.work()
    assert calls == ["delete Pod"]
    assert "deletionTimestamp" in world.server.objects[POD, "digits-chief-0-7"]["metadata"]
