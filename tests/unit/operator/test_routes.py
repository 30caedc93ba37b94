"""ModelDeployments behind a gateway: their routes, and what is decided by what the gateway says of them."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fovea_operator.desired.routes import MAX_RULES, Activator, Mirror, Share, backends, mirror, routes, weights
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared.decision import Decision, Write
from fovea_operator.reconcile.shared.observed import RouteRecord
from support.golden import Golden
from support.observations import SETTINGS, at, version
from support.rollout_table import V1, V2, candidate, draining, held, place, stable
from support.routes import GATEWAY, SERVED, share, taken, through_gateway
from support.serving_observations import budget_of, model_deployment, route_record, service_at, serving, workload


def test_the_routes_of_two_versions(golden: Golden) -> None:
    made = routes(model_deployment(), GATEWAY, [share(V1, 90), share(V2, 10)])
    golden.check("operator/routes.yaml", {manifest["kind"]: manifest for manifest in made})


def test_with_tls_both_routes_attach_to_two_listeners_and_one_that_does_not_work_holds_up_nothing() -> None:
    manifests = routes(model_deployment(), replace(GATEWAY, grpc_tls_port=8443, rest_tls_port=443), [share(V1, 100)])
    assert [[parent["sectionName"] for parent in manifest["spec"]["parentRefs"]] for manifest in manifests] == [
        ["grpc", "grpc-tls"],
        ["rest", "rest-tls"],
    ]
    settings = replace(
        SERVED, gateway_domain="models.example.com", gateway_grpc_tls_port=8443, gateway_rest_tls_port=443
    )

    def view(records: list[RouteRecord]) -> ServingView:
        seen = serving(
            model_deployment(),
            version(1),
            workloads=[workload(V1, ready=1)],
            routes=records,
            serves_routes=True,
            service=through_gateway(),
            budget=None,
        )
        return ServingView.of(seen, at(60), settings)

    both = [route_record(manifest) for manifest in manifests]
    assert view(both).routed
    assert view([both[0], replace(both[1], parents=both[1].parents[:1])]).routed
    assert not view([both[0], replace(both[1], parents=both[1].parents[1:])]).routed
    refused = route_record(manifests[1], taken=False).parents[1]
    halves = [both[0], replace(both[1], parents=(both[1].parents[0], refused))]
    assert (view(halves).routed, view(halves).route_refusal) == (True, "")
    endpoint = view(both).endpoint()
    assert endpoint is not None
    assert (endpoint.external_grpc_tls, endpoint.external_rest_tls) == (
        "digits.vision.models.example.com:8443",
        "https://digits.vision.models.example.com/v1/models/digits",
    )


def test_a_version_with_two_revisions_has_two_pins() -> None:
    twice = [Share(3, "aaaa", "digits-v3-aaaa", 0), Share(3, "bbbb", "digits-v3-bbbb", 100)]
    [grpc, _] = routes(model_deployment(), GATEWAY, twice)
    headers = [rule["matches"][0].get("headers") for rule in grpc["spec"]["rules"]]
    assert [header and header[0]["value"] for header in headers] == ["3", "3-bbbb", None]


@pytest.mark.parametrize("copies", [None, Mirror("digits-comparator", 10)])
def test_a_route_has_no_more_rules_than_the_gateway_api_allows_and_always_the_weights(copies: Mirror | None) -> None:
    many = [Share(number, "aaaa", f"digits-v{number}-aaaa", 100 if number == 1 else 0) for number in range(1, 20)]
    grpc, rest = routes(model_deployment(), GATEWAY, many, copies)
    for manifest in (grpc, rest):
        assert len(manifest["spec"]["rules"]) == MAX_RULES
        assert weights(manifest["spec"]) == {"digits-v1-aaaa": 100}
    assert (mirror(grpc["spec"]), mirror(rest["spec"])) == (copies, copies)
    assert copies is None or copies.service in backends(grpc["spec"]), "Envoy Gateway finds it only as a backend"


def test_no_client_knows_how_to_ask_the_comparator_or_the_activator() -> None:
    """The comparator would answer with nothing and OK, and its counts would be of what nobody mirrored."""

    def pins(uid: str) -> dict[str, str]:
        of = model_deployment()
        of = of.model_copy(update={"metadata": of.metadata.model_copy(update={"uid": uid})})
        gateway = replace(GATEWAY, activator=Activator("fovea-system", "fovea-activator"))
        given: list[dict[str, str]] = []
        for manifest in routes(of, gateway, [share(V1, 100)], Mirror("digits-comparator", 10), activates=True):
            pinned = [rule for rule in manifest["spec"]["rules"] if "headers" in rule["matches"][0]]
            given.append({r["backendRefs"][0]["name"]: r["matches"][0]["headers"][0]["value"] for r in pinned})
        assert given[0] == given[1]
        return given[0]

    one, again, other = (pins(uid) for uid in ("uid-1", "uid-1", "uid-2"))
    assert one == again, "the same for as long as the object is there: nothing is written for it"
    assert one[V1] == other[V1] == "1"
    for service, guess in (("digits-comparator", "comparator"), ("fovea-activator", "activator")):
        assert one[service] != other[service]
        assert re.fullmatch(rf"{guess}-[0-9a-f]{{32}}", one[service])
        assert "uid-1" not in one[service]


def test_weights_are_read_as_percentages_whoever_has_written_them() -> None:
    spec = {
        "rules": [
            {"matches": [{"headers": [{"name": "x-fovea-version", "value": "3"}]}], "backendRefs": [{"name": "c"}]},
            {"backendRefs": [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}, {"name": "d", "weight": 0}]},
        ]
    }
    assert (weights(spec), backends(spec)) == ({"a": 25, "b": 75}, {"a", "b", "c", "d"})
    assert (weights({}), backends({})) == ({}, set())


@dataclass
class Row:
    """What is seen, and what is decided 60 s after T0."""

    seen: dict[str, Any]
    status: dict[str, Any] | None = None
    routes: dict[str, int] | None = None
    """The weights that both routes are written with, by Service; None: they are not written."""
    service: str = ""
    """Type of the clients' Service as it is written; empty: it is not."""
    places: list[tuple[int, str, str, int]] = field(default_factory=list)
    conditions: dict[str, str] = field(default_factory=dict)
    says: str = ""
    deletes: list[str] = field(default_factory=list)


