"""A model without requests: the way to no pod and back, as the status, the gateway and the activator show it."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_api.v1alpha1.model_deployment_status import ModelDeploymentStatus
from fovea_operator.desired import routes
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.serving.sleeping import in_vain
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision, Write
from fovea_operator.reconcile.shared.observed import RouteRecord
from fovea_operator.reconcile.shared.traffic import Held, Load, Sample
from support.golden import Golden
from support.observations import at, version
from support.rollout_table import CORRUPT, V1, V2, candidate, draining, held, place, stable
from support.routes import GATEWAY, share, through_gateway
from support.serving_observations import model_deployment, route_record, server_pod, serving, workload
from support.sleeping import ACTIVATOR, DIRECT, NOW, QUIET, SETTINGS, SLEEPY, THROUGH, load, ways


def asleep(step: str, since: float, end: float | None = None) -> dict[str, Any]:
    """`end`: when its pods end."""
    status = held(place(1, "stable", step, since, weight=100))
    return status if end is None else status | {"scaling": {"replicas": 1, "endTime": times.text(at(end))}}


@dataclass
class Row:
    """What is seen, and what is decided."""

    status: dict[str, Any]
    routes: list[RouteRecord]
    step: str
    ready: int = 1
    replicas: int = 1
    load: Load | None = None
    waiting: int = 0
    scaled: int | None = None
    """The number of pods that is written; None: it stays."""
    through: bool | None = None
    """Whether the routes that are written go through the activator; None: none is written."""
    serving: str = "True Available"
    wanted: int = 1
    scaling: dict[str, Any] = field(default_factory=lambda: dict(SLEEPY))
    pods: list[Any] = field(default_factory=list)
    says: str = ""
    activator: bool | None = True
    created: float = NOW - 1
    """When the pods that are ready were made."""


TABLE = {
    "a model with requests serves": Row(held(stable(1)), DIRECT, "Serving", load=load(1, last=0)),
    "one without for a while serves, too": Row(held(stable(1)), DIRECT, "Serving", load=load(0, 0, last=299)),
    "after idleSeconds its requests are to go to the activator, and its pod stays": Row(
        held(stable(1)), DIRECT, "Idle", load=QUIET, through=True, serving="True ScaledToZero"
    ),
    "one that has just woken is not idle, whatever was counted before": Row(
        held(place(1, "stable", "Serving", 800, weight=100)), DIRECT, "Serving", load=QUIET
    ),
    "of a gateway that cannot be read nothing is known": Row(
        held(stable(1)), DIRECT, "Serving", load=replace(QUIET, trouble="no proxy answers")
    ),
    "a gateway that does not know the activator gets its pin first": Row(
        held(stable(1)),
        [
            route_record(each)
            for each in routes.routes(model_deployment(), replace(GATEWAY, domain=""), [share(V1, 100)])
        ],
        "Serving",
        load=QUIET,
        through=False,
    ),
    "the pod stays until the gateway has taken the routes": Row(
        asleep("Idle", 900),
        ways(share(V1, 100), sleeps=True, said=None),
        "Idle",
        load=QUIET,
        serving="True ScaledToZero",
    ),
    "and ten seconds longer": Row(asleep("Idle", 995), THROUGH, "Idle", load=QUIET, serving="True ScaledToZero"),
    "of requests under way nothing is known: it stays, but not for ever": Row(
        asleep("Idle", 980, end=995), THROUGH, "Idle", serving="True ScaledToZero"
    ),
    "or it ends": Row(asleep("Idle", 800, end=870), THROUGH, "Idle", scaled=0, serving="True ScaledToZero"),
    "where no activator was heard of a model does not fall asleep": Row(
        held(stable(1)), DIRECT, "Serving", load=QUIET, activator=None
    ),
    "and while there is none, one that sleeps wakes": Row(
        asleep("Idle", 500),
        THROUGH,
        "Waking",
        ready=0,
        replicas=0,
        scaled=1,
        activator=False,
        serving="False ScalingFromZero",
    ),
    "a new operator does not know yet, and lets it sleep": Row(
        asleep("Idle", 500), THROUGH, "Idle", ready=0, replicas=0, activator=None, serving="True ScaledToZero"
    ),
    "a pod that is about to end does not count": Row(
        asleep("Idle", 500), THROUGH, "Waking", replicas=0, created=100, waiting=1, scaled=1
    ),
    "nor when the first look comes after it": Row(asleep("Waking", 998), THROUGH, "Waking", created=100, waiting=1),
    "one that stayed counts": Row(asleep("Waking", 990), THROUGH, "Serving", created=100, waiting=1, through=False),
    "a reading from before that says nothing of requests that came since": Row(
        asleep("Idle", 980, end=995),
        THROUGH,
        "Idle",
        load=replace(QUIET, samples=(Sample(at(994), 0),)),
        serving="True ScaledToZero",
    ),
    "then it ends": Row(
        asleep("Idle", 980, end=995), THROUGH, "Idle", load=QUIET, scaled=0, serving="True ScaledToZero"
    ),
    "a request that still came to it wakes the model": Row(
        asleep("Idle", 980), THROUGH, "Serving", load=load(0, 0, last=5), through=False
    ),
    "without a request no pod runs": Row(
        asleep("Idle", 500),
        THROUGH,
        "Idle",
        ready=0,
        replicas=0,
        serving="True ScaledToZero",
        says="Version 1 of model digits has no requests: the next one starts a pod.",
    ),
    "a request at the activator starts a pod": Row(
        asleep("Idle", 500),
        THROUGH,
        "Waking",
        ready=0,
        replicas=0,
        waiting=1,
        scaled=1,
        serving="False ScalingFromZero",
    ),
    "many start as many as they need": Row(
        asleep("Idle", 500),
        THROUGH,
        "Waking",
        ready=0,
        replicas=0,
        waiting=100,
        scaled=3,
        scaling={**SLEEPY, "maxReplicas": 3},
        serving="False ScalingFromZero",
    ),
    "until it answers, requests wait": Row(
        asleep("Waking", 990),
        THROUGH,
        "Waking",
        ready=0,
        waiting=1,
        serving="False ScalingFromZero",
        says="Requests wait until a pod of version 1 of model digits answers.",
    ),
    "also when the client has gone": Row(
        asleep("Waking", 990), THROUGH, "Waking", ready=0, serving="False ScalingFromZero"
    ),
    "but not for ever": Row(asleep("Waking", 300), THROUGH, "Idle", ready=0, serving="True ScaledToZero"),
    "once it answers, requests go to it": Row(asleep("Waking", 990), THROUGH, "Serving", waiting=1, through=False),
    "a version that cannot start says why": Row(
        asleep("Waking", 990),
        THROUGH,
        "Waking",
        ready=0,
        waiting=1,
        serving="False ModelCorrupt",
        pods=[server_pod(V1, containers={names.FETCH_MODEL_CONTAINER: CORRUPT})],
    ),
    "a new version wakes the one that is served": Row(
        held(place(1, "stable", "Idle", 500, weight=100), candidate(2, 990)),
        THROUGH,
        "Waking",
        ready=0,
        replicas=0,
        scaled=1,
        wanted=2,
        serving="False ScalingFromZero",
        through=True,
    ),
    "a model that is to have pods again wakes": Row(
        asleep("Idle", 500),
        THROUGH,
        "Waking",
        ready=0,
        replicas=0,
        scaled=2,
        scaling={"minReplicas": 2},
        serving="False ScalingFromZero",
    ),
}


def decided(row: Row) -> Decision:
    of = model_deployment(row.status, scaling=row.scaling, version=row.wanted)
    workloads = [replace(workload(V1, ready=row.ready), replicas=row.replicas)]
    if row.wanted == 2:
        workloads.append(workload(V2))
    seen = serving(
        of,
        *(version(number) for number in range(1, row.wanted + 1)),
        workloads=workloads,
        routes=row.routes,
        serves_routes=True,
        service=through_gateway(),
        budget=None,
        load=row.load,
        held=Held(row.waiting, at(NOW - 3)) if row.waiting else None,
        pods=row.pods or [server_pod(V1, ready=True, created=at(row.created)) for _ in range(row.ready)],
        activator_answers=row.activator,
    )
    return decide_model_deployment(seen, at(NOW), SETTINGS)


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_the_way_to_no_pod_and_back(row: Row) -> None:
    decision = decided(row)
    status = ModelDeploymentStatus.model_validate(decision.status)
    assert status.stable is not None
    assert status.stable.step.value == row.step
    scaled = [
        child.manifest["spec"]["replicas"]
        for child in decision.children
        if child.write is Write.APPLY
        and child.manifest["kind"] == "Deployment"
        and child.manifest["metadata"]["name"] == V1
    ]
    assert scaled == ([] if row.scaled is None else [row.scaled])
    written = [child.manifest["spec"] for child in decision.children if child.manifest["kind"].endswith("Route")]
    assert {routes.through_activator(spec) for spec in written} == (set() if row.through is None else {row.through})
    said = next(each for each in status.conditions or () if each.type == "Serving")
    assert f"{said.status} {said.reason}" == row.serving
    assert row.says in said.message


def test_the_routes_of_a_model_that_sleeps(golden: Golden) -> None:
    gateway = replace(GATEWAY, activator=ACTIVATOR)
    made = routes.routes(model_deployment(), gateway, [replace(share(V1, 100), sleeps=True)], activates=True)
    golden.check("operator/routes-asleep.yaml", {manifest["kind"]: manifest for manifest in made})
    for manifest in made:
        assert routes.weights(manifest["spec"]) == {V1: 100}, "who looks for the version finds it"


def test_the_activator_may_be_named_by_the_routes_of_a_namespace(golden: Golden) -> None:
    golden.check("operator/reference-grant.yaml", routes.reference_grant(ACTIVATOR, "vision"))
    rows = {
        name: decided(TABLE[name])
        for name in ("a gateway that does not know the activator gets its pin first", "a model with requests serves")
    }
    granted = [
        [child.manifest["kind"] for child in decision.children].count("ReferenceGrant") for decision in rows.values()
    ]
    assert granted == [1, 0]


def test_the_cold_start_is_measured_from_the_first_request_that_waited() -> None:
    status = ModelDeploymentStatus.model_validate(decided(TABLE["once it answers, requests go to it"]).status)
    assert status.scaling is not None
    assert status.scaling.cold_start_seconds == 3.0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            TABLE["a version that cannot start says why"],
            "version 1 of model digits cannot start: s3://fovea/m/2/saved_model.pb",
        ),
        (
            replace(TABLE["until it answers, requests wait"], status=asleep("Waking", -200)),
            "was not ready within 600 s",
        ),
        (TABLE["until it answers, requests wait"], None),
    ],
    ids=["the files are corrupt", "late", "on its way"],
)
def test_requests_wait_only_as_long_as_a_pod_may_come(row: Row, says: str | None) -> None:
    status = ModelDeploymentStatus.model_validate(decided(row).status)
    assert status.scaling is not None
    assert (status.scaling.unavailable or "").find(says or "") >= 0
    assert bool(status.scaling.unavailable) == bool(says)


def test_a_status_that_was_lost_while_the_model_slept_is_found_again() -> None:
    of = model_deployment(scaling=SLEEPY)
    seen = serving(
        of,
        version(1),
        workloads=[replace(workload(V1), replicas=0)],
        routes=THROUGH,
        serves_routes=True,
        service=through_gateway(),
        budget=None,
    )
    decision = decide_model_deployment(seen, at(NOW), SETTINGS)
    status = ModelDeploymentStatus.model_validate(decision.status)
    assert status.stable is not None
    assert (status.stable.version, status.stable.step.value) == (1, "Idle")
    assert not [child for child in decision.children if child.manifest["kind"].endswith("Route")]


@pytest.mark.parametrize(
    ("since", "roles"),
    [
        (990, [(1, "stable", "Waking"), (2, "candidate", "Switching")]),
        (300, [(2, "stable", "Switching"), (1, "draining", "Leaving")]),
    ],
    ids=["until the old version has answered", "not longer than it may take"],
)
def test_a_new_version_waits_for_those_who_wait_for_the_old_one(
    since: float, roles: list[tuple[int, str, str]]
) -> None:
    of = model_deployment(
        held(place(1, "stable", "Waking", since, weight=100), candidate(2, 900)), scaling=SLEEPY, version=2
    )
    seen = serving(
        of,
        version(1),
        version(2),
        workloads=[workload(V1), workload(V2, ready=1)],
        routes=ways(share(V1, 100), share(V2, 0), sleeps=True),
        serves_routes=True,
        service=through_gateway(),
        budget=None,
        held=Held(1, at(NOW - 3)),
    )
    status = ModelDeploymentStatus.model_validate(decide_model_deployment(seen, at(NOW), SETTINGS).status)
    assert [(each.version, each.role.value, each.step.value) for each in status.places or ()] == roles


def test_requests_hear_that_the_version_for_which_they_wait_is_replaced() -> None:
    status = ModelDeploymentStatus.model_validate(held(stable(2), draining(1)))
    assert in_vain(status, V1).startswith(
        "the version for which this request waited is not served any more: version 2 is"
    )
    assert in_vain(status, V2) == ""
    starts = ModelDeploymentStatus.model_validate(held(stable(1), candidate(2)))
    assert (in_vain(starts, V1), in_vain(starts, V2)) == ("", "")
    makes_room = ModelDeploymentStatus.model_validate(held(place(1, "stable", "Stopped"), candidate(2)))
    assert in_vain(makes_room, V1) != ""
