"""Deployments and Services of a ModelDeployment that no watch shows: they lost their labels, or an earlier release made them."""

from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator.cluster.keys import Key
from fovea_operator.desired.deployment import revision, version_deployment
from fovea_operator.desired.disruption_budget import disruption_budget
from fovea_operator.desired.service import service, version_service
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from support.kinds import DEPLOYMENT, MODEL_DEPLOYMENT, SERVICE
from support.observations import SETTINGS, machine, version
from support.reconciled import World
from support.rollout_table import V1, V2, draining, held, stable
from support.serving_observations import model_deployment

DIGITS = Key(MODEL_DEPLOYMENT, "vision", "digits")
OF = model_deployment()
Raw = dict[str, Any]


def world(status: Raw, *numbers: int) -> World:
    """A ModelDeployment with that status, its model's versions and a machine type."""
    made = World(serve=decide_model_deployment)
    made.know(model_deployment(status).dump())
    for number in numbers:
        made.know(version(number).dump())
    made.know(machine().dump())
    served = [each["version"] for each in status.get("places", ()) if each["role"] == "stable"]
    for number in served:
        made.know(disruption_budget(OF, number, revision(OF, version(number)), 0))
    return made


def deployment(number: int) -> Raw:
    """The Deployment of a version that answers."""
    made = version_deployment(OF, version(number), revision(OF, version(number)), machine(), SETTINGS)
    made["metadata"]["generation"] = 1
    return {**made, "status": {"observedGeneration": 1, "readyReplicas": 1, "availableReplicas": 1}}


def clients_service(number: int) -> Raw:
    return service(OF, number, revision(OF, version(number)))


def own_service(number: int) -> Raw:
    return version_service(OF, number, revision(OF, version(number)))


def without(manifest: Raw, *taken: str) -> Raw:
    """Without those labels, and so in no watch."""
    left = {key: value for key, value in manifest["metadata"]["labels"].items() if key not in taken}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": left}}


def places(seen: World) -> list[tuple[int, str]]:
    """Versions and roles of the status that was written."""
    status = seen.server.objects[MODEL_DEPLOYMENT, "digits"]["status"]
    return [(place["version"], place["role"]) for place in status["places"]]


@pytest.mark.parametrize("taken", [(labels.MANAGED,), (labels.MANAGED, labels.VERSION, labels.REVISION)])
def test_a_deployment_that_lost_its_labels_gets_them_again_and_goes_on_serving(taken: tuple[str, ...]) -> None:
    seen = world(held(stable(1)), 1)
    for child in (clients_service(1), own_service(1)):
        seen.know(child)
    seen.server.put(without(deployment(1), *taken))
    _, calls = seen.work(DIGITS)
    assert calls == [
        "get Deployment",
        "label Deployment",
        "patch ModelDeployment/status",
        "announce Available",
        "announce Promoted",
    ]
    found = seen.server.objects[DEPLOYMENT, V1]["metadata"]["labels"]
    assert found.items() >= labels.of_model_server("digits", "digits", 1, V1[-8:]).items()
    assert seen.work(DIGITS)[1] == []


def test_a_deployment_of_a_draining_version_that_lost_its_label_is_not_forgotten() -> None:
    later = "2126-01-01T00:00:00Z"
    seen = world(held(stable(2), draining(1) | {"since": later}), 1, 2)
    for child in (clients_service(2), own_service(2), own_service(1), deployment(2)):
        seen.know(child)
    seen.server.put(without(deployment(1), labels.MANAGED))
    seen.work(DIGITS)
    assert places(seen) == [(2, "stable"), (1, "draining")]


def test_the_clients_service_that_lost_its_label_gets_it_again() -> None:
    seen = world(held(stable(1)), 1)
    for child in (own_service(1), deployment(1)):
        seen.know(child)
    seen.server.put(without(clients_service(1), labels.MANAGED))
    _, calls = seen.work(DIGITS)
    assert calls[:2] == ["get Service", "label Service"]
    assert "apply Service" not in calls


def test_a_deployment_that_is_gone_is_looked_for_once_and_made_again() -> None:
    seen = world(held(stable(1)), 1)
    for child in (clients_service(1), own_service(1)):
        seen.know(child)
    _, calls = seen.work(DIGITS)
    assert calls[:2] == ["get Deployment", "create Deployment"]


def test_what_a_release_before_places_serves_goes_on_serving_also_without_the_label_of_today() -> None:
    """Version 2 is wanted and does not answer: taken for the first version of all, it would get the Service at once."""
    of_the_release_before = {"stable": {"version": 1, "deployment": V1}, "observedGeneration": 1}
    seen = world(of_the_release_before, 1, 2)
    for child in (clients_service(1), deployment(1)):
        seen.server.put(without(child, labels.MANAGED))
    _, calls = seen.work(DIGITS)
    assert calls[:4] == ["get Service", "label Service", "get Deployment", "label Deployment"]
    assert seen.server.objects[SERVICE, "digits"]["spec"]["selector"][labels.VERSION] == "1"
    assert places(seen) == [(1, "stable"), (2, "candidate")]
    assert {name for gvk, name in seen.server.objects if gvk == SERVICE} == {"digits", V1, V2}


def test_a_new_model_deployment_looks_for_nothing() -> None:
    seen = world({}, 1)
    _, calls = seen.work(DIGITS)
    assert [call for call in calls if call.startswith("get")] == ["get Service"], (
        "before the first apply of its Service"
    )
