"""Places of versions: whatever is observed, they are one whole, and agree with what is made, deleted and pointed at."""

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import labels, names
from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import MAX_PLACES, PlaceStep
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.serving.places import MAX_DRAINING, Places
from fovea_operator.reconcile.shared.decision import DEPLOYMENT, SERVICE, Decision
from fovea_operator.reconcile.shared.observed import ServingObserved
from hypothesis import given, settings
from hypothesis import strategies as st
from support.any_serving import serving_observations
from support.observations import SETTINGS, at, version
from support.places import STEPS, Place, check_whole, moved_along_the_ways, pointed_at
from support.rollout_table import CORRUPT, V1, V2, V3, candidate, draining, held, name_of, stable, summary
from support.serving_observations import model_deployment, server_pod, service_at, serving, workload, written

PROFILE = settings(max_examples=120)


def deleted(decision: Decision, gvk: object) -> set[str]:
    return {deletion.name for deletion in decision.deletions if deletion.gvk == gvk}


def made(decision: Decision, kind: str) -> list[dict[str, Any]]:
    return [child.manifest for child in decision.children if child.manifest["kind"] == kind]


@given(serving_observations(), st.integers(0, 1500))
@PROFILE
def test_a_decision_keeps_its_promises_whatever_is_observed(seen: ServingObserved, now: int) -> None:
    before = deepcopy(seen)
    decision = decide_model_deployment(seen, at(now), SETTINGS)
    assert seen == before, "a decision changes nothing that it was shown"
    assert decision == decide_model_deployment(seen, at(now), SETTINGS)
    assert decision.status is not None
    json.dumps(decision.status, allow_nan=False)
    places = decision.status["places"]
    check_whole(places)
    check_ways(seen, places)
    check_children(seen, decision, places)
    check_weights(seen, decision, places)
    check_what_clients_reach(seen, places)


@given(serving_observations(), st.integers(0, 1500))
@settings(max_examples=30)
def test_no_decision_hangs_on_the_words_of_a_condition(seen: ServingObserved, now: int) -> None:
    """Reasons and messages are for people and their programs: what the operator must remember has a field of its own."""
    neutral = decide_model_deployment(saying(seen, "Other"), at(now), SETTINGS)
    for reason in ServingReason:
        decision = decide_model_deployment(saying(seen, reason), at(now), SETTINGS)
        assert (decision.children, decision.deletions) == (neutral.children, neutral.deletions)
        assert (decision.status, decision.requeue_at) == (neutral.status, neutral.requeue_at)


def saying(seen: ServingObserved, words: str) -> ServingObserved:
    """What is observed, where the conditions say this as reason and as message."""
    said = {"status": "False", "reason": words, "message": words, "lastTransitionTime": "2026-11-21T10:00:10Z"}
    status = seen.model_deployment.status.dump() | {
        "conditions": [{"type": type_, **said} for type_ in ("Serving", "Progressing")]
    }
    return replace(seen, model_deployment=written(seen.model_deployment, Decision(status=status)))


NEWER = {"analysis": {"requests": 7}}
"""What a later version of Fovea might write of a place."""


@given(serving_observations(), st.integers(0, 1500))
@settings(max_examples=60)
def test_a_place_keeps_what_a_newer_operator_has_written(seen: ServingObserved, now: int) -> None:
    plain = decide_model_deployment(seen, at(now), SETTINGS)
    status = seen.model_deployment.status.dump()
    status |= {"places": [place | NEWER for place in status["places"]]} if "places" in status else {}
    newer = replace(seen, model_deployment=written(seen.model_deployment, Decision(status=status)))
    decision = decide_model_deployment(newer, at(now), SETTINGS)
    before = {place["deployment"]: place["role"] for place in status.get("places", ())}
    for was, place in zip((plain.status or {})["places"], (decision.status or {})["places"], strict=True):
        stayed = before.get(place["deployment"]) == place["role"]
        assert {key: value for key, value in place.items() if key not in NEWER} == was
        assert not stayed or place.items() >= NEWER.items()


