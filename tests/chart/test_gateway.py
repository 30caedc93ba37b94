"""The gateway of the chart: what is rendered for it, what the operator hears of it, and what does not fit together."""

from typing import Any

import pytest
from fovea_operator.settings import Settings
from support import helm
from support.golden import Golden

GATEWAY_KINDS = ("Gateway", "EnvoyProxy", "BackendTrafficPolicy", "ClientTrafficPolicy")


def rendered(**gateway: Any) -> list[helm.Manifest]:
    return helm.template({"gateway": gateway})


def settings(manifests: list[helm.Manifest]) -> Settings:
    container = helm.one(manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    return Settings.from_environment({each["name"]: each.get("value", "x") for each in container["env"]})


def heard(manifests: list[helm.Manifest]) -> tuple[str, str, str, str]:
    found = settings(manifests)
    return found.gateway, found.gateway_address, found.gateway_domain, found.cluster_domain


def test_envoy_gateway_gets_all_that_it_needs(golden: Golden) -> None:
    manifests = rendered(className="envoy", envoy={"enabled": True, "image": "envoy:1"})
    made = {item["kind"]: item for item in manifests if item["kind"] in GATEWAY_KINDS}
    golden.check("chart/gateway.yaml", made)
    address = "fovea-gateway.envoy-gateway-system.svc.cluster.local"
    assert made["EnvoyProxy"]["spec"]["provider"]["kubernetes"]["envoyService"]["name"] == address.partition(".")[0]
    assert heard(manifests) == ("fovea-system/fovea", address, "", "cluster.local")


@pytest.mark.parametrize(
    ("gateway", "port"),
    [
        ({}, 0),
        ({"className": "envoy", "envoy": {"enabled": True}}, 19001),
        ({"className": "other", "address": "proxies.gateways.svc"}, 0),
        ({"className": "other", "address": "proxies.gateways.svc", "statisticsPort": 9901}, 9901),
        ({"className": "envoy", "address": "models.example.com", "envoy": {"enabled": True}}, 19001),
    ],
    ids=["no gateway", "Envoy Gateway", "another one", "another one with Envoy's counters", "by another name"],
)
def test_the_operator_hears_where_requests_are_counted(gateway: dict[str, Any], port: int) -> None:
    found = settings(rendered(**gateway))
    assert found.gateway_statistics_port == port
    proxies = {9901: "gateways/proxies", 19001: "envoy-gateway-system/fovea-gateway"}
    assert found.gateway_proxies == proxies.get(port, "")


def test_with_tls_the_gateway_has_two_more_listeners_and_the_operator_hears_of_their_ports() -> None:
    tls = {"enabled": True, "certificateSecret": "models-tls", "restPort": 9443}
    manifests = rendered(className="envoy", envoy={"enabled": True}, tls=tls)
    gateway = helm.one(manifests, "Gateway", "fovea")
    listeners = {each["name"]: each for each in gateway["spec"]["listeners"]}
    assert {name: each["port"] for name, each in listeners.items()} == {
        "grpc": 8500,
        "rest": 8501,
        "grpc-tls": 8443,
        "rest-tls": 9443,
    }
    for name, kind in (("grpc-tls", "GRPCRoute"), ("rest-tls", "HTTPRoute")):
        assert listeners[name]["tls"]["certificateRefs"] == [{"kind": "Secret", "name": "models-tls"}]
        assert listeners[name]["allowedRoutes"]["kinds"] == [{"kind": kind}]
    found = settings(manifests)
    assert (found.gateway_grpc_tls_port, found.gateway_rest_tls_port) == (8443, 9443)
    existing = {"parentRef": {"namespace": "gateways", "name": "models"}, "address": "models.gateways.svc"}
    found = settings(rendered(**existing, tls={"enabled": True}))
    assert (found.gateway_grpc_tls_port, found.gateway_rest_tls_port) == (8443, 443)


def test_a_limit_holds_for_each_model_by_itself() -> None:
    manifests = rendered(className="envoy", envoy={"enabled": True, "requestsPerSecond": 500})
    limit = helm.one(manifests, "BackendTrafficPolicy", "fovea")["spec"]["rateLimit"]
    assert limit == {"type": "Local", "local": {"rules": [{"limit": {"requests": 500, "unit": "Second"}}]}}


def test_a_request_that_does_not_come_whole_and_a_silent_one_end_and_connections_have_a_limit() -> None:
    def made(**envoy: Any) -> dict[str, Any]:
        found = helm.one(rendered(className="envoy", envoy={"enabled": True, **envoy}), "ClientTrafficPolicy", "fovea")
        http, limit = found["spec"]["timeout"]["http"], found["spec"]["connection"]["connectionLimit"]
        return http | limit

    assert made() == {"requestReceivedTimeout": "120s", "streamIdleTimeout": "3600s", "value": 10000}
    assert made(requestSeconds=5, idleSeconds=660, maxConnections=7) == {
        "requestReceivedTimeout": "5s",
        "streamIdleTimeout": "660s",
        "value": 7,
    }


def test_the_activator_is_there_where_requests_are_counted(golden: Golden) -> None:
    manifests = rendered(className="envoy", envoy={"enabled": True})
    made = [item for item in manifests if item["metadata"]["name"] == "fovea-activator"]
    golden.check("chart/activator.yaml", {item["kind"]: item for item in made})
    assert settings(manifests).gateway_activator == "fovea-system/fovea-activator"
    for gateway in (
        {},
        {"className": "other", "address": "proxies.gateways.svc"},
        {"className": "envoy", "envoy": {"enabled": True}, "activator": {"replicas": 0}},
    ):
        without = rendered(**gateway)
        assert not [item for item in without if item["metadata"]["name"] == "fovea-activator"]
        assert settings(without).gateway_activator == ""


def test_one_proxy_has_no_disruption_budget_since_it_would_hold_up_every_drain() -> None:
    made = rendered(className="envoy", envoy={"enabled": True, "replicas": 1})
    [proxy] = [item for item in made if item["kind"] == "EnvoyProxy"]
    assert "envoyPDB" not in proxy["spec"]["provider"]["kubernetes"]


def test_a_gateway_that_exists_is_named_to_the_operator_and_none_is_made() -> None:
    manifests = rendered(
        parentRef={"namespace": "gateways", "name": "models"},
        address="models.gateways.svc.example.org",
        domain="models.example.com",
        clusterDomain="example.org",
    )
    assert not [item for item in manifests if item["kind"] in GATEWAY_KINDS]
    assert heard(manifests) == (
        "gateways/models",
        "models.gateways.svc.example.org",
        "models.example.com",
        "example.org",
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"className": "envoy", "parentRef": {"namespace": "gateways", "name": "models"}},
            "gateway.className makes a Gateway and gateway.parentRef names one that exists: set one of them",
        ),
        ({"parentRef": {"name": "models"}}, "gateway.parentRef needs both a namespace and a name"),
        ({"parentRef": {"namespace": "gateways"}}, "gateway.parentRef needs both a namespace and a name"),
        ({"className": "cilium"}, "gateway.address is empty: set it to the DNS name inside the cluster"),
        ({"envoy": {"enabled": True}}, "set gateway.className, or leave it false"),
        (
            {"className": "a", "address": "10.0.0.5", "statisticsPort": 1},
            "statisticsPort needs the Service of the proxies",
        ),
        ({"className": "a", "address": "a.example.com", "statisticsPort": 1}, "must be <service>.<namespace>.svc"),
        ({"domain": "Models"}, "gateway/domain"),
        (
            {"tls": {"enabled": True}},
            "gateway.tls.enabled is about a Gateway: set gateway.className or gateway.parentRef",
        ),
        (
            {"className": "envoy", "envoy": {"enabled": True}, "tls": {"enabled": True}},
            "gateway.tls.certificateSecret is empty: name a Secret of type kubernetes.io/tls",
        ),
        ({"tls": {"restPort": 0}}, "gateway/tls/restPort"),
        ({"envoy": {"replicas": 0}}, "gateway/envoy/replicas"),
        # A request may wait for 600 seconds at the activator.
        ({"envoy": {"idleSeconds": 600}}, "gateway/envoy/idleSeconds"),
        ({"envoy": {"requestSeconds": 0}}, "gateway/envoy/requestSeconds"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused_with_the_next_step(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmFailed, match=said):
        rendered(**values)
