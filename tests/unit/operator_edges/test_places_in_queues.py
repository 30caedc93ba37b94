"""Places of jobs in their queues: whom Kueue is asked about, and who is woken."""

import asyncio
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.positions import Positioning, Positions
from fovea_operator.errors import ApiError


def raw(name: str, queue: str, *true: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "vision", "uid": name, "resourceVersion": "1"},
        "spec": {"queueName": queue},
        "status": {"conditions": [{"type": kind, "status": "True"} for kind in true]},
    }


class Visibility:
    """Kueue's answers by queue; None: it does not answer."""

    def __init__(self, answers: dict[str, dict[str, int] | None]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def request(self, _verb: str, resource: resources.Resource, _method: str, path: str) -> dict[str, Any]:
        queue = path.removesuffix("/pendingworkloads").rpartition("/")[2]
        assert path == resource.path("vision", queue, "pendingworkloads")
        self.asked.append(queue)
        places = self.answers[queue]
        if places is None:
            raise ApiError("the server is currently unable to handle the request", code=503)
        items = [{"metadata": {"name": name}, "positionInLocalQueue": at} for name, at in places.items()]
        return {"items": items}


def heard(visibility: Visibility, cache: Cache, positions: Positions, looks: int = 1) -> list[tuple[str, str]]:
    """Who is woken by some looks."""
    woken: list[tuple[str, str]] = []

    async def run() -> None:
        positioning = Positioning(
            visibility,  # type: ignore[arg-type]
            cache,
            positions,
            lambda namespace, name: woken.append((namespace, name)),
            0,
        )
        running = asyncio.create_task(positioning.run())
        asked = len(visibility.asked)
        while len(visibility.asked) < asked + looks:  # noqa: ASYNC110 - a fake server notifies nobody
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()

    asyncio.run(run())
    return woken


@pytest.fixture
def cache() -> Cache:
    known = Cache(labels.MODEL_DEPLOYMENT)
    for item in (raw("a", "small"), raw("b", "small"), raw("c", "idle", "QuotaReserved"), raw("d", "idle", "Finished")):
        known.queued.put(item)
    return known


def test_only_queues_in_which_a_job_waits_are_asked_for(cache: Cache) -> None:
    visibility, positions = Visibility({"small": {"a": 0, "b": 41}}), Positions()
    assert sorted(heard(visibility, cache, positions)) == [("vision", "a"), ("vision", "b")]
    assert set(visibility.asked) == {"small"}
    assert (positions.of("vision", "a"), positions.of("vision", "b")) == (1, 50)
    assert positions.of("vision", "c") is None


def test_who_keeps_its_place_is_not_woken_and_who_leaves_is(cache: Cache) -> None:
    positions = Positions()
    heard(Visibility({"small": {"a": 0, "b": 1}}), cache, positions)
    assert heard(Visibility({"small": {"a": 0}}), cache, positions) == [("vision", "b")]
    assert positions.of("vision", "b") is None


def test_a_kueue_that_does_not_say_places_is_asked_again_and_stops_nothing(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    visibility, positions = Visibility({"small": None}), Positions()
    assert heard(visibility, cache, positions, looks=3) == []
    assert [record.message for record in caplog.records].count("no places in queues") == 1