def check_ways(seen: ServingObserved, places: list[Place]) -> None:
    status = seen.model_deployment.status
    if status.places is not None:
        moved_along_the_ways([place.dump() for place in Places.of(status)], places)
    else:
        reached = pointed_at(seen.services)
        served = [place["deployment"] for place in places if place["role"] == "stable"]
        available = {each.name for each in seen.workloads if each.available_replicas > 0}
        assert reached not in available or served == [reached], "a lost status stops no model"


def check_children(seen: ServingObserved, decision: Decision, places: list[Place]) -> None:
    """What has a place stays, and everything else goes."""
    placed = {place["deployment"] for place in places if place["step"] != "GivenUp"}
    assert deleted(decision, DEPLOYMENT) == {each.name for each in seen.workloads if not each.deleting} - placed
    services = {each.name for each in seen.services if not each.deleting}
    assert deleted(decision, SERVICE) == services - placed - {"digits"}
    for manifest in made(decision, "Service"):
        assert manifest["metadata"]["name"] in placed | {"digits"}, "no version without a place gets a Service"


def check_weights(seen: ServingObserved, decision: Decision, places: list[Place]) -> None:
    """All requests go where the Service points."""
    weighted = [place["deployment"] for place in places if place["weight"]]
    applied = [m for m in made(decision, "Service") if m["metadata"]["name"] == "digits"]
    if applied and not seen.refused:
        selector = applied[0]["spec"]["selector"]
        assert weighted == [f"digits-v{selector[labels.VERSION]}-{selector[labels.REVISION]}"]
    elif weighted:
        assert weighted == [pointed_at(seen.services)], "children of a refused decision are not written"


def check_what_clients_reach(seen: ServingObserved, places: list[Place]) -> None:
    status, reached = seen.model_deployment.status, pointed_at(seen.services)
    by_name = {each.name: each for each in seen.workloads}
    kept = {place["deployment"] for place in places if place["step"] != "GivenUp"}
    served_before = {place.deployment for place in (status.stable, *status.draining) if place is not None}
    answers = reached in by_name and by_name[reached].ready_replicas > 0
    if answers and reached in served_before:
        assert reached in kept, "the version that clients reach is not lost"
    served = next((place["deployment"] for place in places if place["role"] == "stable"), None)
    was = status.stable
    if served is not None and was is not None and served != was.deployment:
        assert by_name[served].available_replicas >= 1, "the Service moves only to what answers"
        assert not seen.refused or reached == served, "what was refused may be the Service"
        assert was.deployment in kept or was.deployment not in by_name, "the old version drains before it goes"


def test_each_step_begins_when_it_is_reached() -> None:
    """A candidate, a switch that is refused, the switch, and the drain: the times of the places follow the steps."""
    seen = serving(
        model_deployment(held(stable(1), candidate(2, 10))),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1), workload(V2, ready=1)],
        service=service_at(V1),
        refused="services digits is forbidden: policy",
    )
    refused = summary(decide_model_deployment(seen, at(70), SETTINGS))
    assert (refused["steps"], refused["since"], refused["weights"]) == (
        {1: "Serving", 2: "Switching"},
        {1: 0, 2: 70},
        {1: 100, 2: 0},
    )


def test_a_candidate_that_answered_and_stops_answering_has_its_deadline_once_more() -> None:
    waits = candidate(2, 10) | {"step": "Switching", "reason": "PodRefused", "message": "policy"}
    seen = serving(
        model_deployment(held(stable(1), waits)),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1), workload(V2)],
        service=service_at(V1),
    )
    found = summary(decide_model_deployment(seen, at(5000), SETTINGS))
    assert (found["steps"][2], found["since"][2], found["wakes"]) == ("Starting", 5000, 5600)


