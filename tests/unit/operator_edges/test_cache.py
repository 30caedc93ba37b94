"""The watch cache, what is routed to which key, and the comparison with lists."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster import records, resources
from fovea_operator.cluster.cache import Cache, Store
from fovea_operator.cluster.intake import Intake, list_all
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.progress import Reports
from fovea_operator.errors import InvalidSpec
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.settings import Settings
from support.kinds import MODEL_DEPLOYMENT, TRAINING_JOB

JOB = resources.TRAINING_JOB.kind


class World:
    """A cache with its kinds and the keys that were queued."""

    def __init__(self, namespaces: tuple[str, ...] = ()) -> None:
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.queued: list[Key] = []
        self.jobs = TrainingJobs(self.cache, Reports(5, lambda *_: None))
        self.serving = ModelDeployments(self.cache)
        kinds = Kinds(self.jobs, self.serving)
        self.intake = Intake(self.cache, kinds, self.queued.append, namespaces)

    def seen(self, *objects: dict[str, Any]) -> set[Key]:
        """Keys queued for objects."""
        self.queued.clear()
        for raw in objects:
            self.intake.event(GroupVersionKind.of(raw), "MODIFIED", raw)
        return set(self.queued)

    def deleted(self, raw: dict[str, Any]) -> set[Key]:
        self.queued.clear()
        self.intake.event(GroupVersionKind.of(raw), "DELETED", raw)
        return set(self.queued)


@pytest.fixture
def world() -> World:
    return World()


def meta(name: str, version: int, uid: str = "", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "team",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **more,
    }


def job(name: str = "digits", version: int = 1, uid: str = "", status: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": JOB,
        "metadata": meta(name, version, uid),
        "spec": {"trainer": {"container": {"image": "a:1"}}, **spec},
        "status": status or {},
    }


OWNER = {"apiVersion": "fovea.dev/v1alpha1", "kind": JOB, "name": "digits", "uid": "uid-digits", "controller": True}


def pod(name: str = "digits-chief-0-0", version: int = 2, phase: str = "Pending", **more: Any) -> dict[str, Any]:
    metadata = meta(name, version, ownerReferences=[OWNER], labels={labels.JOB: "digits"})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **more}, "spec": {}, "status": {"phase": phase}}


def model_version(name: str, model: str, version: int = 3) -> dict[str, Any]:
    return {
        "kind": "ModelVersion",
        "apiVersion": "fovea.dev/v1alpha1",
        "metadata": meta(name, version),
        "spec": {"model": model, "version": 1, "uri": "s3://b/p", "digest": "sha256:" + "0" * 64},
    }


def model_deployment(name: str, model: str, version: int = 4) -> dict[str, Any]:
    return {
        "kind": "ModelDeployment",
        "apiVersion": "fovea.dev/v1alpha1",
        "metadata": meta(name, version),
        "spec": {"model": model},
    }


def machine_type(metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "MachineType",
        "apiVersion": "fovea.dev/v1alpha1",
        "metadata": metadata,
        "spec": {"cpu": "1", "memory": "1Gi"},
    }


DIGITS = Key(TRAINING_JOB, "team", "digits")


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


def test_a_pod_event_that_changes_nothing_decided_on_queues_nothing_but_is_remembered(world: World) -> None:
    world.seen(job())
    assert world.seen(pod(version=2)) == {DIGITS}
    assert world.seen(pod(version=3, annotations={"a": "b"})) == set()
    assert world.cache.pods.get("team", "digits-chief-0-0").version == 3  # type: ignore[union-attr]
    assert world.seen(pod(version=4, phase="Running")) == {DIGITS}


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


def test_the_end_of_a_job_wakes_the_unfinished_jobs_that_wait_for_its_output(world: World) -> None:
    world.seen(job("first", 1), job("second", 2, inputs={"data": "job://first/output"}))
    world.seen(job("done", 3, inputs={"data": "job://first/output"}, status={"state": "FAILED"}))
    running = world.seen(job("first", 4, status={"state": "RUNNING"}))
    assert running == {Key(TRAINING_JOB, "team", "first")}
    ended = world.seen(job("first", 5, status={"state": "SUCCEEDED"}))
    assert ended == {Key(TRAINING_JOB, "team", "first"), Key(TRAINING_JOB, "team", "second")}


def test_a_job_that_comes_later_is_woken_by_what_it_names(world: World) -> None:
    world.seen(job("second", 2, inputs={"data": "job://first/output"}))
    assert Key(TRAINING_JOB, "team", "second") in world.seen(job("first", 3))
    assert Key(TRAINING_JOB, "team", "second") in world.deleted(job("first", 4))


def test_a_model_version_wakes_the_deployments_of_its_model_and_the_jobs_that_read_it(world: World) -> None:
    world.seen(
        job("reader", 1, inputs={"model": "model://digits"}),
        job("trainer", 2, model={"name": "digits"}),
        job("other", 3, model={"name": "cats"}),
        model_deployment("front", "digits"),
        model_deployment("back", "cats"),
    )
    assert world.seen(model_version("digits-v1", "digits", 9)) == {
        Key(TRAINING_JOB, "team", "reader"),
        Key(MODEL_DEPLOYMENT, "team", "front"),
    }


def test_a_model_deployment_wakes_none_of_the_jobs_that_train_its_model(world: World) -> None:
    world.seen(job("trainer", 1, model={"name": "digits", "deploy": True}))
    assert world.seen(model_deployment("digits", "digits")) == {Key(MODEL_DEPLOYMENT, "team", "digits")}


NOT_DECIDED_ON = [
    {},
    {"annotations": {"a": "b"}},
    {"labels": {"argocd.argoproj.io/instance": "b", "app.kubernetes.io/instance": "c"}},
    {"managedFields": [{}]},
]


@pytest.mark.parametrize("more", NOT_DECIDED_ON)
def test_a_write_that_changes_nothing_that_is_decided_on_wakes_nobody(world: World, more: dict[str, Any]) -> None:
    machine = machine_type(meta("big", 7))
    objects = [job(version=1), model_version("digits-v1", "digits"), model_deployment("digits", "digits"), machine]
    world.seen(*objects)
    later = [{**each, "metadata": each["metadata"] | {"resourceVersion": "20"} | more} for each in objects]
    assert world.seen(*later) == set()


def test_a_label_that_is_passed_on_wakes_who_passes_it_on(world: World) -> None:
    objects = [job(version=1), model_version("digits-v1", "digits"), model_deployment("digits", "digits")]
    world.seen(*objects)
    version = {"resourceVersion": "20"}
    later = [{**each, "metadata": each["metadata"] | version | {"labels": {"team": "vision"}}} for each in objects]
    assert {key.gvk for key in world.seen(*later)} == {TRAINING_JOB, MODEL_DEPLOYMENT}


def test_a_machine_type_wakes_every_unfinished_job_and_every_deployment(world: World) -> None:
    world.seen(job("a", 1), job("b", 2, status={"state": "SUCCEEDED"}), model_deployment("front", "digits"))
    metadata = {"name": "big", "uid": "m", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}
    assert world.seen(machine_type(metadata)) == {
        Key(TRAINING_JOB, "team", "a"),
        Key(MODEL_DEPLOYMENT, "team", "front"),
    }
    assert list(world.cache.machine_types.by_name) == ["big"]


def test_children_wake_their_owner_and_serving_pods_the_deployment_on_their_label(world: World) -> None:
    serving = pod("digits-v1-abc", 5)
    serving["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "r", "controller": True}
    ]
    serving["metadata"]["labels"] = {labels.MODEL_DEPLOYMENT: "digits"}
    assert world.seen(serving) == {Key(MODEL_DEPLOYMENT, "team", "digits")}
    owner = {**OWNER, "kind": "ModelDeployment"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta("digits", 6, ownerReferences=[owner]),
        "spec": {"ports": [{"name": "grpc", "port": 8500}]},
    }
    assert world.seen(service) == {Key(MODEL_DEPLOYMENT, "team", "digits")}


def test_a_model_deployment_sees_the_services_that_it_owns_and_no_others(world: World) -> None:
    owner = {**OWNER, "kind": "ModelDeployment"}

    def service(name: str, *owners: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta(name, 6, ownerReferences=list(owners)),
            "spec": {},
        }

    world.seen(model_deployment("digits", "digits"))
    world.seen(service("digits", owner), service("digits-v1-abc", owner))
    world.seen(service("digits-v2-abc"), service("digits-v3-abc", {**owner, "uid": "of one that was deleted"}))
    world.seen(service("digits-pods", OWNER))
    found = world.serving.observe(Key(MODEL_DEPLOYMENT, "team", "digits"), "")
    assert found is not None
    assert [each.name for each in found.services] == ["digits", "digits-v1-abc"]


@pytest.mark.parametrize(
    ("api_version", "woken"),
    [("fovea.dev/v1alpha1", {DIGITS}), ("fovea.dev/v2", {DIGITS}), ("example.com/v1alpha1", set()), ("v1", set())],
)
def test_an_owner_is_known_by_its_api_group_and_kind_whatever_its_version(
    world: World, api_version: str, woken: set[Key]
) -> None:
    world.seen(job())
    assert world.seen(pod(ownerReferences=[{**OWNER, "apiVersion": api_version}])) == woken
    found = world.jobs.observe(DIGITS, "")
    assert found is not None
    assert len(found.pods) == len(woken)


def test_a_namesake_of_a_kind_in_another_api_group_is_no_object_of_ours(world: World) -> None:
    assert world.seen({**job(), "apiVersion": "example.com/v1alpha1"}) == set()
    assert len(world.cache.jobs) == 0


def test_a_pod_with_our_label_and_no_owner_of_ours_wakes_nobody(world: World) -> None:
    world.seen(job())
    stranger = pod("stranger", 5)
    stranger["metadata"]["ownerReferences"] = []
    assert world.seen(stranger) == set()


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


def test_objects_of_namespaces_that_are_not_ours_are_dropped() -> None:
    world = World(namespaces=("other",))
    assert world.seen(job()) == set()
    assert len(world.cache.jobs) == 0


class Lists:
    """A client that answers lists."""

    def __init__(self, version: int, *objects: dict[str, Any]) -> None:
        self.version, self.objects = version, objects
        self.asked: list[tuple[str, str]] = []

    async def pages(
        self, resource: resources.Resource, namespace: str = "", label: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
        self.asked.append((resource.kind, label))
        yield [raw for raw in self.objects if raw["kind"] == resource.kind], self.version


def compare(world: World, client: Lists) -> set[Key]:
    world.queued.clear()
    asyncio.run(list_all(client, world.cache, world.intake, Settings()))  # type: ignore[arg-type]
    return set(world.queued)


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


def serves(**roles: int) -> dict[str, Any]:
    """A status with a version in each role."""
    places = [
        {
            "version": number,
            "revision": "12345678",
            "deployment": f"pets-v{number}-12345678",
            "role": role,
            "step": "Serving",
        }
        for role, number in roles.items()
    ]
    return {"places": places}


@pytest.mark.parametrize(
    ("served", "highest"),
    [
        ({}, 3),
        (serves(stable=4), 4),
        (serves(stable=1, candidate=5), 5),
        (serves(stable=1, failed=6), 6),
        (serves(stable=1, draining=7), 7),
    ],
)
def test_the_next_number_is_beyond_all_that_statuses_name(world: World, served: dict[str, Any], highest: int) -> None:
    pets = {"name": "pets"}
    serving = {**model_deployment("served", "pets"), "status": served}
    others = {**model_deployment("others", "cats"), "status": serves(stable=9)}
    world.seen(
        job(model=pets, status={"state": "RUNNING"}),
        job("monday", status={"state": "SUCCEEDED", "modelVersion": "pets-v3"}, model=pets),
        job("tuesday", status={"state": "SUCCEEDED", "modelVersion": "cats-v8"}, model={"name": "cats"}),
        serving,
        others,
    )
    found = world.jobs.observe(DIGITS, "")
    assert found is not None
    assert found.next_number == highest + 1
