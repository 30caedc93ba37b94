"""Bad days of a model behind Envoy Gateway itself: each under load from a stock client, which notices nothing."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support import behind_gateway
from support.behind_gateway import NAMESPACE, Served
from support.jobs import condition
from support.local_models import Load, place
from support.polling import until

pytestmark = pytest.mark.wide
CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 10, "holdSeconds": 15}, {"weight": 50, "holdSeconds": 5}],
    "bakeSeconds": 5,
    "analysis": {"minRequests": 20, "maxLatencyRatio": 10},
    "drainSeconds": 10,
}
STORE = ("statefulset/fovea-object-store", "-n", "fovea-system")


@pytest.fixture(scope="module")
def served(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with behind_gateway.model(cluster, tmp_path_factory.mktemp("models")) as made:
        yield made


@pytest.fixture
def load(served: Served) -> Iterator[Load]:
    """Clients that ask all the time; no request of them fails."""
    with Load(served.name, served.grpc, host=served.host, clients=4) as asking:
        until(lambda: sum(asking.answers.values()) > 50, seconds=60, what="answers")
        yield asking
        more(asking, 50)
    assert asking.failures == []
    back_to_the_first(served)


def more(asking: Load, answers: int) -> None:
    before = sum(asking.answers.values())
    until(lambda: sum(asking.answers.values()) >= before + answers, seconds=120, what="more answers")


def back_to_the_first(served: Served) -> None:
    served.wants(1, **CANARY, promotedVersion=1)
    served.serves(1)
    until(lambda: len(served.status()["places"]) == 1, seconds=90, what="nothing drains")


def shifts(served: Served, version: int) -> None:
    def probe() -> bool:
        candidate = place(served.status(), "candidate")
        return (candidate.get("version"), candidate.get("step"), candidate.get("weight")) == (version, "Shifting", 10)

    try:
        until(probe, seconds=180, what=f"version {version} gets a tenth of the requests")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(served.status(), indent=1)}") from None


def test_a_version_that_is_deleted_while_it_gets_requests_gets_none_any_more(served: Served, load: Load) -> None:
    number = served.add(bias=7.0)
    served.wants(number, **CANARY)
    shifts(served, number)
    served.cluster.kubectl("delete", "modelversion", f"{served.name}-v{number}", "-n", NAMESPACE)
    until(lambda: place(served.status(), "stable").get("weight") == 100, seconds=60, what="version 1 has all requests")
    asked = load.answers.get(number, 0)
    more(load, 200)
    assert load.answers.get(number, 0) <= asked + load.clients, "those under way are finished"
    assert condition(served.cluster.get("md", served.name), "Progressing")["reason"] == "NoVersion"


def test_a_spec_that_is_edited_in_the_middle_of_a_step_counts_from_there(served: Served, load: Load) -> None:
    number = served.add(bias=6.0)
    served.wants(number, **CANARY)
    shifts(served, number)
    served.wants(number, **CANARY | {"steps": [{"weight": 20, "holdSeconds": 1}, {"weight": 80, "holdSeconds": 1}]})
    until(lambda: place(served.status(), "stable").get("version") == number, seconds=180, what="it is promoted")
    assert load.failures == []


def test_of_two_versions_asked_for_within_a_second_the_last_one_is_served(served: Served, load: Load) -> None:
    first, last = served.add(bias=5.0), served.add(bias=4.0)
    served.wants(first, **CANARY)
    served.wants(last, **CANARY)
    until(lambda: place(served.status(), "stable").get("version") == last, seconds=300, what="the last one is stable")
    assert load.answers.get(first, 0) == 0


def test_while_the_store_is_away_a_model_that_grows_serves_with_the_pods_that_it_has(
    served: Served, load: Load
) -> None:
    def scale(replicas: int) -> None:
        merge = json.dumps({"spec": {"scaling": {"minReplicas": replicas}}})
        served.cluster.kubectl("patch", "md", served.name, "-n", NAMESPACE, "--type=merge", "-p", merge)

    served.cluster.kubectl("scale", *STORE, "--replicas=0", "--timeout=60s")
    try:
        scale(2)
        until(
            lambda: "1 of 2 pods" in condition(served.cluster.get("md", served.name), "Serving").get("message", ""),
            seconds=60,
            what="a second pod is asked for",
        )
        more(load, 300)
        assert place(served.status(), "stable")["readyReplicas"] == 1
    finally:
        served.cluster.kubectl("scale", *STORE, "--replicas=1", "--timeout=60s")
        served.cluster.kubectl("rollout", "status", *STORE, "--timeout=120s")
    until(lambda: place(served.status(), "stable")["readyReplicas"] == 2, seconds=180, what="the second pod answers")
    scale(1)


@pytest.mark.parametrize("asks", [False, True], ids=["that are idle", "that never read their answers"])
def test_a_thousand_connections_disturb_no_other_client(served: Served, load: Load, asks: bool) -> None:
    host, _, port = served.rest.rpartition(":")
    request = f"GET /v1/models/{served.name}/metadata HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode()
    with contextlib.ExitStack() as held:
        for _ in range(1_000):
            connection = held.enter_context(socket.create_connection((host, int(port)), timeout=30))
            if asks:
                connection.sendall(request * 20)
        before = load.slowest_seconds
        more(load, 500)
        assert served.ask() == 1
        print(f"the slowest request took {before:.2f} s before and {load.slowest_seconds:.2f} s with them")
