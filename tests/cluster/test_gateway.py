"""Models behind a gateway, against the real definitions of the Gateway API; its controller and the kubelet are played."""

from collections.abc import Callable
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_dev.apiserver import ApiServer
from fovea_operator.desired import routes
from support.gateway_player import SETTINGS, Gateway, install
from support.jobs import condition, model_deployment, place_of, places_of
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess
from support.versions import model_version, workload_of

MODEL = "digits"


@pytest.fixture(scope="module")
def with_routes(server: ApiServer) -> None:
    install(server)


@pytest.fixture
def gateway(with_routes: None, cluster: Cluster) -> Gateway:
    return Gateway(cluster)


@pytest.fixture
def behind(gateway: Gateway, start_operator: Callable[..., OperatorProcess]) -> OperatorProcess:
    """An operator that puts models behind the gateway."""
    return start_operator(**SETTINGS).wait_ready()


def deployment(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("ModelDeployment", MODEL) or {}
    return found


def service(cluster: Cluster) -> dict[str, Any]:
    found = cluster.get("Service", MODEL) or {"spec": {}}
    return dict(found["spec"])


def weighs(cluster: Cluster, gateway: Gateway, **shares: int) -> None:
    """Wait until both routes say that: versions as v1=100."""

    def probe() -> bool:
        names = {f"v{workload_of(cluster, int(of[1:]))['metadata']['labels']['fovea.dev/version']}" for of in shares}
        assert names == set(shares)
        wanted = {workload_of(cluster, int(of[1:]))["metadata"]["name"]: share for of, share in shares.items()}
        found = [routes.weights(route["spec"]) for route in gateway.routes(MODEL).values()]
        return found == [wanted, wanted]

    cluster.wait(f"the routes say {shares}", probe)


def stands(cluster: Cluster, version: int, role: str, step: str) -> None:
    def probe() -> bool:
        place = place_of(deployment(cluster), role)
        return (place.get("version"), place.get("step")) == (version, step)

    cluster.wait(f"version {version} is {role}, {step}", probe)


def served(cluster: Cluster, kubelet: Kubelet, gateway: Gateway) -> None:
    """Version 1 gets all requests."""
    cluster.create(model_deployment(MODEL, MODEL, rollout={"drainSeconds": 1}))
    cluster.create(model_version(MODEL, 1))
    kubelet.deployment_available(workload_of(cluster, 1)["metadata"]["name"])
    weighs(cluster, gateway, v1=100)
    gateway.takes(MODEL)
    stands(cluster, 1, "stable", "Serving")


def test_a_version_gets_requests_only_as_the_gateway_takes_its_routes(
    cluster: Cluster, kubelet: Kubelet, gateway: Gateway, behind: OperatorProcess
) -> None:
    served(cluster, kubelet, gateway)
    assert service(cluster)["type"] == "ExternalName"
    assert service(cluster)["externalName"] == SETTINGS["GATEWAY_ADDRESS"]
    first = gateway.generations(MODEL)
    cluster.create(model_version(MODEL, 2))
    kubelet.deployment_available(workload_of(cluster, 2)["metadata"]["name"])
    stands(cluster, 2, "candidate", "Switching")
    assert condition(deployment(cluster), "Progressing")["reason"] == "RoutePending"
    assert gateway.generations(MODEL) == [each + 1 for each in first], "the pin of version 2, and nothing else"
    weighs(cluster, gateway, v1=100)
    gateway.takes(MODEL)
    weighs(cluster, gateway, v2=100)
    stands(cluster, 1, "draining", "Leaving")
    gateway.takes(MODEL)
    stands(cluster, 2, "stable", "Serving")
    cluster.wait("version 1 has drained", lambda: not places_of(deployment(cluster), "draining"))
    gateway.takes(MODEL)
    cluster.wait("all is done", lambda: condition(deployment(cluster), "Progressing")["reason"] == "UpToDate")
    assert [(each["version"], each["weight"]) for each in deployment(cluster)["status"]["places"]] == [(2, 100)]


def test_a_route_that_the_gateway_refuses_is_named_with_its_words(
    cluster: Cluster, kubelet: Kubelet, gateway: Gateway, behind: OperatorProcess
) -> None:
    served(cluster, kubelet, gateway)
    gateway.refuses(MODEL, "no listener allows this namespace")
    cluster.wait("it is not served", lambda: condition(deployment(cluster), "Serving")["reason"] == "RouteRefused")
    said = deployment(cluster)["status"]["message"]
    assert "Gateway gateways/models does not take a route of this model: GRPCRoute digits: no listener allows" in said
    gateway.takes(MODEL)
    cluster.wait("it is served", lambda: condition(deployment(cluster), "Serving")["status"] == "True")


def test_the_api_server_keeps_routes_as_they_are_wanted_so_that_nothing_is_written_twice(
    cluster: Cluster, kubelet: Kubelet, gateway: Gateway, behind: OperatorProcess
) -> None:
    served(cluster, kubelet, gateway)
    before = {kind: route["metadata"]["resourceVersion"] for kind, route in gateway.routes(MODEL).items()}
    behind.stop()
    behind.start().wait_ready()
    # One more decision, with all that the API server has filled in.
    cluster.patch("ModelDeployment", MODEL, {"spec": {"scaling": {"minReplicas": 2}}})
    cluster.wait("the scale", lambda: workload_of(cluster, 1)["spec"]["replicas"] == 2)
    assert {kind: route["metadata"]["resourceVersion"] for kind, route in gateway.routes(MODEL).items()} == before


def test_a_model_comes_behind_a_gateway_and_back_without_a_moment_in_which_it_has_no_way(
    cluster: Cluster, kubelet: Kubelet, gateway: Gateway, start_operator: Callable[..., OperatorProcess]
) -> None:
    direct = start_operator().wait_ready()
    cluster.create(model_deployment(MODEL, MODEL))
    cluster.create(model_version(MODEL, 1))
    kubelet.deployment_available(workload_of(cluster, 1)["metadata"]["name"])
    stands(cluster, 1, "stable", "Serving")
    assert (service(cluster)["type"], gateway.routes(MODEL)) == ("ClusterIP", {})
    direct.stop()
    behind = start_operator(**SETTINGS).wait_ready()
    weighs(cluster, gateway, v1=100)
    assert service(cluster)["type"] == "ClusterIP", "the gateway has not taken the routes"
    gateway.takes(MODEL)
    cluster.wait("the Service stands for the gateway", lambda: service(cluster)["type"] == "ExternalName")
    behind.stop()
    start_operator().wait_ready()
    cluster.wait("the routes are gone", lambda: not gateway.routes(MODEL))
    now = service(cluster)
    assert (now["type"], now["selector"]["fovea.dev/version"]) == ("ClusterIP", "1")
    assert "externalName" not in now


def test_a_canary_by_time_goes_through_its_steps_and_is_reported_as_promoted(
    cluster: Cluster, kubelet: Kubelet, gateway: Gateway, behind: OperatorProcess
) -> None:
    served(cluster, kubelet, gateway)
    assert condition(deployment(cluster), "Promoted")["status"] == "True"
    steps = [{"weight": weight, "holdSeconds": 0} for weight in (10, 40)]
    rollout = {"strategy": "Canary", "steps": steps, "bakeSeconds": 1, "analysis": {"minRequests": 0}}
    cluster.patch("ModelDeployment", MODEL, {"spec": {"rollout": rollout}})
    cluster.create(model_version(MODEL, 2))
    kubelet.deployment_available(workload_of(cluster, 2)["metadata"]["name"])
    stands(cluster, 2, "candidate", "Switching")
    gateway.takes(MODEL)
    for weight in (10, 40):
        weighs(cluster, gateway, v1=100 - weight, v2=weight)
        assert condition(deployment(cluster), "Promoted")["status"] == "False"
        gateway.takes(MODEL)
    weighs(cluster, gateway, v2=100)
    stands(cluster, 2, "candidate", "Baking")
    assert workload_of(cluster, 1)["spec"]["replicas"] == 1, "the way back is open"
    gateway.takes(MODEL)
    stands(cluster, 2, "stable", "Serving")
    cluster.wait("it is promoted", lambda: condition(deployment(cluster), "Promoted")["status"] == "True")
    assert [(each["version"], each["reason"]) for each in deployment(cluster)["status"]["history"]] == [
        (1, "Promoted"),
        (2, "Promoted"),
    ]


def test_a_canary_whose_requests_nobody_counts_waits_until_it_is_promoted_or_aborted(
    cluster: Cluster, kubelet: Kubelet, gateway: Gateway, behind: OperatorProcess
) -> None:
    served(cluster, kubelet, gateway)
    rollout = {"strategy": "Canary", "steps": [{"weight": 10, "holdSeconds": 0}]}
    cluster.patch("ModelDeployment", MODEL, {"spec": {"rollout": rollout}})
    cluster.create(model_version(MODEL, 2))
    kubelet.deployment_available(workload_of(cluster, 2)["metadata"]["name"])
    stands(cluster, 2, "candidate", "Switching")
    gateway.takes(MODEL)
    weighs(cluster, gateway, v1=90, v2=10)
    gateway.takes(MODEL)
    cluster.wait("it waits", lambda: condition(deployment(cluster), "Progressing")["reason"] == "WaitingForRequests")
    cluster.patch("ModelDeployment", MODEL, {"spec": {"rollout": {"abortedVersion": 2}}})
    weighs(cluster, gateway, v1=100)
    cluster.wait("it is back", lambda: condition(deployment(cluster), "RolledBack")["reason"] == "Aborted")
    assert place_of(deployment(cluster), "failed")["step"] == "Leaving"
    gateway.takes(MODEL)
    cluster.wait("its pods are gone", lambda: not cluster.list("Deployment", "fovea.dev/version=2"))
    assert place_of(deployment(cluster), "failed")["step"] == "GivenUp"
    cluster.patch("ModelDeployment", MODEL, {"spec": {"rollout": {"abortedVersion": None, "promotedVersion": 2}}})
    kubelet.deployment_available(workload_of(cluster, 2)["metadata"]["name"])
    stands(cluster, 2, "candidate", "Switching")
    gateway.takes(MODEL)
    weighs(cluster, gateway, v2=100)


def test_copies_of_requests_go_to_the_comparator_as_long_as_a_rollout_compares(
    cluster: Cluster, kubelet: Kubelet, gateway: Gateway, behind: OperatorProcess
) -> None:
    served(cluster, kubelet, gateway)
    rollout = {"strategy": "Canary", "steps": [{"weight": 0, "holdSeconds": 0}], "mirror": {"percent": 30}}
    cluster.patch("ModelDeployment", MODEL, {"spec": {"rollout": rollout}})
    cluster.create(model_version(MODEL, 2))
    kubelet.deployment_available(workload_of(cluster, 2)["metadata"]["name"])
    stands(cluster, 2, "candidate", "Switching")
    gateway.takes(MODEL)
    comparator = names.comparator(MODEL)
    cluster.wait("the comparator", lambda: cluster.get("Deployment", comparator) and cluster.get("Service", comparator))

    def copies() -> list[routes.Mirror | None]:
        return [routes.mirror(route["spec"]) for route in gateway.routes(MODEL).values()]

    assert copies() == [None, None], "there is nobody yet who could take them"
    kubelet.deployment_available(comparator)
    cluster.wait("both are mirrored", lambda: copies() == [routes.Mirror(comparator, 30)] * 2)
    weighs(cluster, gateway, v1=100)
    cluster.patch("ModelDeployment", MODEL, {"spec": {"rollout": {"abortedVersion": 2}}})
    cluster.wait("nothing is mirrored", lambda: copies() == [None, None])
    cluster.wait(
        "the comparator is gone",
        lambda: cluster.get("Deployment", comparator) is None and cluster.get("Service", comparator) is None,
    )
