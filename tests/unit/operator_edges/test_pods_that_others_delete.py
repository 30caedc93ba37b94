"""Somebody deletes the pods of a job as soon as they are made: a policy engine, a script."""

from typing import Any

from fovea_operator.reconcile.training.decide import decide_job
from support.kinds import POD
from support.reconciled import DIGITS, World, job, pod

MACHINE: dict[str, Any] = {
    "apiVersion": "fovea.dev/v1alpha1",
    "kind": "MachineType",
    "metadata": {"name": "standard"},
    "spec": {"cpu": "1", "memory": "1Gi", "default": True},
}


def deleted_by_others(world: World) -> None:
    """All pods go before a node has taken them: an API server reports only that they are gone."""
    for (gvk, name), raw in list(world.server.objects.items()):
        if gvk == POD:
            del world.server.objects[gvk, name]
            later = {**raw["metadata"], "resourceVersion": str(int(raw["metadata"]["resourceVersion"]) + 1)}
            world.server._version += 1
            world.intake.event(POD, "DELETED", {**raw, "metadata": later})


def test_a_pod_that_goes_before_it_is_seen_is_made_again_after_a_pause_and_the_status_says_so() -> None:
    world = World(decide_job)
    world.know(MACHINE)
    world.know(job())
    made = 0
    for _ in range(5):
        _, calls = world.work()
        made += calls.count("create Pod")
        deleted_by_others(world)
    assert made == 1, "the next look is after the pause"
    assert (world.status["attempts"], world.status["disruptions"]) == ({"chief-0": 1}, 1)
    assert world.status["message"].startswith(
        "Attempt 0 was disrupted: the pod is gone, and no report says how it ended"
    )
    assert (world.requeued[DIGITS] or 0) > 9


def test_the_pod_of_a_retry_that_goes_before_it_is_seen_is_followed_by_the_next_attempt() -> None:
    world = World(decide_job)
    world.know(MACHINE)
    between = {"attempts": {"chief-0": 1}, "nextAttemptTime": "2026-01-01T00:00:00Z", "disruptions": 1}
    world.know({**job(), "status": {"state": "QUEUED", **between}})
    assert "create Pod" in world.work()[1]
    deleted_by_others(world)
    assert "create Pod" not in world.work()[1]
    assert (world.status["attempts"], world.status["disruptions"]) == ({"chief-0": 2}, 2)


def test_a_pod_of_an_earlier_attempt_that_goes_says_nothing_of_this_one() -> None:
    world = World(decide_job)
    world.know(MACHINE)
    world.know(
        {**job(), "status": {"state": "QUEUED", "attempts": {"chief-0": 1}, "nextAttemptTime": "2026-01-01T00:00:00Z"}}
    )
    world.know(pod())
    deleted_by_others(world)
    assert "create Pod" in world.work()[1]
    assert world.status["attempts"] == {"chief-0": 1}
