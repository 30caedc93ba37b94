"""Rollouts that judge themselves, on Envoy Gateway itself and under load from a stock client: what is good gets through, what is not goes back."""

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import behind_gateway
from support.behind_gateway import Served
from support.installed_gateway import NAMESPACE
from support.jobs import condition
from support.local_models import SIGNATURE, Load, place
from support.polling import until

pytestmark = pytest.mark.wide
REQUESTS = 100_000
LEAST = 100
CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 10, "holdSeconds": 5}, {"weight": 50, "holdSeconds": 5}],
    "bakeSeconds": 5,
    # On a small machine that others use, a version is slow at times by no fault of its own.
    "analysis": {"minRequests": LEAST, "maxLatencyRatio": 10},
    "drainSeconds": 10,
}
STEPS = [(1, 10), (2, 50), (3, 100)]


@pytest.fixture(scope="module")
def served(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with behind_gateway.model(cluster, tmp_path_factory.mktemp("models")) as made:
        yield made


def back_to_the_first(served: Served) -> None:
    served.wants(1, **CANARY, promotedVersion=1, abortedVersion=None)
    served.serves(1)
    until(lambda: len(served.status()["places"]) == 1, seconds=60, what="nothing drains")


def under_load(served: Served, clients: int = 4) -> Load:
    return Load(served.name, served.grpc, host=served.host, clients=clients, pause_seconds=0.0, longest_seconds=900)


def outcome(served: Served, of: str, seconds: float = 120) -> dict[str, Any]:
    """The condition Promoted or RolledBack, once it is True."""
    try:
        return until(
            lambda: (found := condition(served.cluster.get("md", served.name), of)).get("status") == "True" and found,
            seconds=seconds,
            what=of,
        )
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(served.status(), indent=1)}") from None


def test_a_good_version_gets_through_all_steps_and_no_request_fails(served: Served) -> None:
    seen: list[tuple[int, int]] = []

    def over() -> bool:
        status = served.status()
        shift = place(status, "candidate").get("shift")
        if shift and (shift["step"], shift["weight"]) not in seen:
            seen.append((shift["step"], shift["weight"]))
        return place(status, "stable").get("version") == 2

    with under_load(served) as load:
        until(lambda: load.answers.get(1, 0) > 100, seconds=60, what="answers of version 1")
        served.wants(2, **CANARY)
        until(over, seconds=300, what="version 2 is the stable one")
        outcome(served, "Promoted")
        until(lambda: sum(load.answers.values()) >= REQUESTS, seconds=800, what=f"{REQUESTS} requests")
    assert seen == STEPS
    assert load.failures == []
    print(f"{load.answers} requests, the slowest took {load.slowest_seconds:.2f} s")
    [*_, last] = served.status()["history"]
    assert (last["version"], last["reason"]) == (2, "Promoted")
    back_to_the_first(served)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        pytest.param({"fails": 0.3}, "TooManyErrors", id="errors"),
        pytest.param({"mebibytes": 4096}, "ServerFailed", id="crashes"),
    ],
)
def test_a_version_that_fails_is_rolled_back_and_fails_no_more_than_its_share(
    served: Served, faults: dict[str, Any], reason: str
) -> None:
    number = served.add(bias=9.0, **faults)
    with under_load(served) as load:
        until(lambda: load.answers.get(1, 0) > 100, seconds=60, what="answers of version 1")
        served.wants(number, **CANARY)
        until(lambda: load.failures, seconds=180, what="requests that fail")
        before = sum(load.answers.values())
        asked = lambda: load.answers.get(number, 0) + len(load.failures)  # noqa: E731
        until(lambda: asked() >= LEAST or place(served.status(), "failed"), seconds=60, what="enough to judge it by")
        begun = time.monotonic()
        until(lambda: place(served.status(), "failed").get("weight") == 0, seconds=30, what="it gets no requests")
        print(f"weight 0 after {time.monotonic() - begun:.1f} s")
        found = outcome(served, "RolledBack")
        after, all_ = len(load.failures), sum(load.answers.values()) + len(load.failures)
        until(lambda: sum(load.answers.values()) > all_ + 500, seconds=60, what="500 more answers")
        assert len(load.failures) == after, "no request fails once it has no weight"
    print(f"{after} of {all_ - before} requests failed: {found['message']}")
    assert found["reason"] == reason
    assert after <= 0.1 * (all_ - before) * 1.3 + 10, "a tenth of the requests is its share"
    back_to_the_first(served)


def test_a_version_that_is_twice_as_slow_is_rolled_back(served: Served) -> None:
    fine, slow = served.add(bias=3.0, sleeps=0.03), served.add(bias=4.0, sleeps=0.06)
    served.wants(fine, **CANARY, promotedVersion=fine)
    served.serves(fine)
    with under_load(served) as load:
        until(lambda: load.answers.get(fine, 0) > 100, seconds=60, what="answers of the stable version")
        served.wants(slow, **CANARY | {"analysis": {"minRequests": 100, "maxLatencyRatio": 1.5}})
        found = outcome(served, "RolledBack")
    print(found["message"])
    assert found["reason"] == "TooSlow"
    assert load.failures == []
    back_to_the_first(served)


