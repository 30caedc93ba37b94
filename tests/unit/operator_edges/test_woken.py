"""Whom a change wakes, and what a decision then sees of other objects."""

from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster.keys import Key
from support.kinds import MODEL_DEPLOYMENT, TRAINING_JOB
from support.watched import DIGITS, OWNER, World, job, meta, model_deployment, model_version, pod


@pytest.fixture
def world() -> World:
    return World()


def machine_type(metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "MachineType",
        "apiVersion": "fovea.dev/v1alpha1",
        "metadata": metadata,
        "spec": {"cpu": "1", "memory": "1Gi"},
    }


def test_a_pod_event_that_changes_nothing_decided_on_queues_nothing_but_is_remembered(world: World) -> None:
    world.seen(job())
    assert world.seen(pod(version=2)) == {DIGITS}
    assert world.seen(pod(version=3, annotations={"a": "b"})) == set()
    assert world.cache.pods.get("team", "digits-chief-0-0").version == 3  # type: ignore[union-attr]
    assert world.seen(pod(version=4, phase="Running")) == {DIGITS}


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


def test_objects_of_namespaces_that_are_not_ours_are_dropped() -> None:
    world = World(namespaces=("other",))
    assert world.seen(job()) == set()
    assert len(world.cache.jobs) == 0


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
