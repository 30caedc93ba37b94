"""Writing children: what is there is not written again, what is someone else's is never touched."""

import asyncio
import copy
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.children import Children
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.metrics import Metrics
from fovea_operator.cluster.queue import Backoff
from fovea_operator.desired.routes import Activator, reference_grant
from fovea_operator.errors import NotOurs, Overtaken, Refused
from fovea_operator.reconcile.shared.decision import Child, Deletion, Write
from support.kinds import MODEL_VERSION, POD, SERVICE
from support.memory_api import Server

OWNER = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "name": "digits", "uid": "u1", "controller": True}


class World:
    def __init__(self) -> None:
        self.server = Server()
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        intake = Intake(self.cache, Kinds(), lambda _key: None)
        metrics = Metrics(self.cache, lambda: 0)
        self.children = Children(self.server, self.cache, intake, 600, Backoff(), metrics)  # type: ignore[arg-type]
        self.intake = intake

    def write(self, write: Write, manifest: dict[str, Any]) -> list[str]:
        """Calls that one write costs."""
        self.server.calls.clear()
        asyncio.run(self.children.write(Child(write, manifest)))
        return list(self.server.calls)


@pytest.fixture
def world() -> World:
    return World()


def manifest(kind: str = "Pod", name: str = "digits-chief-0-0", **spec: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "team",
        "labels": {labels.JOB: "digits", labels.ATTEMPT: "0"},
        "ownerReferences": [OWNER],
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


def test_a_pod_is_created_once_and_is_in_the_cache_before_any_event(world: World) -> None:
    assert world.write(Write.CREATE, manifest()) == ["create"]
    assert world.cache.pods.get("team", "digits-chief-0-0") is not None
    assert world.write(Write.CREATE, manifest()) == []


def test_a_pod_made_by_a_decision_nobody_remembers_is_taken_as_made(world: World) -> None:
    world.server.put(manifest())
    assert world.write(Write.CREATE, manifest()) == ["create", "get"]
    assert world.cache.pods.get("team", "digits-chief-0-0") is not None


def test_a_pod_of_a_deleted_job_of_the_same_name_is_decided_on_anew_once_it_is_known(world: World) -> None:
    left = manifest()
    left["metadata"]["ownerReferences"] = [OWNER | {"uid": "u0"}]
    world.server.put(left)
    with pytest.raises(Overtaken, match=r"Pod team/digits-chief-0-0 is one of a deleted TrainingJob of the same name"):
        world.write(Write.CREATE, manifest())
    assert world.cache.pods.get("team", "digits-chief-0-0") is not None


def test_a_pod_of_a_deleted_job_that_no_watch_shows_is_told_by_name(world: World) -> None:
    left = manifest()
    left["metadata"]["ownerReferences"] = [OWNER | {"uid": "u0"}]
    left = world.server.put(left)
    world.intake.event(POD, "DELETED", left)  # it has lost the label that the watch asks for
    with pytest.raises(NotOurs, match=r"Pod team/digits-chief-0-0 exists and is owned by TrainingJob digits"):
        world.write(Write.CREATE, manifest())


def test_a_pod_name_taken_by_another_owner_is_told_by_name(world: World) -> None:
    stranger = manifest()
    stranger["metadata"]["ownerReferences"] = []
    world.server.put(stranger)
    with pytest.raises(NotOurs, match=r"Pod team/digits-chief-0-0 exists and was not made by Fovea"):
        world.write(Write.CREATE, manifest())


def model_version(uid: str) -> dict[str, Any]:
    spec = {"model": "digits", "version": 1, "uri": "s3://b/p", "digest": "sha256:" + "0" * 64}
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": "digits-v1", "namespace": "team"},
        "spec": {**spec, "lineage": {"job": "digits", "jobUid": uid}},
    }


def test_a_model_version_of_the_same_job_is_taken_as_registered(world: World) -> None:
    world.server.put({**model_version("u1"), "spec": {**model_version("u1")["spec"], "approval": "Approved"}})
    assert world.write(Write.CREATE, model_version("u1")) == ["create", "get"]


def test_a_version_number_taken_by_another_job_stops_the_decision_and_is_known_to_the_next(world: World) -> None:
    world.server.put(model_version("u2"))
    with pytest.raises(Overtaken, match="digits-v1 exists with another content"):
        world.write(Write.CREATE, model_version("u1"))
    assert world.cache.versions.get("team", "digits-v1") is not None