RUNNING_1 = {"workloads": [workload(V1, ready=1)], "serves_routes": True}
RUNNING = {"workloads": [workload(V1, ready=1), workload(V2, ready=1)], "serves_routes": True}
BOTH = held(stable(1), candidate(2))
AVAILABLE = "True Available"
TABLE: dict[str, Row] = {
    "the first version gets its Service before a route names it": Row(
        {"serves_routes": True, "versions": 1},
        service="ExternalName",
        places=[(1, "candidate", "Starting", 0)],
    ),
    "then the routes, with all requests for the first version": Row(
        {"workloads": [workload(V1)], "service": through_gateway(), "serves_routes": True, "versions": 1},
        held(candidate(1)),
        routes={V1: 100},
        places=[(1, "candidate", "Starting", 0)],
    ),
    "a version that answers is served once the gateway has taken the routes": Row(
        {**RUNNING_1, "service": through_gateway(), "routes": taken(share(V1, 100)), "versions": 1},
        held(candidate(1)),
        places=[(1, "stable", "Serving", 100)],
        conditions={"Serving": AVAILABLE, "Progressing": "False UpToDate"},
    ),
    "until then it says what it waits for": Row(
        {**RUNNING_1, "service": through_gateway(), "routes": taken(share(V1, 100), said=None), "versions": 1},
        held(candidate(1)),
        places=[(1, "stable", "Switching", 0)],
        conditions={"Serving": AVAILABLE, "Progressing": "True RoutePending"},
        says="Gateway fovea-system/fovea has not taken the routes of this model yet.",
    ),
    "a route that the gateway refuses is told with its words": Row(
        {**RUNNING_1, "service": through_gateway(), "routes": taken(share(V1, 100), said=False), "versions": 1},
        held(stable(1)),
        places=[(1, "stable", "Switching", 100)],
        conditions={"Serving": "False RouteRefused", "Progressing": "False RouteRefused"},
        says="Gateway fovea-system/fovea does not take a route of this model: GRPCRoute digits: said.",
    ),
    "a Service that selects pods goes on until the gateway has the routes": Row(
        {**RUNNING_1, "service": service_at(V1), "routes": taken(share(V1, 100), said=None), "versions": 1},
        held(stable(1)),
        places=[(1, "stable", "Serving", 100)],
        conditions={"Serving": AVAILABLE, "Progressing": "True RoutePending"},
    ),
    "then its name stands for the gateway": Row(
        {**RUNNING_1, "service": service_at(V1), "routes": taken(share(V1, 100)), "versions": 1},
        held(stable(1)),
        service="ExternalName",
        places=[(1, "stable", "Serving", 100)],
    ),
    "a Service with a port on each node goes on to select pods": Row(
        {
            **RUNNING_1,
            "spec": {"service": {"type": "NodePort"}},
            "service": service_at(V1, of=model_deployment(service={"type": "NodePort"})),
            "routes": taken(share(V1, 100)),
            "versions": 1,
        },
        held(stable(1)),
        places=[(1, "stable", "Serving", 100)],
    ),
    "a candidate is pinned while it starts": Row(
        {
            "workloads": [workload(V1, ready=1), workload(V2)],
            "service": through_gateway(),
            "routes": taken(share(V1, 100)),
            "serves_routes": True,
        },
        BOTH,
        routes={V1: 100},
        places=[(1, "stable", "Serving", 100), (2, "candidate", "Starting", 0)],
    ),
    "one that answers waits until the gateway knows its Service": Row(
        {**RUNNING, "service": through_gateway(), "routes": taken(share(V1, 100), share(V2, 0), said=None)},
        BOTH,
        places=[(1, "stable", "Serving", 100), (2, "candidate", "Switching", 0)],
        conditions={"Serving": AVAILABLE, "Progressing": "True RoutePending"},
        says="Version 2 answers; Gateway fovea-system/fovea has not taken its route yet.",
    ),
    "then it gets all requests, and the old one leaves": Row(
        {**RUNNING, "service": through_gateway(), "routes": taken(share(V1, 100), share(V2, 0))},
        BOTH,
        routes={V2: 100},
        places=[(2, "stable", "Switching", 0), (1, "draining", "Leaving", 100)],
    ),
    "the old one drains from when the gateway sends it nothing": Row(
        {**RUNNING, "service": through_gateway(), "routes": taken(share(V2, 100), share(V1, 0))},
        held(place(2, "stable", "Switching"), place(1, "draining", "Leaving", weight=100)),
        places=[(2, "stable", "Serving", 100), (1, "draining", "Draining", 0)],
    ),
    "a version that drains goes on to drain while other routes are taken": Row(
        {**RUNNING, "service": through_gateway(), "routes": taken(share(V2, 100), share(V1, 0), said=None)},
        held(stable(2), draining(1, since=30)),
        places=[(2, "stable", "Serving", 100), (1, "draining", "Draining", 0)],
    ),
    "routes that somebody has edited are written again": Row(
        {**RUNNING_1, "service": through_gateway(), "routes": taken(share(V1, 50), share(V2, 50)), "versions": 1},
        held(stable(1)),
        routes={V1: 100},
        places=[(1, "stable", "Switching", 50)],
    ),
    "without the Gateway API clients go directly, and the status says so": Row(
        {"workloads": [workload(V1, ready=1)], "service": service_at(V1), "versions": 1},
        held(stable(1)),
        places=[(1, "stable", "Serving", 100)],
        conditions={"Serving": AVAILABLE, "Progressing": "False GatewayMissing"},
        says="install the Gateway API, or take gateway.className or gateway.parentRef out of the chart's values",
    ),
}


