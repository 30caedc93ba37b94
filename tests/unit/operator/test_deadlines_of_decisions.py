"""A decision that ends a job at a deadline says which one, so that one that comes late is counted."""

from collections.abc import Callable

import pytest
from fovea_operator.reconcile.shared.decision import Deadline
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.training.decide import decide_job
from support.decision_table import RUNNING, SEEN
from support.observations import SETTINGS, at, ended, job, observed, pod, running

ENDS: dict[str, tuple[Callable[[], JobObserved], Deadline | None]] = {
    "a program that ran too long": (
        lambda: observed(job(RUNNING, runPolicy={"maxRunningSeconds": 60}), running(started=10)),
        Deadline("maxRunningSeconds", at(70)),
    ),
    "a program that ran too long with its attempt before": (
        lambda: observed(job(RUNNING | {"runningSeconds": 20}, runPolicy={"maxRunningSeconds": 60}), running()),
        Deadline("maxRunningSeconds", at(50)),
    ),
    "a job that waited too long": (
        lambda: observed(job(SEEN, runPolicy={"maxWaitSeconds": 30}), pod(unschedulable="0/1 nodes")),
        Deadline("maxWaitSeconds", at(30)),
    ),
    "a job that succeeds": (
        lambda: observed(job(RUNNING, runPolicy={"maxRunningSeconds": 600}), ended(finished=90)),
        None,
    ),
    "a job that is cancelled": (lambda: observed(job(SEEN, cancel=True)), None),
}


@pytest.mark.parametrize(("seen", "deadline"), ENDS.values(), ids=ENDS.keys())
def test_a_decision_names_the_deadline_for_which_a_job_ends(
    seen: Callable[[], JobObserved], deadline: Deadline | None
) -> None:
    decision = decide_job(seen(), at(100), SETTINGS)
    assert (decision.status or {})["endTime"], "it ends"
    assert decision.deadline == deadline


def test_a_job_that_goes_on_names_none() -> None:
    seen = observed(job(RUNNING, runPolicy={"maxRunningSeconds": 600}), running())
    assert decide_job(seen, at(100), SETTINGS).deadline is None