@pytest.mark.parametrize("known_before", [True, False])
def test_a_version_number_taken_by_an_object_that_cannot_be_read_is_told_by_name(
    world: World, known_before: bool
) -> None:
    theirs = world.server.put({**model_version("u2"), "spec": {"model": "digits", "version": "one"}})
    if known_before:
        world.intake.event(MODEL_VERSION, "ADDED", theirs)
    with pytest.raises(NotOurs, match=r"ModelVersion team/digits-v1 exists and cannot be read: spec.*; or delete it"):
        world.write(Write.CREATE, model_version("u1"))
    # Once it is gone the number is free.
    del world.server.objects[MODEL_VERSION, "digits-v1"]
    assert world.write(Write.CREATE, model_version("u1")) == ["create"]


def test_an_unchanged_intent_is_applied_once(world: World) -> None:
    service = manifest("Service", "digits", selector={"v": "1"})
    assert world.write(Write.APPLY, service) == ["get", "apply"]
    assert world.write(Write.APPLY, service) == []
    assert world.write(Write.APPLY, manifest("Service", "digits", selector={"v": "2"})) == ["apply"]


def test_an_intent_is_applied_again_when_somebody_edited_the_object(world: World) -> None:
    service = manifest("Service", "digits", selector={"v": "1"})
    world.write(Write.APPLY, service)
    edited = world.server.put({**world.server.objects[SERVICE, "digits"], "spec": {"selector": {"v": "theirs"}}})
    world.intake.event(SERVICE, "MODIFIED", edited)
    assert world.write(Write.APPLY, service) == ["apply"]


@pytest.mark.parametrize("end", ["deleted", "replaced"])
def test_what_was_applied_to_an_object_is_forgotten_with_it(world: World, end: str) -> None:
    service = manifest("Service", "digits", selector={"v": "1"})
    world.write(Write.APPLY, service)
    known = world.server.objects.pop((SERVICE, "digits"))
    if end == "deleted":
        world.intake.event(SERVICE, "DELETED", known)
        calls = ["get", "apply"]
    else:
        # A namesake with the same content and the same owner, made by hand: ours to apply, without a look before.
        namesake = world.server.put({**service, "metadata": {**service["metadata"], "uid": "namesake"}})
        world.intake.event(SERVICE, "ADDED", namesake)
        calls = ["apply"]
    assert world.children._applied == {}
    assert world.write(Write.APPLY, service) == calls
    assert len(world.children._applied) == 1


def test_a_service_of_someone_else_is_never_applied_over(world: World) -> None:
    theirs = manifest("Service", "digits", selector={"app": "theirs"})
    theirs["metadata"]["ownerReferences"] = []
    world.server.put(theirs)
    with pytest.raises(NotOurs, match="was not made by Fovea"):
        world.write(Write.APPLY, manifest("Service", "digits", selector={"v": "1"}))
    assert "apply" not in world.server.calls


GRANT = reference_grant(Activator("fovea-system", "activator"), "team")


