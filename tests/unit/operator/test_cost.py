"""What a job has cost: hours of pods on nodes, times the weights of machine types."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import JobObserved, PodRecord
from fovea_operator.reconcile.training.decide import decide_job
from support.decision_table import RETRYING, RUNNING, SEEN
from support.members import of
from support.observations import SETTINGS, after, at, ended, job, machine, observed, pod, running

HOUR = 3600.0
CHEAP, DEAR = machine("cheap", default=False, costWeight=0.5), machine("dear", default=True, costWeight=10)
WORKERS = (Member("worker", 0), Member("worker", 1))
DISTRIBUTED = {
    "distribution": "ParameterServer",
    "roles": {"chief": {"machineType": "cheap"}, "worker": {"count": 2}, "ps": {"machineType": "cheap"}},
}


def decide(seen: JobObserved, now: float) -> Decision:
    return decide_job(seen, at(now), SETTINGS)


def cost(decision: Decision) -> dict[str, float] | None:
    found: dict[str, float] | None = decision.riders.get("cost")
    return found


def on_node(of_pod: PodRecord, since: float = 0) -> PodRecord:
    return replace(of_pod, scheduled=at(since))


COSTS: dict[str, tuple[Callable[[], JobObserved], float, dict[str, float] | None]] = {
    "nothing while no pod has a node": (lambda: observed(job(SEEN), pod()), HOUR, None),
    "an hour of a machine of weight 1": (
        lambda: observed(job(SEEN), on_node(running())),
        HOUR,
        {"total": 1.0, "ended": 0.0},
    ),
    "an hour of a dear machine": (
        lambda: observed(job(SEEN), on_node(running()), machine_types=[DEAR]),
        HOUR,
        {"total": 10.0, "ended": 0.0},
    ),
    "from the node on: images and inputs are fetched there": (
        lambda: observed(job(SEEN), on_node(running(started=1800), 900)),
        HOUR,
        {"total": 0.75, "ended": 0.0},
    ),
    "a machine type that is gone has weight 1": (
        lambda: observed(job(SEEN), on_node(running()), machine_types=[]),
        HOUR,
        {"total": 1.0, "ended": 0.0},
    ),
    "until the last container has ended": (
        lambda: observed(job(RUNNING), on_node(ended(finished=1798))),
        HOUR,
        {"total": 0.5, "ended": 0.5},
    ),
    "with what attempts before have cost": (
        lambda: observed(job(SEEN | {"cost": {"total": 2.5, "ended": 2.0}}), on_node(running())),
        HOUR,
        {"total": 3.0, "ended": 2.0},
    ),
    "never less than the status said": (
        lambda: observed(job(SEEN | {"cost": {"total": 5.0, "ended": 2.0}}), on_node(running())),
        HOUR,
        {"total": 5.0, "ended": 2.0},
    ),
    "of a job that is cancelled before it had a node, nothing": (lambda: observed(job({}, cancel=True)), HOUR, None),
}


@pytest.mark.parametrize(("seen", "now", "then"), COSTS.values(), ids=COSTS.keys())
def test_a_job_costs(seen: Callable[[], JobObserved], now: float, then: dict[str, float] | None) -> None:
    assert cost(decide(seen(), now)) == then


def distributed(status: dict[str, Any]) -> TrainingJob:
    return job(status, **DISTRIBUTED)


def members(*, without: str = "") -> list[PodRecord]:
    each = (Member(), *WORKERS, Member("ps", 0))
    return [on_node(of(member, running())) for member in each if member.key != without]


def test_all_members_of_a_job_cost_by_their_roles() -> None:
    seen = observed(distributed(SEEN), *members(), machine_types=[CHEAP, DEAR])
    assert cost(decide(seen, HOUR)) == {"total": 0.5 + 2 * 10 + 0.5, "ended": 0.0}


def test_an_attempt_counts_as_ended_once_and_a_new_operator_goes_on_from_there() -> None:
    first = observed(job(RUNNING), on_node(ended(code=137, finished=1798)))
    failed = decide(first, HOUR / 2)
    assert (failed.status or {})["attempts"] == {"chief-0": 1}
    assert cost(failed) == {"total": 0.5, "ended": 0.5}
    written = after(first.job, failed)
    second = observed(written, *first.pods, on_node(running(1, started=5400), 5400))
    goes_on = decide(second, 5400 + HOUR)
    assert cost(goes_on) == {"total": 1.5, "ended": 0.5}
    over = decide(observed(after(written, goes_on), on_node(ended(1, started=5400, finished=9000 - 2), 5400)), 9100)
    assert (over.status or {})["state"] == "SUCCEEDED"
    assert cost(over) == {"total": 1.5, "ended": 1.5}


def test_a_worker_that_is_tried_again_alone_counts_and_the_others_go_on() -> None:
    chief, _, *others = members()
    failed = on_node(of(WORKERS[0], ended(code=137, finished=HOUR - 2)))
    seen = observed(distributed(RUNNING), chief, failed, *others, machine_types=[CHEAP, DEAR])
    decision = decide(seen, HOUR)
    assert (decision.status or {})["attempts"] == {"chief-0": 0, "worker-0": 1}
    assert cost(decision) == {"total": 21.0, "ended": 10.0}


def test_a_worker_that_is_done_counts_once_and_its_pod_may_go() -> None:
    chief, _, *others = members()
    done = on_node(of(WORKERS[0], ended(sync=None, finished=1798)))
    seen = observed(distributed(RUNNING), chief, done, *others, machine_types=[CHEAP, DEAR])
    decision = decide(seen, HOUR)
    assert cost(decision) == {"total": 0.5 + 5 + 10 + 0.5, "ended": 5.0}
    written = after(seen.job, decision)
    gone = decide(observed(written, chief, *others, machine_types=[CHEAP, DEAR]), 2 * HOUR)
    assert cost(gone) == {"total": 1 + 5 + 20 + 1, "ended": 5.0}
    there = decide(observed(written, chief, done, *others, machine_types=[CHEAP, DEAR]), 2 * HOUR)
    assert cost(there) == cost(gone)


def test_a_pod_that_is_gone_costs_until_it_was_last_known_to_run() -> None:
    lost = observed(job(RUNNING | {"cost": {"total": 0.25, "ended": 0}}), vanished=at(10 + HOUR / 2))
    decision = decide(lost, HOUR)
    assert (decision.status or {})["attempts"] == {"chief-0": 1}
    assert cost(decision) == {"total": 0.5, "ended": 0.5}


def test_a_suspended_job_costs_no_more() -> None:
    suspending = observed(job(RUNNING, suspend=True), on_node(ended(code=75, finished=1798)))
    decision = decide(suspending, HOUR / 2)
    written = after(suspending.job, decision)
    later = decide(observed(written), 10 * HOUR)
    assert written.status.cost is not None
    assert written.status.cost.total == 0.5
    assert cost(later) in (None, {"total": 0.5, "ended": 0.5})


def test_a_job_that_waits_for_a_retry_costs_no_more() -> None:
    waiting = observed(job(RETRYING | {"cost": {"total": 0.5, "ended": 0.5}}, cancel=True))
    assert cost(decide(waiting, 10 * HOUR)) == {"total": 0.5, "ended": 0.5}


def test_hours_alone_are_no_reason_to_write() -> None:
    seen = observed(job(SEEN), on_node(running()))
    written = after(seen.job, decide(seen, HOUR))
    later = decide(replace(seen, job=written), 2 * HOUR)
    assert later.status == written.status.dump()
    assert cost(later) == {"total": 2.0, "ended": 0.0}