def test_a_version_whose_clients_give_up_is_rolled_back_over_grpc_and_over_rest(served: Served) -> None:
    """Such a request has no status and no latency."""
    hangs = served.add(bias=8.0, sleeps=3.0)
    body = {"signature_name": SIGNATURE, "instances": [{"x": 1.0}]}
    stop = threading.Event()

    def by_rest() -> None:
        while not stop.wait(0.02):
            with contextlib.suppress(TimeoutError):
                served.get(f"/v1/models/{served.name}:predict", body=body, seconds=1.0)

    for over_rest in (False, True):
        stop.clear()
        with contextlib.ExitStack() as stack:
            if over_rest:
                for _ in range(8):
                    thread = threading.Thread(target=by_rest, daemon=True)
                    thread.start()
                    stack.callback(thread.join, 30)
                stack.callback(stop.set)
            else:
                load = Load(served.name, served.grpc, host=served.host, deadline=1.0, longest_seconds=600)
                stack.enter_context(load)
            served.wants(hangs, **CANARY, promotedVersion=None)
            found = outcome(served, "RolledBack", seconds=240)
        print(found["message"])
        assert found["reason"] == "TooManyErrors"
        back_to_the_first(served)


def test_an_operator_that_is_killed_again_and_again_comes_to_the_same_end(served: Served, cluster: Any) -> None:
    good, bad = served.add(bias=5.0), served.add(bias=6.0, fails=0.5)
    chosen = random.Random(seed := int(time.time()))
    print(f"seed {seed}")

    def kill() -> None:
        cluster.kubectl(
            *("delete", "pod", "-n", "fovea-system", "-l", "app.kubernetes.io/component=operator"),
            *("--grace-period=0", "--force", "--wait=false"),
        )

    def killed_until(holds: Callable[[], bool]) -> None:
        for _ in range(4):
            with contextlib.suppress(AssertionError):
                until(holds, seconds=chosen.uniform(2, 12), what="its end")
                return
            kill()
        until(holds, seconds=300, what="its end")

    with under_load(served) as load:
        served.wants(good, **CANARY)
        killed_until(lambda: place(served.status(), "stable").get("version") == good)
        failed_before = list(load.failures)
        served.wants(bad, **CANARY)
        killed_until(lambda: place(served.status(), "failed").get("version") == bad)
        until(
            lambda: place(served.status(), "stable").get("weight") == 100, seconds=60, what="the good version has all"
        )
    assert failed_before == []
    assert place(served.status(), "stable")["version"] == good
    assert condition(cluster.get("md", served.name), "RolledBack")["reason"] == "TooManyErrors"
    back_to_the_first(served)


def test_while_the_gateway_s_controller_is_away_a_rollout_waits_at_its_step(served: Served, cluster: Any) -> None:
    of_controller = ("deployment/envoy-gateway", "-n", NAMESPACE)
    number = served.add(bias=7.0)
    with under_load(served) as load:
        served.wants(number, **CANARY | {"steps": [{"weight": 10, "holdSeconds": 20}]})
        until(lambda: load.answers.get(number, 0) > 0, seconds=180, what="its first requests")
        cluster.kubectl("scale", *of_controller, "--replicas=0", "--timeout=60s")
        try:
            waits = "Gateway fovea-system/fovea to take the weights"
            at = lambda: place(served.status(), "candidate").get("shift", {})  # noqa: E731
            until(lambda: at().get("waitsFor") == waits and at()["step"] == 2, seconds=120, what="the step waits")
            answered = sum(load.answers.values())
            until(lambda: sum(load.answers.values()) > answered + 1000, seconds=60, what="traffic that goes on")
            assert load.answers[1] > load.answers[number]
        finally:
            cluster.kubectl("scale", *of_controller, "--replicas=1")
        outcome(served, "Promoted")
    assert load.failures == []
    back_to_the_first(served)


def test_a_version_whose_answers_differ_is_rolled_back_before_any_client_gets_one(served: Served) -> None:
    same, other = served.add(bias=1.0), served.add(bias=2.0)
    shadow = {
        "mirror": {"percent": 50},
        "steps": [{"weight": 0, "holdSeconds": 5}, {"weight": 50, "holdSeconds": 5}],
        "analysis": {"minRequests": 100, "maxLatencyRatio": 10, "maxDrift": 0.01},
    }
    with under_load(served) as load:
        until(lambda: load.answers.get(1, 0) > 100, seconds=60, what="answers of version 1")
        served.wants(other, **CANARY | shadow)
        found = outcome(served, "RolledBack", seconds=240)
        assert load.answers.get(other, 0) == 0
        served.wants(same, **CANARY | shadow)
        outcome(served, "Promoted", seconds=300)
    print(found["message"])
    assert found["reason"] == "OutputsDiffer"
    assert load.failures == []
    back_to_the_first(served)
    # Clients of REST alone are compared as well.
    body = {"signature_name": SIGNATURE, "instances": [{"x": 1.0}]}

    def over() -> dict[str, Any]:
        served.get(f"/v1/models/{served.name}:predict", body=body)
        found = condition(served.cluster.get("md", served.name), "RolledBack")
        return found if found.get("status") == "True" else {}

    served.wants(other, **CANARY | shadow, promotedVersion=None)
    assert until(over, seconds=240, what="a version that is rolled back")["reason"] == "OutputsDiffer"
    until(
        lambda: (
            not [
                each
                for each in served.cluster.list("deployments")
                if each["metadata"]["name"] == f"{served.name}-comparator"
            ]
        ),
        seconds=60,
        what="the comparator is gone",
    )