def test_what_no_watch_shows_is_looked_at_once_in_a_while_and_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose route is refused is decided on each second, maybe for days."""
    assert world.write(Write.APPLY, GRANT) == ["get", "apply"]
    assert world.write(Write.APPLY, GRANT) == []
    other = reference_grant(Activator("fovea-system", "activator"), "other")
    assert world.write(Write.APPLY, other) == ["get", "apply"]
    monkeypatch.setattr("fovea_operator.cluster.children.UNSEEN_SECONDS", 0.0)
    assert world.write(Write.APPLY, GRANT) == ["get"]
    world.server.put({**GRANT, "spec": {**GRANT["spec"], "to": []}})
    assert world.write(Write.APPLY, GRANT) == ["get", "apply"]
    world.server.objects.clear()
    assert world.write(Write.APPLY, GRANT) == ["get", "apply"]


def test_an_object_of_that_name_which_others_made_is_not_changed_unless_it_says_the_same(world: World) -> None:
    metadata = {**GRANT["metadata"], "labels": {"team": "theirs"}}
    theirs = world.server.put({**GRANT, "metadata": metadata, "spec": {**GRANT["spec"], "to": []}})
    with pytest.raises(NotOurs, match="ReferenceGrant fovea-system/activator-team exists and was not made by Fovea"):
        world.write(Write.APPLY, GRANT)
    assert "apply" not in world.server.calls
    world.server.put({**theirs, "spec": GRANT["spec"]})
    assert world.write(Write.APPLY, GRANT) == ["get"]


def test_a_deletion_marks_the_object_at_once(world: World) -> None:
    world.write(Write.CREATE, manifest())
    pod = world.cache.pods.get("team", "digits-chief-0-0")
    assert pod is not None
    asyncio.run(world.children.delete(Deletion(POD, "team", "digits-chief-0-0", pod.uid)))
    assert world.cache.pods.get("team", "digits-chief-0-0").record.deleting  # type: ignore[union-attr]


def test_deleting_what_is_gone_or_replaced_forgets_it_and_spares_the_successor(world: World) -> None:
    world.write(Write.CREATE, manifest())
    pod = world.cache.pods.get("team", "digits-chief-0-0")
    assert pod is not None
    successor = manifest()
    successor["metadata"]["uid"] = "successor"
    world.server.put(successor)
    asyncio.run(world.children.delete(Deletion(POD, "team", "digits-chief-0-0", pod.uid)))
    assert world.cache.pods.get("team", "digits-chief-0-0") is None
    assert "deletionTimestamp" not in world.server.objects[POD, "digits-chief-0-0"]["metadata"]


def network_policy() -> dict[str, Any]:
    made = manifest("NetworkPolicy", "digits-pods", podSelector={})
    return {**made, "apiVersion": resources.NETWORK_POLICY.api_version}


def test_a_network_policy_costs_one_write_however_often_it_is_decided(world: World) -> None:
    assert world.write(Write.CREATE, network_policy()) == ["create"]
    assert world.write(Write.CREATE, network_policy()) == []


def test_a_network_policy_that_somebody_deleted_is_made_again_by_the_next_decision_that_needs_it(world: World) -> None:
    world.write(Write.CREATE, network_policy())
    gone = world.server.objects.pop((resources.NETWORK_POLICY.gvk, "digits-pods"))
    world.intake.event(resources.NETWORK_POLICY.gvk, "DELETED", gone)
    assert world.write(Write.CREATE, network_policy()) == ["create"]


def test_a_network_policy_of_someone_else_is_never_taken_for_the_jobs(world: World) -> None:
    theirs = network_policy()
    theirs["metadata"]["ownerReferences"] = []
    world.server.put(theirs)
    with pytest.raises(NotOurs, match=r"NetworkPolicy team/digits-pods exists and was not made by Fovea"):
        world.write(Write.CREATE, network_policy())


def deadline(pod: dict[str, Any]) -> dict[str, Any]:
    """What gives that pod a deadline."""
    metadata = {"namespace": "team", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    metadata["annotations"] = {labels.POD_DEADLINE: "60"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"activeDeadlineSeconds": 60}}


def test_a_deadline_of_a_pod_is_a_patch_of_two_fields_and_known_at_once(world: World) -> None:
    pod = world.server.put({**manifest(image="a:1"), "status": {"startTime": "2026-01-01T00:00:00Z"}})
    assert world.write(Write.PATCH, deadline(pod)) == ["patch"]
    held = world.server.objects[POD, "digits-chief-0-0"]
    assert held["spec"] == {"image": "a:1", "activeDeadlineSeconds": 60}
    assert held["metadata"]["labels"] == pod["metadata"]["labels"]
    known = world.cache.pods.get("team", "digits-chief-0-0")
    assert known is not None
    assert known.record.deadline_is_own


def test_a_deadline_of_a_pod_that_is_gone_or_replaced_is_no_error(world: World) -> None:
    pod = world.server.put(manifest())
    gone = copy.deepcopy(pod)
    gone["metadata"]["name"] = "digits-chief-0-1"
    assert world.write(Write.PATCH, deadline(gone)) == ["patch"]
    replaced = copy.deepcopy(pod)
    replaced["metadata"]["uid"] = "another"
    assert world.write(Write.PATCH, deadline(replaced)) == ["patch"]
    assert "activeDeadlineSeconds" not in world.server.objects[POD, "digits-chief-0-0"]["spec"]


@pytest.mark.parametrize("code", [403, 422])
def test_a_deadline_that_the_server_refuses_is_told_once(world: World, code: int) -> None:
    pod = world.server.put(manifest())
    world.server.fail = lambda _call: Refused("the policy forbids it", code=code)
    with pytest.raises(Refused):
        world.write(Write.PATCH, deadline(pod))
    assert world.write(Write.PATCH, deadline(pod)) == [], "not again at each decision"


def test_a_deadline_that_an_absent_webhook_holds_up_is_tried_again(world: World) -> None:
    pod = world.server.put(manifest())
    world.server.fail = lambda _call: Refused("failed calling webhook", code=500)
    for _ in range(2):
        with pytest.raises(Refused):
            world.write(Write.PATCH, deadline(pod))
    world.server.fail = None
    assert world.write(Write.PATCH, deadline(pod)) == ["patch"]
