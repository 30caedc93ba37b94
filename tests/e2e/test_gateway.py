"""Models behind Envoy Gateway itself: stock clients, versions, what does not pass, and its bad days."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from fovea.sdk import PredictionError, Predictor
from fovea_api.contract import names
from support import behind_gateway, installed_gateway
from support.behind_gateway import NAMESPACE, Served
from support.jobs import condition
from support.local_models import SIGNATURE, Load, place
from support.polling import until

pytestmark = pytest.mark.wide
CLIENTS = 8
KILLED = ("--grace-period=0", "--force")


@pytest.fixture(scope="module")
def served(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with behind_gateway.model(cluster, tmp_path_factory.mktemp("models")) as made:
        yield made


def test_a_client_reaches_a_model_by_any_of_its_names(served: Served) -> None:
    hosts = [f"{served.name}.{NAMESPACE}", served.host, f"{served.host}:8500", f"{served.host}.cluster.local"]
    assert [served.ask(host=host) for host in hosts] == [1] * len(hosts)
    code, text = served.get(f"/v1/models/{served.name}")
    assert (code, json.loads(text)["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    body = {"signature_name": SIGNATURE, "instances": [{"x": 4.0}]}
    code, text = served.get(f"/v1/models/{served.name}:predict", body=body)
    assert (code, json.loads(text)) == (200, {"predictions": [5.0]})


def test_a_program_in_the_cluster_reaches_the_gateway_by_the_model_s_own_service(served: Served, cluster: Any) -> None:
    service = cluster.get("service", served.name)
    assert service["spec"]["type"] == "ExternalName"
    pod = f"{served.name}-client"
    program = (
        "import json, sys, urllib.request as u\n"
        f"print(u.urlopen('http://{served.name}.{NAMESPACE}.svc:8501/v1/models/{served.name}', timeout=20).read().decode())"
    )
    image = cluster.deployment.images()["fovea"]
    try:
        cluster.kubectl(
            *("run", pod, "-n", NAMESPACE, f"--image={image}", "--restart=Never", "--command", "--"),
            *("python3", "-c", program),
        )
        ended = "jsonpath={.status.phase}=Succeeded"
        cluster.kubectl("wait", f"pod/{pod}", "-n", NAMESPACE, f"--for={ended}", "--timeout=60s")
        assert '"AVAILABLE"' in cluster.kubectl("logs", pod, "-n", NAMESPACE)
    finally:
        cluster.kubectl("delete", "pod", pod, "-n", NAMESPACE, "--wait=false", check=False)


def test_the_client_names_model_and_version_to_the_gateway(served: Served) -> None:
    with Predictor(served.name, endpoint=served.grpc, host=served.host) as predictor:
        outputs, version = predictor.answer({"x": [0.0]}, signature=SIGNATURE)
    assert (outputs["y"].tolist(), version) == ([3.0], 1)
    with (
        Predictor(served.name, endpoint=served.grpc, host=served.host, version=2) as predictor,
        pytest.raises(PredictionError, match="NOT_FOUND"),
    ):
        predictor.answer({"x": [0.0]}, signature=SIGNATURE)


@pytest.mark.parametrize(
    "method",
    ["/tensorflow.serving.ModelService/HandleReloadConfigRequest", "/tensorflow.ProfilerService/Profile"],
)
def test_what_changes_or_watches_the_server_does_not_pass(served: Served, method: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        served.call(method, b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
    assert served.get("/monitoring/prometheus/metrics")[0] == 404


def test_a_model_that_is_not_there_is_unknown_to_the_gateway(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        served.ask(host=f"nothing.{NAMESPACE}.svc")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
    assert served.get("/v1/models/nothing", host=f"nothing.{NAMESPACE}.svc")[0] == 404


def test_a_new_version_and_the_way_back_lose_no_request_and_each_can_be_pinned(served: Served) -> None:
    with Load(served.name, served.grpc, host=served.host) as load:
        until(lambda: load.answers.get(1, 0) > 50, seconds=60, what="answers of version 1")
        served.wants(2)
        served.serves(2)
        # The old version drains, and answers who asks for it.
        assert served.ask((names.VERSION_HEADER, "1")) == 1
        before = load.answers.get(2, 0)
        until(lambda: load.answers.get(2, 0) > before + 50, seconds=60, what="answers of version 2")
        until(lambda: not place(served.status(), "draining"), seconds=60, what="version 1 has drained")
        served.wants(1)
        served.serves(1)
        before = load.answers[1]
        until(lambda: load.answers[1] > before + 50, seconds=60, what="answers of version 1 again")
        until(lambda: not place(served.status(), "draining"), seconds=60, what="version 2 has drained")
    assert load.failures == []
    print(f"{sum(load.answers.values())} requests, the slowest took {load.slowest_seconds:.2f} s")


def _proxies(cluster: Any) -> list[str]:
    """Names of the proxies that are ready."""
    found = cluster.list("pods", installed_gateway.NAMESPACE, "gateway.envoyproxy.io/owning-gateway-name=fovea")
    return [
        pod["metadata"]["name"]
        for pod in found
        if condition(pod, "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]
    ]


@pytest.mark.parametrize(("how", "retries", "most"), [((), False, 0), (KILLED, True, 0), (KILLED, False, CLIENTS)])
def test_a_proxy_that_goes_costs_no_request_and_one_that_is_killed_at_most_those_on_their_way(
    served: Served, cluster: Any, how: tuple[str, ...], retries: bool, most: int
) -> None:
    proxies = until(lambda: len(found := _proxies(cluster)) == 2 and found, seconds=120, what="two proxies")
    with Load(served.name, served.grpc, host=served.host, retries=retries, clients=CLIENTS) as load:
        until(lambda: sum(load.answers.values()) > 100, seconds=60, what="answers")
        cluster.kubectl("delete", "pod", proxies[0], "-n", installed_gateway.NAMESPACE, "--wait=false", *how)
        until(lambda: len(set(_proxies(cluster)) - {proxies[0]}) == 2, seconds=120, what="another proxy")
        before = sum(load.answers.values())
        until(lambda: sum(load.answers.values()) > before + 200, seconds=60, what="answers with the other proxies")
    assert len(load.failures) <= most, load.failures
    print(f"{len(load.failures)} of {sum(load.answers.values()) + len(load.failures)} requests failed")


def test_while_the_gateway_s_controller_is_away_requests_go_on_and_a_new_version_waits(
    served: Served, cluster: Any
) -> None:
    of_controller = ("deployment/envoy-gateway", "-n", installed_gateway.NAMESPACE)
    with Load(served.name, served.grpc, host=served.host) as load:
        cluster.kubectl("scale", *of_controller, "--replicas=0", "--timeout=60s")
        try:
            served.wants(2)

            def waits() -> bool:
                candidate = place(served.status(), "candidate")
                return (candidate.get("version"), candidate.get("step")) == (2, "Switching")

            until(waits, seconds=120, what="version 2 answers, and waits for the gateway")
            said = condition(cluster.get("modeldeployment", served.name), "Progressing")
            assert said["reason"] == "RoutePending"
            assert served.ask() == 1
        finally:
            cluster.kubectl("scale", *of_controller, "--replicas=1")
        served.serves(2)
    assert load.failures == []
