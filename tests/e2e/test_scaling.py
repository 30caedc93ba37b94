"""Pods by requests on Envoy Gateway itself: none without requests, one for the first, more for many, and back."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from fovea_wire import methods
from support import behind_gateway
from support.behind_gateway import NAMESPACE, Served
from support.jobs import condition
from support.local_models import Load, place
from support.polling import until

pytestmark = pytest.mark.wide
CLIENTS = 100
SLEEPY = {"minReplicas": 0, "idleSeconds": 10}


@pytest.fixture(scope="module")
def served(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    cache = tmp_path_factory.mktemp("cache")
    cache.chmod(0o777)
    shared = f"serving.modelCache.volume.hostPath.path={cache}"
    with behind_gateway.model(cluster, tmp_path_factory.mktemp("models"), shared) as made:
        yield made


def scale(served: Served, **scaling: Any) -> None:
    fields = ("minReplicas", "maxReplicas", "targetConcurrency", "stabilizationSeconds", "idleSeconds")
    merge = json.dumps({"spec": {"scaling": dict.fromkeys(fields) | scaling}})
    served.cluster.kubectl("patch", "md", served.name, "-n", NAMESPACE, "--type=merge", "-p", merge)


def pods(served: Served) -> list[dict[str, Any]]:
    """Of the model's servers, also those that end."""
    found: list[dict[str, Any]] = served.cluster.list("pods", NAMESPACE, f"fovea.dev/model-deployment={served.name}")
    return found


def step(served: Served) -> str:
    return str(place(served.status(), "stable").get("step"))


def asleep(served: Served) -> None:
    """Wait until no request came for a while and no pod is left."""
    try:
        until(lambda: step(served) == "Idle" and not pods(served), seconds=240, what="no pod is left")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(served.status(), indent=1)}") from None


def burst(served: Served, requests: int, seconds: float = 180) -> tuple[Counter[Any], list[str]]:
    """How so many clients' requests end that come at once, and what those heard that failed."""
    options = [("grpc.default_authority", served.host), ("grpc.use_local_subchannel_pool", 1)]
    ended, said = Counter[Any](), []
    channels = [grpc.insecure_channel(served.grpc, options=options) for _ in range(requests)]
    calls = [channel.unary_unary(methods.PREDICT).future(served.request(), timeout=seconds) for channel in channels]
    for call in calls:
        ended[call.code()] += 1
        if call.code() is not grpc.StatusCode.OK:
            said.append(call.details())
    for channel in channels:
        channel.close()
    return ended, said


def test_a_model_without_requests_has_no_pod_and_a_hundred_clients_at_once_start_one(served: Served) -> None:
    scale(served, **SLEEPY)
    asleep(served)
    serving = condition(served.cluster.get("md", served.name), "Serving")
    assert (serving["status"], serving["reason"]) == ("True", "ScaledToZero")
    ended, said = burst(served, CLIENTS)
    assert ended == {grpc.StatusCode.OK: CLIENTS}, said[:3]
    assert len(pods(served)) == 1
    until(lambda: step(served) == "Serving", seconds=30, what="it serves")
    seconds = served.status()["scaling"]["coldStartSeconds"]
    print(f"a cold start took {seconds} s")
    assert seconds > 0


def test_rest_wakes_a_model_too_whose_files_are_on_the_node(served: Served) -> None:
    scale(served, **SLEEPY)
    asleep(served)
    code, text = served.get(f"/v1/models/{served.name}", seconds=180)
    assert (code, "AVAILABLE" in text) == (200, True)
    [pod] = pods(served)
    log = served.cluster.kubectl("logs", pod["metadata"]["name"], "-n", NAMESPACE, "-c", "fovea-fetch-model")
    [said] = [json.loads(line) for line in log.splitlines() if '"model cache"' in line]
    assert said["found"] == said["of"] > 0


def test_requests_under_load_are_answered_while_a_model_falls_asleep_and_wakes(served: Served) -> None:
    """A request every 12 s, just as long as it takes to fall asleep: each comes at another moment of the way."""
    scale(served, **SLEEPY)
    with Load(served.name, served.grpc, host=served.host, clients=2, pause_seconds=11.0) as load:
        until(lambda: sum(load.answers.values()) >= 20, seconds=280, what="20 answers")
    assert load.failures == []
    print(f"the slowest of {sum(load.answers.values())} requests took {load.slowest_seconds:.1f} s")


def test_a_model_that_cannot_start_says_so_to_those_who_wait(served: Served) -> None:
    scale(served, **SLEEPY)
    served.wants(1, progressDeadlineSeconds=20)
    asleep(served)
    node = served.cluster.list("nodes", "default")[0]["metadata"]["name"]
    served.cluster.kubectl("cordon", node)
    try:
        ended, said = burst(served, 3)
    finally:
        served.cluster.kubectl("uncordon", node)
        served.wants(1, progressDeadlineSeconds=None)
    assert ended == {grpc.StatusCode.UNAVAILABLE: 3}
    assert f"version 1 of model {served.name} was not ready within 20 s" in said[0]
    until(lambda: step(served) == "Serving", seconds=120, what="its pod has come all the same")
    ended, said = burst(served, 1)
    assert ended == {grpc.StatusCode.OK: 1}, said


def test_an_activator_that_is_drained_lets_those_wait_who_do(served: Served) -> None:
    scale(served, **SLEEPY)
    asleep(served)
    with Load(served.name, served.grpc, host=served.host, clients=8, retries=True) as load:
        until(lambda: step(served) == "Waking", seconds=60, what="requests wait")
        first = served.cluster.list("pods", "fovea-system", "app.kubernetes.io/component=activator")[0]
        served.cluster.kubectl("delete", "pod", first["metadata"]["name"], "-n", "fovea-system", "--wait=false")
        until(lambda: sum(load.answers.values()) > 50, seconds=180, what="answers")
    assert load.failures == []


def test_many_requests_have_more_pods_and_few_have_fewer(served: Served) -> None:
    slow = served.add(bias=4.0, sleeps=0.2)
    scale(served, minReplicas=1, maxReplicas=3, targetConcurrency=2, stabilizationSeconds=15)
    served.wants(slow)
    served.serves(slow)
    with Load(served.name, served.grpc, host=served.host, clients=8, pause_seconds=0.0) as load:
        until(lambda: served.status()["scaling"]["replicas"] == 3, seconds=60, what="three pods are wanted")
        until(lambda: place(served.status(), "stable")["readyReplicas"] == 3, seconds=180, what="three pods")
    assert load.failures == []
    until(lambda: len(pods(served)) == 1, seconds=240, what="one pod")
    events = served.cluster.kubectl(
        "get", "events", "-n", NAMESPACE, "-o=jsonpath={range .items[?(@.reason=='Scaled')]}{.message}{'\\n'}{end}"
    )
    assert "requests under way" in events