@pytest.mark.parametrize(("service", "left"), [(V1, 16), (V2, 16)])
def test_more_versions_than_a_status_holds_do_not_drain_at_once_but_the_one_that_clients_reach_stays(
    service: str, left: int
) -> None:
    olds = [draining(1), *(draining(number) for number in range(4, 4 + 18))]
    old_names = [place["deployment"] for place in olds]
    seen = serving(
        model_deployment(held(stable(2), *olds)),
        version(2),
        workloads=[workload(V2, ready=1), *(workload(name, ready=1) for name in old_names)],
        service=service_at(service),
        refused="services digits is forbidden: policy",
    )
    decision = decide_model_deployment(seen, at(30), SETTINGS)
    assert decision.status is not None
    check_whole(decision.status["places"])
    drains = [place["deployment"] for place in decision.status["places"] if place["role"] == "draining"]
    assert len(drains) == left == MAX_DRAINING
    assert (V1 in drains) == (service == V1)
    assert drains[-1] == name_of(21), "the oldest go first"
    assert MAX_DRAINING + 3 <= MAX_PLACES


def test_the_last_place_that_goes_leaves_an_empty_list() -> None:
    """A status without the list would be taken for one that was lost, and what answers for what is served."""
    seen = serving(
        model_deployment(held(candidate(1)), scaling={"minReplicas": 2}),
        version(1, approval="Rejected"),
        workloads=[workload(V1, ready=1, replicas=2)],
        service=service_at(V1),
    )
    decision = decide_model_deployment(seen, at(60), SETTINGS)
    assert (decision.status or {})["places"] == []
    gone = replace(seen, model_deployment=written(seen.model_deployment, decision))
    again = decide_model_deployment(gone, at(61), SETTINGS)
    assert (again.status or {})["places"] == []


# -- statuses without places -------------------------------------------------------------------------------------------

OF_THE_RELEASE_BEFORE = {
    "stable": {"version": 1, "deployment": V1},
    "candidate": {"version": 3, "deployment": V3},
    "draining": [{"version": 2, "deployment": V2}],
    "observedGeneration": 1,
    "replicas": 1,
}


def test_a_status_of_the_release_before_leaves_what_is_served_alone() -> None:
    """Its places are in fields that are not read any more: the Service says what is served, the Deployments what drains."""
    seen = serving(
        model_deployment(OF_THE_RELEASE_BEFORE),
        version(1),
        version(2, approval="Rejected"),
        version(3),
        workloads=[workload(V1, ready=1), workload(V2, ready=1), workload(V3)],
        services=[],
        service=service_at(V1),
    )
    decision = decide_model_deployment(seen, at(100), SETTINGS)
    found = summary(decision)
    assert (found["creates"], found["deletes"], found["points_at"], found["scales"]) == ([], [], [], {})
    assert found["creates_services"] == [V1, V3], "versions that the release before made have no Service yet"
    assert (found["stable"], found["candidate"], found["draining"]) == (1, 3, [2])
    assert found["since"] == {1: 100, 2: 100, 3: 100}
    assert found["conditions"]["Serving"] == "True Available"


def test_of_a_lost_status_what_does_not_answer_has_nothing_to_finish() -> None:
    seen = serving(
        model_deployment(),
        version(1),
        version(2),
        workloads=[workload(V1), workload(V2, ready=1), workload(V3)],
        service=service_at(V2),
    )
    found = summary(decide_model_deployment(seen, at(100), SETTINGS))
    assert (found["stable"], found["draining"], found["deletes"]) == (2, [], [V1, V3])


