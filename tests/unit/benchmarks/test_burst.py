from typing import Any

import pytest
from burst import table
from burst.kinds import JobKind, TFJobs, TrainingJobs, kind_of
from burst.lab import Run
from burst.ledger import Ledger, percentiles
from burst.outcomes import Outcomes
from burst.process import Cost
from burst.submitter import Load
from fovea_api.contract import names

# As the two operators name the pod of a job of one replica.
PODS = {"trainingjobs": names.training_pod("job-00001", "chief", 0, 0), "tfjobs": "job-00001-worker-0"}
KINDS = {plural: kind_of(plural, distributed=False) for plural in PODS}
AGENTS = {
    "trainingjobs": "fovea-operator",
    "tfjobs": "training-operator/v0.0.0 (linux/amd64) kubernetes/$Format",
}


def request(
    second: float, agent: str, verb: str, resource: str, name: str = "job-00001", *, code: int = 201
) -> dict[str, Any]:
    """A line of the audit log; `resource` may have a subresource."""
    resource, _, subresource = resource.partition("/")
    reference = {"resource": resource, "name": name} | ({"subresource": subresource} if subresource else {})
    at = f"2026-01-01T00:00:{second:09.6f}Z"
    return {
        "verb": verb,
        "userAgent": agent,
        "objectRef": reference,
        "responseStatus": {"code": code},
        "stageTimestamp": at,
    }


def life(kind: JobKind) -> list[dict[str, Any]]:
    """A job from its submission to its end, 3.5 s later, with a refused write between."""
    operator, pod, status = AGENTS[kind.plural], PODS[kind.plural], f"{kind.plural}/status"
    verb = "patch" if kind.plural == "trainingjobs" else "update"
    return [
        request(1, "submitter", "create", kind.plural),
        request(1.25, operator, "create", "pods", pod),
        request(1.5, "stepper", "patch", "pods/status", pod, code=200),
        request(1.75, operator, verb, status, code=200),
        request(3.5, "stepper", "patch", "pods/status", pod, code=200),
        request(4.5, operator, verb, status, code=200),
        request(5, operator, verb, status, code=409),
        request(5.5, operator, "create", "events", "job-00001.1"),
    ]


def read(kind: JobKind, *more: dict[str, Any]) -> Ledger:
    ledger = Ledger(kind)
    ledger.read([*life(kind), *more])
    return ledger


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_job_ends_with_the_last_write_of_its_status_that_was_accepted(kind: JobKind) -> None:
    ledger = read(kind)
    assert (ledger.seconds_to_pod(), ledger.seconds_to_end(), ledger.drain) == ([0.25], [1.0], 3.5)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_only_the_operators_own_calls_are_counted_and_events_and_refusals_apart(kind: JobKind) -> None:
    ledger = read(kind)
    assert (ledger.writes, ledger.events, ledger.reads, dict(ledger.failures)) == (4, 1, 0, {409: 1})


def test_what_an_operator_writes_about_itself_is_not_counted() -> None:
    agent = AGENTS["tfjobs"]
    discovery = request(0.5, agent, "get", "", code=404)
    del discovery["objectRef"]
    ledger = read(
        TFJobs(),
        request(0.1, agent, "update", "secrets", "keys", code=409),
        request(0.2, agent, "update", "leases", "leader"),
        request(0.3, agent, "watch", "tfjobs", code=200),
        request(0.4, agent, "list", "pods", code=200),
        discovery,
    )
    assert (ledger.writes, ledger.events, ledger.reads, dict(ledger.failures)) == (4, 1, 1, {409: 1})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_job_has_succeeded_when_its_operator_says_so(kind: JobKind) -> None:
    said = {
        "trainingjobs": ({"state": "RUNNING"}, {"state": "SUCCEEDED"}),
        "tfjobs": tuple(
            {"conditions": [{"type": "Running", "status": "False"}, {"type": "Succeeded", "status": status}]}
            for status in ("False", "True")
        ),
    }
    before, after = said[kind.plural]
    assert [kind.has_succeeded(job) for job in ({}, {"status": before}, {"status": after})] == [False, False, True]


def test_a_job_of_four_pods_ends_with_its_chief_whichever_pod_is_last() -> None:
    chief, worker = (names.training_pod("job-00001", role, 0, 0) for role in ("chief", "worker"))
    ledger = Ledger(TrainingJobs(distributed=True))
    ledger.read(
        [
            request(1, "submitter", "create", "trainingjobs"),
            request(1.5, "fovea-operator", "create", "pods", chief),
            request(2, "fovea-operator", "create", "pods", worker),
            request(3, "stepper", "patch", "pods/status", chief, code=200),
            request(3.5, "stepper", "patch", "pods/status", worker, code=200),
            request(4, "fovea-operator", "patch", "trainingjobs/status", code=200),
        ]
    )
    assert (ledger.seconds_to_pod(), ledger.seconds_to_end()) == ([1.0], [1.0])


def test_the_pods_of_a_peers_job_are_led_by_its_chief_or_by_its_only_worker() -> None:
    pods = ("job-00001-chief-0", "job-00001-worker-0", "job-00001-ps-0")
    assert [TFJobs(distributed=True).leads(pod) for pod in pods] == [True, False, False]
    assert TFJobs().leads(PODS["tfjobs"])


def test_the_same_pods_fail_in_each_storm_in_about_the_wanted_number() -> None:
    fates = [Outcomes(killed=5, wrong=2).code(f"job-{number:05}-chief-0-0") for number in range(10000)]
    assert fates == [Outcomes(killed=5, wrong=2).code(f"job-{number:05}-chief-0-0") for number in range(10000)]
    assert (fates.count(137), fates.count(1)) == (pytest.approx(500, rel=0.2), pytest.approx(200, rel=0.2))
    assert {Outcomes().code(f"job-{number:05}-chief-0-0") for number in range(100)} == {0}


def test_percentiles_of_few_and_many_values() -> None:
    assert percentiles([3.0]) == (3.0, 3.0)
    assert percentiles([float(number) for number in range(1, 1001)]) == (500.5, 991.0)


def test_a_pair_says_how_much_of_the_peers_time_we_took() -> None:
    ours, theirs = (
        Run(name, Load(1), read(kind), operator_cpu=0.01, api_cpu=0.02, memory=Cost(1.0, 70, 80))
        for name, kind in (("fovea", TrainingJobs()), ("tfjob", TFJobs()))
    )
    theirs.ledger.ended["job-00001"] += 1.5
    assert table.pair(2, ours, theirs) == "| burst 1, round 2: fovea/tfjob | 3.5/5.0 | 0.70 |"
    assert table.row(ours) == (
        "| burst 1 | fovea | 0.250/0.250 | 1.000/1.000 | 3.5 (0.0) | 4.00 | 5.00 | 10.0 | 20.0 | 70/80 | 1×409 |"
    )
    assert table.HEADER.splitlines()[0].count("|") == table.row(ours).count("|")


def test_a_load_is_called_by_its_size_and_pace() -> None:
    assert [str(Load(1000)), str(Load(60, 1.0)), str(Load(60, 0.5))] == ["burst 1000", "60 at 1/s", "60 at 2/s"]
