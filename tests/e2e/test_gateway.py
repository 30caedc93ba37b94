"""Models behind Envoy Gateway itself: stock clients, versions, what does not pass, and its bad days."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fovea.sdk import PredictionError, Predictor
from fovea_api.contract import names
from fovea_wire import methods, model_pb2, predict_pb2, tensors
from support import installed_gateway, local_models
from support.installed_gateway import gateway
from support.jobs import condition
from support.local_jobs import machine_type
from support.local_models import SIGNATURE, Load, place, register, save
from support.polling import until

pytestmark = pytest.mark.wide
NAMESPACE = "vision"
CLIENTS = 8
KILLED = ("--grace-period=0", "--force")


class Served:
    """One model with two versions, of which the first is served."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.name, self.folder = cluster, f"t{uuid.uuid4().hex[:8]}", folder
        self.host = f"{self.name}.{NAMESPACE}.svc"
        self.grpc = self.rest = ""

    def begin(self) -> None:
        """Register both versions, serve the first one."""
        self.cluster.apply(machine_type(self.name, memory="1Gi"))
        for number in (1, 2):
            save(self.folder / str(number), bias=float(number))
            register(self.cluster, self.name, self.folder / str(number))
        spec = {"version": 1, "service": {}, "rollout": {"drainSeconds": 10}}
        self.cluster.apply(local_models.model_deployment(self.name, self.name, self.name, **spec))
        self.serves(1)
        self.grpc = installed_gateway.address(self.cluster, "8500")
        self.rest = installed_gateway.address(self.cluster, "8501")

    def status(self) -> dict[str, Any]:
        """Of the ModelDeployment."""
        found: dict[str, Any] = self.cluster.get("modeldeployment", self.name).get("status", {})
        return found

    def serves(self, version: int) -> None:
        """Wait until the gateway sends all requests to a version."""

        def probe() -> bool:
            stable = place(self.status(), "stable")
            return (stable.get("version"), stable.get("step"), stable.get("weight")) == (version, "Serving", 100)

        try:
            until(probe, seconds=180, what=f"version {version} gets all requests")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(), indent=1)}") from None

    def wants(self, version: int) -> None:
        """Ask for a version."""
        merge = json.dumps({"spec": {"version": version}})
        self.cluster.kubectl("patch", "md", self.name, "-n", NAMESPACE, "--type=merge", "-p", merge)

    def call(self, method: str, payload: bytes, *, host: str = "", metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
        """One call of any method, as a client of another host's name where one is given."""
        options = [("grpc.default_authority", host or self.host)]
        with grpc.insecure_channel(self.grpc, options=options) as channel:
            answer: bytes = channel.unary_unary(method)(payload, timeout=20, metadata=metadata)
            return answer

    def ask(self, *metadata: tuple[str, str], host: str = "") -> int:
        """The version that answers a prediction."""
        request = predict_pb2.PredictRequest(
            model_spec=model_pb2.ModelSpec(name=self.name, signature_name=SIGNATURE),
            inputs={"x": tensors.encode([1.0])},
        )
        answer = self.call(methods.PREDICT, request.SerializeToString(), host=host, metadata=metadata)
        return int(predict_pb2.PredictResponse.FromString(answer).model_spec.version.value)

    def get(self, path: str, host: str = "", body: dict[str, Any] | None = None) -> tuple[int, str]:
        """Code and text of a REST answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.rest}{path}", data, {"Host": host or self.host})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def remove(self) -> None:
        """Delete what was made."""
        quiet = ("--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", "modeldeployment", self.name, "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "modelversion", f"{self.name}-v1", f"{self.name}-v2", "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "machinetype", self.name, *quiet)


@pytest.fixture(scope="module")
def served(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with gateway(cluster):
        made = Served(cluster, tmp_path_factory.mktemp("models"))
        try:
            made.begin()
            yield made
        finally:
            made.remove()


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
