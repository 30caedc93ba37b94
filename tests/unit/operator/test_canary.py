"""Rollouts by steps: each decision on a candidate that gets a part of the requests, by what is counted of them."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_operator.desired.routes import weights
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.traffic import Compared, Requests, Traffic
from support.canary_table import CANARY, GOOD, TABLE, Row, counted, shifting, shown
from support.observations import SETTINGS, at, version
from support.rollout_table import V1, V2, V3, held, seconds, stable
from support.routes import SERVED
from support.serving_observations import model_deployment, server_pod, service_at, serving, workload


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    row = TABLE[sentence]
    if row.is_["role"] == "failed":
        # It was given up with the rollout that the spec still has.
        row.is_.pop("rolloutHash")
    decision = row.decision()
    routes = [child.manifest for child in decision.children if child.manifest["kind"] in ("GRPCRoute", "HTTPRoute")]
    assert [weights(route["spec"]) for route in routes] == ([] if row.gives is None else [row.gives, row.gives])
    status = decision.status or {}
    [found] = [each for each in status["places"] if each["version"] == 2]
    assert (found["role"], found["step"]) == (row.role, row.step)
    shift = found.get("shift")
    since = None if shift is None or "since" not in shift else seconds(shift["since"])
    assert (shift and (shift["step"], shift["weight"], since)) == row.shift
    conditions = {each["type"]: f"{each['status']} {each['reason']}" for each in status["conditions"]}
    assert conditions["Progressing"].endswith(row.reason)
    assert conditions.items() >= row.conditions.items()
    assert row.says in status["message"]
    wakes = decision.requeue_at and (decision.requeue_at - at(0)).total_seconds()
    assert row.wakes in (None, wakes)


def test_a_version_that_was_rolled_back_is_not_tried_again_until_the_spec_says_so() -> None:
    row = replace(TABLE["a candidate that fails more requests than allowed goes back at once"])
    status = row.decision().status or {}
    [back] = [each for each in status["places"] if each["version"] == 2]
    gone = {key: value for key, value in back.items() if key != "traffic"} | {"step": "GivenUp", "weight": 0}
    later = Row(gone, {V1: 100}, None, now=10_000_000)
    assert states(later) == ("failed", "GivenUp")
    assert states(replace(later, spec={"paused": True})) == ("failed", "GivenUp")
    assert states(replace(later, spec={"promotedVersion": 1})) == ("failed", "GivenUp")
    assert states(replace(later, spec={"promotedVersion": 2})) == ("stable", "Switching")
    assert states(replace(later, spec={"bakeSeconds": 60})) == ("candidate", "Shifting")


def states(row: Row) -> tuple[str, str]:
    [found] = [each for each in (row.decision().status or {})["places"] if each["version"] == 2]
    return found["role"], found["step"]


def test_a_candidate_that_cannot_bear_requests_is_given_up_at_the_third_time() -> None:
    """Without a crash: it is ready without requests, and not with them."""
    silent = [server_pod(V2, ready=False, created=at(-60))]
    for before, after in ((None, 1), (1, 2)):
        row = Row(shifting(1, 10) | ({} if before is None else {"interruptions": before}), ready=0, now=5, pods=silent)
        [found] = [each for each in (row.decision().status or {})["places"] if each["version"] == 2]
        assert (found["step"], found["interruptions"]) == ("Starting", after)
        again = {key: value for key, value in found.items() if key != "shift"}
        [kept] = [each for each in (Row(again, {V1: 100}).decision().status or {})["places"] if each["version"] == 2]
        assert (kept["step"], kept["interruptions"]) == ("Shifting", after), "it is remembered on the way"
    third = Row(shifting(2, 50, interruptions=2), {V1: 50, V2: 50}, ready=0, now=5, pods=silent)
    [failed] = [each for each in (third.decision().status or {})["places"] if each["version"] == 2]
    assert (failed["role"], failed["reason"], failed.get("interruptions")) == ("failed", "ServerFailed", None)
    promoted = replace(third, spec={"promotedVersion": 2})
    assert states(promoted) == ("candidate", "Starting"), "who promotes a version waits for it"
    assert failed["message"] == "3 times, none of its pods answered while it got requests"
    for drained in (
        [],
        [server_pod(V2, ready=False, created=at(4))],
        [server_pod(V2, ready=False, created=at(-60), deleting=True)],
    ):
        again = replace(third, pods=drained)
        [kept] = [each for each in (again.decision().status or {})["places"] if each["version"] == 2]
        assert (kept["step"], kept["interruptions"]) == ("Starting", 2), "a drain says nothing about the version"


def test_a_step_is_reported_with_the_numbers_of_the_one_before() -> None:
    [event] = TABLE["then the next one begins"].decision().events[-1:]
    assert (event.type, event.reason) == ("Normal", "Shifting")
    assert event.message == (
        "Version 2 gets 50 % of the requests (step 2 of 3). At 10 %, version 2 had 1000 requests, 0 failed, 99th percentile "
        "20.0 ms. At 10 %, version 1 had 1000 requests, 0 failed, 99th percentile 20.0 ms."
    )


def test_the_status_shows_what_is_counted_of_both_versions_every_few_seconds() -> None:
    row = replace(TABLE["a step lasts as long as it says, however good the candidate is"])
    places = {each["version"]: each for each in (row.decision().status or {})["places"]}
    assert (
        places[2]["traffic"]
        == places[1]["traffic"]
        == {
            "time": "2026-11-21T10:00:59Z",
            "requests": 1000,
            "errors": 0,
            "errorRatio": 0.0,
            "p50Milliseconds": 10.0,
            "p99Milliseconds": 20.0,
        }
    )
    same = replace(row, is_=row.is_ | {"traffic": places[2]["traffic"] | {"time": times.text(at(2))}})
    places = {each["version"]: each for each in (same.decision().status or {})["places"]}
    assert places[2]["traffic"]["time"] == times.text(at(2)), "and nothing where nothing has changed"
    shown = replace(row, is_=row.is_ | {"traffic": {"time": times.text(at(57)), "requests": 7}})
    places = {each["version"]: each for each in (shown.decision().status or {})["places"]}
    assert places[2]["traffic"]["requests"] == 7, "two seconds later nothing is written for the numbers alone"


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        ({"strategy": "Canary"}, "rollout.strategy Canary needs a gateway"),
        ({"bakeSeconds": 5}, "rollout.bakeSeconds 5 needs a gateway"),
    ],
)
def test_without_a_gateway_what_needs_one_is_refused_and_what_is_served_stays(
    rollout: dict[str, Any], says: str
) -> None:
    of = model_deployment(held(stable(1)), rollout=rollout)
    seen = serving(of, version(1), version(2), workloads=[workload(V1, ready=1)], service=service_at(V1))
    decision = decide_model_deployment(seen, at(60), SETTINGS)
    status = decision.status or {}
    assert (decision.children, decision.deletions) == ((), ())
    assert [(each["version"], each["role"], each["weight"]) for each in status["places"]] == [(1, "stable", 100)]
    assert says in status["message"]
    assert "gateway.className or gateway.parentRef in the chart's values" in status["message"]
    conditions = {each["type"]: f"{each['status']} {each['reason']}" for each in status["conditions"]}
    assert conditions["Promoted"] == "False GatewayMissing", "version 2 is wanted, and has no request"
    configured = decide_model_deployment(seen, at(60), SERVED)
    assert "install the Gateway API, restart the operator or wait" in (configured.status or {})["message"]


def test_three_versions_wanted_one_after_the_other_leave_one_candidate_and_no_request_behind() -> None:
    row = TABLE["another version that is wanted takes its place, and it finishes its requests"]
    decision = row.decision()
    places = [(each["version"], each["role"]) for each in (decision.status or {})["places"]]
    assert places == [(1, "stable"), (3, "candidate"), (2, "draining")]
    assert [
        child.manifest["metadata"]["name"] for child in decision.children if child.manifest["kind"] == "Deployment"
    ] == [V3]
    assert decision.deletions == ()


def seen(row: Row) -> dict[int, dict[str, Any]]:
    """The places that are written, by version."""
    return {each["version"]: each for each in (row.decision().status or {})["places"]}


@pytest.mark.parametrize("rollout", [{}, {"strategy": "BlueGreen", "steps": None}])
def test_what_the_stable_version_had_before_the_first_step_is_kept_to_compare_with(rollout: dict[str, Any]) -> None:
    before = Traffic(before={V1: Requests(2_000, 100, {10.0: 2_000})})
    row = replace(TABLE["a candidate that answers, and that the gateway knows, gets the first weight"], spec=rollout)
    first = seen(replace(row, counts=before))
    assert ("traffic" in first[2], first[1]["traffic"]["requests"], first[1]["traffic"]["errorRatio"]) == (
        False,
        2_000,
        0.05,
    )
    # In its steps the stable version has hardly any, or none.
    later = seen(replace(row, is_=first[2], stable_traffic=first[1]["traffic"], counts=counted(GOOD, Requests(3, 3))))
    assert later[1]["traffic"] == first[1]["traffic"]


@pytest.mark.parametrize(
    ("interruptions", "before", "kept"),
    [(1, 20, 500), (1, 100, 100), (None, 20, 20), (None, 0, None)],
    ids=["too few since", "enough since", "of another rollout", "of another rollout, and none since"],
)
def test_a_candidate_that_begins_again_is_compared_with_what_was_counted_in_its_rollout(
    interruptions: int | None, before: int, kept: int | None
) -> None:
    row = TABLE["a candidate that answers, and that the gateway knows, gets the first weight"]
    again = row.is_ | ({} if interruptions is None else {"interruptions": interruptions})
    counts = Traffic(before={V1: Requests(before)})
    found = seen(replace(row, is_=again, stable_traffic=shown(500, 5), counts=counts))
    assert found[1].get("traffic", {}).get("requests") == kept


DOUBTS = {
    "a candidate that may be worse by chance": (lambda n: counted(Requests(200 + n, 5, {10.0: 200 + n})), {}),
    "one whose newest requests alone may be worse": (
        lambda n: counted(Requests(9_000, 5, {10.0: 9_000}), recent=Requests(200 + n, 5, {10.0: 200 + n})),
        {},
    ),
    "one that failed while nobody is there to go back to": (
        lambda n: counted(Requests(200 + n, 40, {10.0: 200 + n})),
        {"workloads": [workload(V1), workload(V2, ready=1)]},
    ),
    "one whose answers may differ by chance": (
        lambda n: replace(counted(Requests(20)), compared=Compared(100 + n, 5.5)),
        {},
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_the_numbers_of_a_doubt_are_written_every_few_seconds_and_its_words_at_once(doubt: str) -> None:
    counts, beside = DOUBTS[doubt]
    drift = {"mirror": {}, "analysis": CANARY["analysis"] | {"maxDrift": 0.05}} if "answers" in doubt else {}
    old = {"time": times.text(at(-99)), "requests": 800}
    row = Row(shifting(1, 10, traffic=old), counts=counts(0), spec=drift, beside=beside, now=100)
    first = seen(row)[2]
    assert "200" in first["shift"]["waitsFor"] or "100" in first["shift"]["waitsFor"]
    written = [first]
    for second in range(1, 12):
        later = replace(row, is_=written[-1], counts=counts(second), now=100 + second)
        found = seen(later)[2]
        if found != written[-1]:
            written.append(found)
    assert [seconds(each["traffic"]["time"]) for each in written] == [100, 105, 110]
    assert len({each["shift"]["waitsFor"] for each in written}) == 3, "the newest numbers"
    few = seen(replace(row, is_=written[-1], counts=counted(Requests(10)), spec={}, beside={}, now=111))[2]
    assert few["shift"]["waitsFor"] == "100 requests to version 2"


def test_what_was_counted_in_a_rollout_before_says_nothing_about_the_next_one() -> None:
    old = {"time": times.text(at(-9999)), "requests": 500, "errors": 200, "errorRatio": 0.4}
    row = TABLE["a candidate that answers, and that the gateway knows, gets the first weight"]
    decision = replace(row, stable_traffic=old).decision()
    assert ["traffic" in each for each in (decision.status or {})["places"]] == [False, False]
