"""The watch cache: in whatever order events, lists and answers come, the newest of an object stays."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster import resources
from support.watched import DIGITS, Lists, World, compare, job, pod


@pytest.fixture
def world() -> World:
    return World()


def test_the_echo_of_an_own_write_and_anything_older_queues_nothing(world: World) -> None:
    assert world.seen(job(version=5)) == {DIGITS}
    assert world.seen(job(version=5)) == set()
    assert world.seen(job(version=4, status={"state": "RUNNING"})) == set()
    entry = world.cache.jobs.get("team", "digits")
    assert entry is not None
    assert entry.record.status.state is None


def test_the_echo_of_an_own_write_is_not_even_read(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    world.seen(job(version=5))

    def read(_raw: Any) -> Any:
        raise AssertionError("an echo was read")

    monkeypatch.setattr(world.cache.jobs, "_read", read)
    assert world.seen(job(version=5)) == set()


def test_a_list_that_began_before_a_deletion_does_not_bring_the_object_back(world: World) -> None:
    world.seen(pod())
    world.deleted(pod(version=7))
    assert world.seen(pod(version=2)) == set()
    assert world.cache.pods.get("team", "digits-chief-0-0") is None


def test_the_late_deletion_of_a_namesake_does_not_touch_its_successor(world: World) -> None:
    world.seen(job(uid="old", version=1))
    assert world.seen(job(uid="new", version=9)) == {DIGITS}
    assert world.deleted(job(uid="old", version=8)) == set()
    assert world.cache.jobs.get("team", "digits").uid == "new"  # type: ignore[union-attr]


def test_a_namesakes_late_change_does_not_replace_its_successor(world: World) -> None:
    world.seen(job(uid="new", version=9))
    assert world.seen(job(uid="old", version=8, suspend=True)) == set()
    assert world.cache.jobs.get("team", "digits").uid == "new"  # type: ignore[union-attr]


def test_a_list_finds_what_went_while_nobody_watched(world: World) -> None:
    world.seen(job(version=1), pod(version=2))
    assert compare(world, Lists(10, job(version=1))) == {DIGITS}
    assert world.cache.pods.get("team", "digits-chief-0-0") is None


def test_a_list_spares_what_was_made_after_it(world: World) -> None:
    class Slow(Lists):
        async def pages(
            self, resource: resources.Resource, namespace: str = "", label: str = ""
        ) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
            async for page in super().pages(resource, namespace, label):
                if resource == resources.POD:
                    world.seen(pod(version=12))
                yield page

    world.seen(job(version=1))
    compare(world, Slow(10, job(version=1)))
    assert world.cache.pods.get("team", "digits-chief-0-0") is not None


def test_only_children_are_listed_by_label_and_owners_come_before_them(world: World) -> None:
    client = Lists(1)
    compare(world, client)
    assert client.asked == [
        ("MachineType", ""),
        ("ModelVersion", ""),
        ("ModelDeployment", ""),
        ("TrainingJob", ""),
        ("BatchPrediction", ""),
        ("Job", labels.MANAGED_SELECTOR),
        ("Pod", labels.MANAGED_SELECTOR),
        ("Deployment", labels.MANAGED_SELECTOR),
        ("Service", labels.MANAGED_SELECTOR),
        ("PodDisruptionBudget", labels.MANAGED_SELECTOR),
        ("NetworkPolicy", labels.MANAGED_SELECTOR),
    ]
