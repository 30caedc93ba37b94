"""Objects that cannot be read: they are said, are not taken for gone, and cost the others nothing."""

from typing import Any

import pytest
from fovea_operator.cluster import records, resources
from fovea_operator.cluster.cache import Store
from fovea_operator.cluster.keys import Key
from fovea_operator.errors import InvalidSpec
from support.kinds import MODEL_DEPLOYMENT, TRAINING_JOB
from support.watched import DIGITS, Lists, World, compare, job, model_deployment, model_version, pod


@pytest.fixture
def world() -> World:
    return World()


def test_an_object_that_cannot_be_read_is_queued_remembered_and_not_taken_for_gone(world: World) -> None:
    world.seen(job(version=1))
    broken = job(version=2)
    broken["spec"]["trainer"]["container"]["image"] = 7
    assert world.seen(broken) == {DIGITS}
    assert world.cache.jobs.get("team", "digits") is None
    unreadable = world.cache.jobs.unreadable["team", "digits"]
    assert "spec.trainer.container.image" in unreadable.message
    assert "7" in unreadable.message
    assert world.seen(job(version=3)) == {DIGITS}
    assert world.cache.jobs.unreadable == {}


def test_an_object_at_which_the_reader_fails_costs_the_others_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def reads(raw: Any) -> Any:
        if raw["metadata"]["name"] == "poison":
            raise OverflowError("no calendar holds it")
        return records.pod(raw)

    store: Store[Any] = Store(resources.POD, reads)
    world.cache.add(store)
    poison = {**pod(version=3), "metadata": {**pod(version=3)["metadata"], "name": "poison", "uid": "p9"}}
    compare(world, Lists(10, poison, pod(version=2)))
    assert [name for name, _ in store] == [("team", "digits-chief-0-0")]
    assert store.unreadable["team", "poison"].message.startswith("Fovea fails at it (OverflowError")
    assert "a defect of Fovea" in caplog.text


def test_a_status_with_a_time_to_which_nothing_can_be_added_stops_nobody(world: World) -> None:
    ends = {"state": "SUCCEEDED", "endTime": "9999-12-31T23:59:59Z"}
    world.seen(job(version=1, runPolicy={"ttlSecondsAfterFinished": 60}) | {"status": ends})
    world.seen(job(version=2, runPolicy={"maxWaitSeconds": 60}) | {"status": {"queueTime": "9999-12-31T23:59:59Z"}})
    assert world.cache.jobs.get("team", "digits") is not None


def test_the_reader_names_field_value_and_remedy() -> None:
    broken = job()
    broken["spec"]["distribution"] = "Quantum"
    with pytest.raises(InvalidSpec, match=r"spec\.distribution: .*'Quantum'.*submit"):
        records.job(broken)


FOLLOWER = Key(TRAINING_JOB, "team", "follower")


def broken(version: int) -> dict[str, Any]:
    return job(version=version, trainer={"container": {"image": 7}})


def test_a_job_that_became_unreadable_and_its_deletion_are_news_and_leave_nothing_behind(world: World) -> None:
    def news(kind: str, raw: dict[str, Any]) -> set[Key]:
        world.queued.clear()
        world.intake.event(TRAINING_JOB, kind, raw)
        return set(world.queued)

    news("ADDED", job(inputs={"data": "job://monday/output"}))
    news("ADDED", job("follower", inputs={"data": "job://digits/output"}))
    assert news("MODIFIED", broken(2)) == {DIGITS, FOLLOWER}
    assert world.jobs.observe(DIGITS, "") is None
    assert news("DELETED", broken(2)) == {DIGITS, FOLLOWER}
    assert world.cache.jobs.unreadable == {}
    assert news("DELETED", broken(2)) == set()


def test_the_deletion_of_a_job_that_was_never_readable_queues_it(world: World) -> None:
    assert world.seen(broken(1)) == {DIGITS}
    assert world.deleted(broken(1)) == {DIGITS}


def test_a_machine_type_that_cannot_be_read_wakes_the_jobs_that_may_wait_for_it(world: World) -> None:
    world.seen(job())
    raw = {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "MachineType",
        "metadata": {"name": "standard", "uid": "m1", "resourceVersion": "5"},
        "spec": {"cpu": "many", "memory": "1Gi"},
    }
    assert world.seen(raw) == {DIGITS}
    found = world.jobs.observe(DIGITS, "")
    assert found is not None
    assert "spec.cpu" in found.unreadable_machine_types["standard"]
    assert world.seen(raw) == set(), "a list that tells it again is no news"
    assert world.deleted(raw) == {DIGITS}


def test_a_model_version_that_became_unreadable_wakes_the_deployments_of_its_model(world: World) -> None:
    world.seen(model_deployment("served", "pets"), model_version("pets-v1", "pets"))
    raw = model_version("pets-v1", "pets", 9)
    raw["spec"]["digest"] = 7
    assert world.seen(raw) == {Key(MODEL_DEPLOYMENT, "team", "served")}
