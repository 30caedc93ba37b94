"""Rollouts that compare answers: the comparator and its routes come and go in an order in which no request fails, and what is decided by it."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import labels, names
from fovea_api.v1alpha1.model_deployment_status import Place
from fovea_operator.desired.comparator import CONTAINER, comparator, comparator_service, compares
from fovea_operator.desired.routes import Mirror, mirror, routes
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import ContainerRecord, DeploymentRecord, PodRecord, ServiceRecord
from fovea_operator.reconcile.shared.traffic import Compared, Requests, Traffic
from support.golden import Golden
from support.observations import SETTINGS, at, version
from support.rollout_table import PULL, V1, V2, held, place, stable
from support.routes import GATEWAY, SERVED, share, through_gateway
from support.serving_observations import (
    budget_of,
    candidate_budget_of,
    model_deployment,
    own_service,
    route_record,
    service_record,
    serving,
    workload,
)

NAME = names.comparator("digits")
ROLLOUT = {
    "strategy": "Canary",
    "steps": [{"weight": 0, "holdSeconds": 60}, {"weight": 50, "holdSeconds": 60}],
    "mirror": {"percent": 20},
    "analysis": {"minRequests": 100, "maxDrift": 0.05},
}
COPIES = Mirror(NAME, 20)
GOOD = Requests(1000, 0, {10.0: 1000})


def shifting(step: int = 1, weight: int = 0) -> dict[str, Any]:
    shift = {"step": step, "steps": 3, "weight": weight, "since": times.text(at(0))}
    return place(2, "candidate", "Shifting", shift=shift, weight=weight)


PLACES = [Place.model_validate(stable(1)), Place.model_validate(shifting())]
COMPARES = compares(*PLACES)


def comparing(ready: int = 1, of: str = COMPARES) -> DeploymentRecord:
    held_labels = labels.of_comparator("digits", "digits", of)
    return replace(workload(V1, ready=ready), name=NAME, uid=f"{NAME}-uid", labels=held_labels)


SERVICE = service_record(comparator_service(model_deployment()))


def decided(
    candidate: dict[str, Any] | None,
    *,
    comparators: tuple[DeploymentRecord, ...] = (comparing(),),
    services: tuple[ServiceRecord, ...] = (SERVICE,),
    copies: Mirror | None = COPIES,
    compared: Compared | None = None,
    now: float = 10,
    weight: int = 0,
    wanted: int = 2,
    rollout: dict[str, Any] = ROLLOUT,
    **seen_besides: Any,
) -> Decision:
    """What is decided `now` seconds after T0 with these comparators, where the routes mirror to `copies`."""
    shares = [share(V1, 100 - weight), share(V2, weight)]
    gateway = replace(GATEWAY, domain="")
    places = [stable(1) | {"weight": 100 - weight}, *([] if candidate is None else [candidate])]
    known = {V1: GOOD, V2: GOOD}
    seen = serving(
        model_deployment(held(*places), rollout=rollout, version=wanted),
        *(version(1), version(2)),
        workloads=[workload(V1, ready=1), workload(V2, ready=1), *comparators],
        services=[own_service(V1), own_service(V2), *services],
        service=through_gateway(),
        budget=budget_of(V1),
        candidate_budgets=[] if candidate is None else [candidate_budget_of(V2)],
        routes=[route_record(each) for each in routes(model_deployment(), gateway, shares, copies)],
        serves_routes=True,
        traffic=Traffic(known, known, compared=compared or Compared()),
        **seen_besides,
    )
    return decide_model_deployment(seen, at(now), SERVED)


def made(decision: Decision) -> list[tuple[str, str]]:
    return [(child.manifest["kind"], child.manifest["metadata"]["name"]) for child in decision.children]


def place_of_2(decision: Decision) -> dict[str, Any]:
    [found] = [each for each in (decision.status or {})["places"] if each["version"] == 2]
    return dict(found)


def test_the_comparator(golden: Golden) -> None:
    of = model_deployment()
    found = {"deployment": comparator(of, *PLACES, SETTINGS), "service": comparator_service(of)}
    golden.check("operator/comparator.yaml", found)


def test_requests_are_mirrored_once_the_comparator_is_ready() -> None:
    first = decided(shifting(), comparators=(), services=(), copies=None)
    assert made(first) == [("Deployment", NAME), ("Service", NAME)]
    assert all(child.is_optional for child in first.children), "a quota that refuses it holds up nothing else"
    assert made(decided(shifting(), comparators=(comparing(ready=0),), copies=None)) == []
    begun = [child.manifest for child in decided(shifting(), copies=None).children]
    assert [(each["kind"], mirror(each["spec"])) for each in begun] == [("GRPCRoute", COPIES), ("HTTPRoute", COPIES)]
    assert made(decided(shifting())) == []


def test_a_rollout_that_is_over_ends_the_mirror_before_its_service() -> None:
    over = decided(None, wanted=1)
    assert [mirror(route.manifest["spec"]) for route in over.children] == [None, None]
    assert [(deletion.gvk.kind, deletion.name) for deletion in over.deletions if deletion.name == NAME] == [
        ("Deployment", NAME)
    ]
    then = decided(None, wanted=1, comparators=(), copies=None)
    assert [(deletion.gvk.kind, deletion.name) for deletion in then.deletions if deletion.name == NAME] == [
        ("Service", NAME)
    ]


def test_a_comparator_of_other_versions_goes_and_another_one_comes() -> None:
    other = decided(shifting(), comparators=(comparing(of="1-aaaa.9-bbbb"),))
    assert [deletion.name for deletion in other.deletions] == [NAME]
    ends = [mirror(route.manifest["spec"]) for route in other.children]
    assert ends == [None, None], "nothing is compared with the wrong version"


@pytest.mark.parametrize(
    ("compared", "then"),
    [
        (Compared(99, 99.0), ("Shifting", "100 mirrored requests to versions 1 and 2")),
        (Compared(100, 5.0), ("Shifting", None)),
        (
            Compared(100, 5.5, 2),
            (
                "Shifting",
                "more mirrored requests, which tell it from chance: its answers to 100 mirrored requests differ by 5.5 % from "
                "those of version 1; it failed 2 of them alone (rollout.analysis.maxDrift allows 5 %)",
            ),
        ),
        (Compared(100, 20.0, 2), ("GivenUp", None)),
    ],
    ids=["too few", "as far apart as allowed", "further apart, perhaps by chance", "further apart"],
)
def test_a_version_is_judged_by_how_far_its_answers_are(compared: Compared, then: tuple[str, str | None]) -> None:
    found = place_of_2(decided(shifting(), compared=compared))
    step = "GivenUp" if found["role"] == "failed" else found["step"]
    assert (step, found.get("shift", {}).get("waitsFor")) == then


def test_a_version_whose_answers_differ_goes_back_with_the_numbers() -> None:
    decision = decided(shifting(2, 50), compared=Compared(200, 31.0, 4), weight=50)
    found = place_of_2(decision)
    assert (found["role"], found["step"], found["reason"]) == ("failed", "Leaving", "OutputsDiffer")
    assert found["message"] == (
        "its answers to 200 mirrored requests differ by 15.5 % from those of version 1; it failed 4 of them alone "
        "(rollout.analysis.maxDrift allows 5 %)"
    )


def test_a_step_without_weight_is_judged_by_answers_alone_and_then_the_next_one_begins() -> None:
    shift = place_of_2(decided(shifting(), compared=Compared(100, 0.0), now=60))["shift"]
    assert (shift["step"], shift["weight"]) == (2, 50)


def comparator_pod(container: ContainerRecord | None = None, of: str = COMPARES, **fields: Any) -> PodRecord:
    values = {"node": "node-1"} | fields
    held_labels = labels.of_comparator("digits", "digits", of)
    records = {} if container is None else {CONTAINER: container}
    return PodRecord("vision", f"{NAME}-x", "x", held_labels, "Pending", at(0), containers=records, **values)


UNREADY = (comparing(ready=0),)
TAKEN = f"Service vision/{NAME} exists and is owned by ModelDeployment {NAME}: delete it"
TROUBLE: dict[str, tuple[dict[str, Any], str]] = {
    "its pods are refused": (
        {"comparators": (replace(comparing(ready=0), replica_failure="exceeded quota"),)},
        f"pods of Deployment {NAME} are refused: exceeded quota",
    ),
    "it is refused itself": (
        {"comparators": (), "left_out": {"Deployment": "denied by a policy."}},
        f"Deployment {NAME} is refused: denied by a policy",
    ),
    "another model has its name": (
        {"services": (), "left_out": {"Service": TAKEN}},
        f"Service {NAME} is refused: {TAKEN}",
    ),
    "its image cannot be pulled": (
        {"comparators": UNREADY, "pods": [comparator_pod(PULL)]},
        "the image of comparator cannot be pulled: Back-off pulling image",
    ),
    "it ends again and again": (
        {"comparators": UNREADY, "pods": [comparator_pod(ContainerRecord(last_exit_code=2, last_message="no flag"))]},
        f"the comparator of pod {NAME}-x ended with 2: no flag",
    ),
    "no node takes it": (
        {"comparators": UNREADY, "pods": [comparator_pod(node="", unschedulable="0/1 nodes are available.")]},
        f"no node takes pod {NAME}-x: 0/1 nodes are available",
    ),
    "it is starting": ({"comparators": UNREADY, "pods": [comparator_pod()]}, ""),
    "it is yet to be made": ({"comparators": (), "services": ()}, ""),
    "a pod of the rollout before": ({"comparators": UNREADY, "pods": [comparator_pod(PULL, of="1-a.9-b")]}, ""),
    "what was refused is there now": ({"left_out": {"Deployment": "denied", "Service": "denied"}}, ""),
}


@pytest.mark.parametrize("sentence", TROUBLE)
def test_a_rollout_that_waits_for_a_comparator_says_what_is_wrong_with_it(sentence: str) -> None:
    seen, wrong = TROUBLE[sentence]
    decision = decided(shifting(), copies=None, now=9999, **seen)
    said = "100 mirrored requests to versions 1 and 2" + (f", which nothing compares: {wrong}" if wrong else "")
    assert place_of_2(decision)["shift"]["waitsFor"] == said
    assert f"the rollout waits for {said}." in (decision.status or {})["message"]


def test_a_comparator_that_has_compared_enough_or_decides_nothing_holds_up_nothing() -> None:
    broken = {"comparators": (replace(comparing(ready=0), replica_failure="exceeded quota"),), "copies": None}
    assert place_of_2(decided(shifting(), compared=Compared(100, 0.0), now=60, **broken))["shift"]["step"] == 2
    decides_nothing = ROLLOUT | {"analysis": {"minRequests": 2000}}
    found = place_of_2(decided(shifting(2, 50), weight=50, rollout=decides_nothing, **broken))
    assert found["shift"]["waitsFor"] == "2000 requests to version 2"


def test_the_status_shows_how_far_answers_are_apart() -> None:
    traffic = place_of_2(decided(shifting(), compared=Compared(100, 2.5)))["traffic"]
    assert (traffic["compared"], traffic["drift"]) == (100, 0.025)