def decided(row: Row, *, gateway: bool = True) -> Decision:
    seen = dict(row.seen)
    of = model_deployment(row.status, **seen.pop("spec", {}))
    versions = [version(number + 1) for number in range(seen.pop("versions", 2))]
    seen.setdefault("budget", budget_of(V1))
    return decide_model_deployment(serving(of, *versions, **seen), at(60), SERVED if gateway else SETTINGS)


def written(decision: Decision, kind: str, name: str = "digits") -> dict[str, Any] | None:
    found = [
        child.manifest
        for child in decision.children
        if child.manifest["kind"] == kind and child.manifest["metadata"]["name"] == name
    ]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    row = TABLE[sentence]
    decision = decided(row)
    for kind in ("GRPCRoute", "HTTPRoute"):
        route = written(decision, kind)
        assert (route and weights(route["spec"])) == row.routes
    service = written(decision, "Service")
    assert (service["spec"]["type"] if service else "") == row.service
    status = decision.status or {}
    assert [(each["version"], each["role"], each["step"], each["weight"]) for each in status["places"]] == row.places
    conditions = {each["type"]: f"{each['status']} {each['reason']}" for each in status["conditions"]}
    assert conditions.items() >= row.conditions.items()
    assert row.says in status["message"]


def test_a_route_in_which_the_api_server_has_filled_in_fields_is_left_alone() -> None:
    found = taken(share(V1, 100))
    for route in found:
        route.spec["rules"][0]["name"] = "filled-in"
        route.spec["rules"][0]["backendRefs"][0]["filters"] = []
    decision = decided(
        Row({**RUNNING_1, "service": through_gateway(), "routes": found, "versions": 1}, held(stable(1)))
    )
    assert written(decision, "GRPCRoute") is written(decision, "HTTPRoute") is None


def test_a_gateway_that_is_taken_out_of_the_settings_leaves_no_route_and_no_gap() -> None:
    seen = {**RUNNING_1, "routes": taken(share(V1, 100)), "versions": 1}
    first = decided(Row({**seen, "service": through_gateway()}, held(stable(1))), gateway=False)
    service = written(first, "Service")
    assert service is not None
    assert service["spec"]["type"] == "ClusterIP"
    assert first.deletions == ()
    then = decided(Row({**seen, "service": service_at(V1)}, held(stable(1))), gateway=False)
    assert [deletion.gvk.kind for deletion in then.deletions] == ["GRPCRoute", "HTTPRoute"]


def test_all_children_behind_a_gateway_are_written_in_an_order_in_which_no_request_fails() -> None:
    decision = decided(TABLE["a candidate is pinned while it starts"])
    assert [(child.write, child.manifest["kind"]) for child in decision.children] == [
        (Write.APPLY, "GRPCRoute"),
        (Write.APPLY, "HTTPRoute"),
    ]
