"""A model of which an object is refused, maybe for good: its counters are decided on all the same, and its decisions learn of it."""

import asyncio
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_operator.cluster.keys import Key
from fovea_operator.desired.comparator import comparator_service
from fovea_operator.reconcile.shared.decision import Child, Decision, Write
from fovea_operator.reconcile.shared.observed import ServingObserved
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from support.canary_table import shifting
from support.kinds import MODEL_DEPLOYMENT, SERVICE
from support.reconciled import World
from support.rollout_table import candidate, held, stable
from support.serving_observations import model_deployment

DIGITS = Key(MODEL_DEPLOYMENT, "vision", "digits")


@pytest.mark.parametrize(
    ("places", "failed", "woken"),
    [
        ([stable(1), shifting(1, 10)], 0.0, True),
        ([stable(1), candidate(2)], 0.0, False),
        ([stable(1)], 0.0, False),
        ([stable(1)], 6.0, True),
        ([stable(1)], None, True),
    ],
    ids=["a candidate has requests", "it starts", "no candidate", "a few seconds later", "nothing is refused"],
)
def test_a_reading_wakes_it_where_a_rollback_may_follow_and_else_every_few_seconds(
    places: list[dict[str, Any]], failed: float | None, woken: bool
) -> None:
    """`failed`: so many seconds ago an object was refused for the seventh time: its back-off is half a minute."""

    async def run() -> int:
        operator, now = Operator(Settings()), asyncio.get_running_loop().time()
        raw = model_deployment(held(*places)).dump()
        raw["metadata"]["resourceVersion"] = "1"
        operator._cache.model_deployments.put(raw)
        schedule = operator._queue.schedule
        for _ in range(0 if failed is None else 7):
            schedule.add(DIGITS, now)
            schedule.take(now)
            schedule.failed(DIGITS, now - (failed or 0))
        operator._wake_for_traffic(DIGITS)
        return schedule.depth

    assert bool(asyncio.run(run())) is woken


def test_a_decision_learns_that_another_model_has_the_name_of_the_comparator_until_it_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fovea_operator.cluster.left_out.LASTING_SECONDS", 0.0)
    of, name, seen = model_deployment(), names.comparator("digits"), []
    wanted = comparator_service(of)

    def decide(observed: ServingObserved, *_: Any) -> Decision:
        seen.append(dict(observed.left_out))
        return Decision(children=(Child(Write.CREATE, wanted, is_optional=True),))

    world = World(serve=decide)
    world.know(of.dump())
    [owner] = wanted["metadata"]["ownerReferences"]
    world.server.put(
        {**wanted, "metadata": {**wanted["metadata"], "ownerReferences": [owner | {"name": name, "uid": "u"}]}}
    )
    assert world.work(DIGITS) == (None, ["create Service", "get Service"])
    world.work(DIGITS)
    [none, said] = seen
    assert (none, said.keys()) == ({}, {"Service"})
    assert said["Service"].startswith(f"Service vision/{name} exists and is owned by ModelDeployment {name}")
    del world.server.objects[SERVICE, name]
    world.work(DIGITS)
    world.work(DIGITS)
    assert seen[-1] == {}
