"""What is counted beside a step's requests: those of the stable version before the first step, and answers that are compared."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fovea_operator.cluster.comparators import Comparisons
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared.traffic import Compared, Traffic
from support.canary_table import CANARY, shifting
from support.counted import DIGITS, V1, V2, comparator, watching
from support.observations import SETTINGS, at
from support.reconciled import World
from support.rollout_table import V1 as OLD
from support.rollout_table import V2 as NEW
from support.rollout_table import candidate, held, stable
from support.serving_observations import model_deployment


class Reader:
    """What a decision asks of the reader of the gateway's counts."""

    def __init__(self) -> None:
        self.asked: list[tuple[set[str], bool]] = []

    def look(
        self, _key: Any, deployments: Any, _since: str | None, _comparators: Any = (), *, has_step: bool
    ) -> Traffic:
        self.asked.append((set(deployments), has_step))
        return Traffic()

    def forget(self, _key: Any) -> None:
        self.asked.clear()

    def forget_load(self, _key: Any) -> None:
        return


BOTH = {OLD, NEW}


@pytest.mark.parametrize(
    ("places", "rollout", "asked"),
    [
        ([stable(1), candidate(2)], {"bakeSeconds": 60}, [(BOTH, False)]),
        ([stable(1), candidate(2)], CANARY, [(BOTH, False)]),
        ([stable(1), shifting(1, 10)], CANARY, [(BOTH, True)]),
        ([stable(1), candidate(2)], {}, []),
        ([stable(1), candidate(2)], CANARY | {"analysis": {"minRequests": 0}}, []),
        ([stable(1)], CANARY, []),
        ([candidate(2)], CANARY, []),
    ],
    ids=[
        "from its start a candidate that will have all requests at once",
        "from its start a candidate that gets some first",
        "then every reading is worth a decision",
        "not where nothing is judged",
        "not where time alone decides",
        "not without a candidate",
        "not without another version",
    ],
)
def test_requests_are_counted_from_the_start_of_a_candidate_that_will_be_judged(
    places: list[dict[str, Any]], rollout: dict[str, Any], asked: list[tuple[set[str], bool]]
) -> None:
    world, reader = World(serve=decide_model_deployment), Reader()
    world.know(model_deployment(held(*places), rollout=rollout).dump())
    ModelDeployments(world.cache, reader).decide(DIGITS, at(0), SETTINGS, "")  # type: ignore[arg-type]
    assert reader.asked == asked


def test_what_is_counted_before_the_first_step_is_known_then_and_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with watching() as world:
            world.proxy.counts = {V1: 1_000}
            world.look(None, has_step=False)
            await world.until(lambda: bool(world.look(None, has_step=False).before))
            world.proxy.counts = {V1: 1_040}
            await world.until(lambda: world.look(None, has_step=False).before[V1.name].total == 40)
            assert world.woken == [], "nothing is decided by it yet"
            # It would be forgotten if nobody asked for it.
            monkeypatch.setattr("fovea_operator.cluster.traffic._FORGOTTEN_SECONDS", 2.0)
            await world.until(lambda: world.woken != [])
            world.proxy.counts = {V1: 1_050, V2: 1}
            assert world.look(datetime.now(UTC)).before == {}, "a step has its own count"

    asyncio.run(story())


def test_answers_are_compared_by_step_and_a_comparator_that_is_silent_has_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = {"compared": 40, "drift": 2.5, "candidate_failed": 1}
    monkeypatch.setattr("fovea_operator.cluster.traffic.comparator_url", lambda host: f"http://{host}/metrics")

    async def story() -> None:
        async with watching() as world, comparator(shown) as address:
            both, since = [address, "127.0.0.1:1"], datetime.now(UTC)
            world.proxy.counts = {V1: 1, V2: 1}
            world.look(since, both)
            await world.until(lambda: len(world.woken) > 3)
            assert world.look(since, both).compared == Compared(), "from before it was read first"
            shown.update(compared=50, drift=4.5, candidate_failed=2)
            await world.until(lambda: world.look(since, both).compared == Compared(10, 2.0, 1))
            later = since + timedelta(seconds=3)
            assert world.look(later, both).compared == Compared(), "the next step counts from its own beginning"
            shown.update(compared=53, drift=4.5)
            await world.until(lambda: world.look(later, both).compared == Compared(3, 0.0, 0))
            woken = len(world.woken)
            await world.until(lambda: len(world.woken) > woken + 3)
            assert world.look(later).compared == Compared(3, 0.0, 0), "one that has gone takes nothing back"

    asyncio.run(story())


def test_a_comparator_that_began_again_counts_from_0() -> None:
    comparisons = Comparisons()
    for counts in (Compared(40, 2.5, 1), Compared(45, 3.0, 1), Compared(2, 0.25, 0), Compared(4, 0.25, 0)):
        comparisons.take("10.0.0.9", counts)
    assert comparisons.total == Compared(9, 0.75, 0)