def test_a_status_of_the_release_before_whose_labels_cannot_be_read_is_no_reason_to_fail() -> None:
    odd = [workload(V1, ready=1), workload(V2, ready=1)]
    odd = [
        each.__class__(**{**each.__dict__, "labels": {labels.VERSION: number}})
        for each, number in zip(odd, ("²", "9" * 30), strict=True)
    ]
    seen = serving(model_deployment(OF_THE_RELEASE_BEFORE, version=3), version(3), workloads=odd, services=[])
    found = summary(decide_model_deployment(seen, at(100), SETTINGS))
    assert (found["stable"], found["candidate"], found["draining"]) == (None, 3, [])


# -- the Services of versions ------------------------------------------------------------------------------------------


def own_services_of(seen: ServingObserved) -> tuple[list[str], list[str]]:
    """Names of the versions' Services that are created and applied."""
    decision = decide_model_deployment(seen, at(60), SETTINGS)
    found = summary(decision)
    applied = [m["metadata"]["name"] for m in made(decision, "Service") if m["metadata"]["name"] != "digits"]
    return found["creates_services"], [name for name in applied if name not in found["creates_services"]]


def test_a_version_s_service_that_was_deleted_is_made_again_and_one_that_was_edited_is_put_right() -> None:
    of = model_deployment(held(stable(1)))
    seen = serving(of, version(1), workloads=[workload(V1, ready=1)], service=service_at(V1))
    assert own_services_of(seen) == ([], []), "what is as it is wanted costs nothing"
    without = serving(of, version(1), workloads=[workload(V1, ready=1)], service=service_at(V1), services=[])
    assert own_services_of(without) == ([V1], [])
    [_, own] = seen.services
    edited = own.__class__(**{**own.__dict__, "selector": {"app": "theirs"}})
    theirs = serving(of, version(1), workloads=[workload(V1, ready=1)], service=service_at(V1), services=[edited])
    assert own_services_of(theirs) == ([], [V1])


def test_a_version_s_service_that_is_refused_holds_up_no_switch() -> None:
    """Clients do not depend on it: the refusal is reported, and the Service that they use has moved."""
    seen = serving(
        model_deployment(held(stable(1), candidate(2))),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1), workload(V2, ready=1)],
        services=[],
        service=service_at(V2),
        refused="exceeded quota: count/services",
    )
    decision = decide_model_deployment(seen, at(60), SETTINGS)
    found = summary(decision)
    assert (found["stable"], found["candidate"], found["draining"]) == (2, None, [1])
    assert found["conditions"] == {"Serving": "True Available", "Progressing": "False PodRefused"}


def test_a_candidate_is_refused_after_what_is_served_was_written() -> None:
    seen = serving(
        model_deployment(held(stable(1)), scaling={"minReplicas": 2}),
        version(1),
        version(2),
        workloads=[workload(V1, ready=1)],
        services=[],
    )
    decision = decide_model_deployment(seen, at(60), SETTINGS)
    written = [(child.manifest["kind"], child.manifest["metadata"]["name"]) for child in decision.children]
    assert written == [
        ("Deployment", V1),
        ("Service", "digits"),
        ("Deployment", V2),
        ("Service", V1),
        ("Service", V2),
        ("PodDisruptionBudget", "digits"),
    ]


def test_a_version_that_answers_clients_is_not_given_up_for_one_of_its_pods() -> None:
    """A first version gets the Service before all its pods answer: those that do are all that clients have."""
    seen = serving(
        model_deployment(held(candidate(1)), scaling={"minReplicas": 2}),
        version(1),
        workloads=[workload(V1, ready=1, replicas=2)],
        pods=[server_pod(V1, phase="Pending", containers={names.FETCH_MODEL_CONTAINER: CORRUPT})],
        service=service_at(V1),
    )
    found = summary(decide_model_deployment(seen, at(60), SETTINGS))
    assert (found["deletes"], found["candidate"], found["failed"]) == ([], 1, None)
    assert found["conditions"]["Progressing"] == "True ModelCorrupt"


def test_every_step_belongs_to_a_role() -> None:
    assert {step for steps in STEPS.values() for step in steps} == {step.value for step in PlaceStep}
