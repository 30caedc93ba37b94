"""Lives of jobs whose pod was told to end, decision after decision: what a program says then is not believed blindly."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.reconcile.observed import PodRecord
from support.decision_table import RUNNING, decide, summary
from support.observations import after, at, ended, job, observed, published, running

ENDING = running(deleting=True, deletion_deadline=at(600))


def life(of: TrainingJob, *chapters: tuple[bool, PodRecord | None], start: float = 20) -> dict[str, Any]:
    """Decide a chapter (suspended?, pod) after the other, 10 s apart, each on the status before; the last summary."""
    found: dict[str, Any] = {}
    for number, (suspended, pod) in enumerate(chapters):
        asked = of.model_copy(update={"spec": of.spec.model_copy(update={"suspend": suspended})})
        seen = observed(asked, *([pod] if pod else []))
        decision = decide(seen, start + 10 * number)
        of = after(asked, decision)
        found = summary(decision)
    return found


@pytest.mark.parametrize("code", [0, 143, 1])
def test_a_job_resumed_while_its_pod_still_ends_goes_on_in_the_next_attempt_and_counts_no_retry(code: int) -> None:
    found = life(
        job(RUNNING, model={"name": "digits"}),
        (True, running()),
        (True, ENDING),
        (False, ENDING),
        (False, ENDING),
        (False, replace(ended(code=code), deleting=True, deletion_deadline=at(600))),
    )
    assert (found["state"], found["creates"]) == ("QUEUED", [])
    assert found["attempts"] == {"chief-0": 1}
    assert found["retries"] is None
    assert found["conditions"]["Running"] == "False Resumed"


def test_a_job_resumed_while_its_pod_still_ends_counts_no_retry_when_the_pod_is_gone_at_once() -> None:
    found = life(job(RUNNING), (True, running()), (False, ENDING), (False, None))
    assert (found["state"], found["attempts"], found["retries"]) == ("QUEUED", {"chief-0": 1}, None)


def test_a_job_resumed_before_its_pod_was_told_to_end_forgets_the_suspension() -> None:
    found = life(job(RUNNING), (True, running()), (False, running()), (False, ended(code=143)))
    assert found["retries"] == 1


FROM_OUTSIDE: dict[str, dict[str, Any]] = {
    "deleted": {"deleting": True, "deletion_deadline": at(600)},
    "drained": {"disrupted": "Eviction API: evicting"},
    "evicted by its node": {"reason": "Evicted", "message": "the node was low on memory"},
}


@pytest.mark.parametrize("how", FROM_OUTSIDE)
def test_a_program_that_answers_sigterm_with_0_has_not_succeeded(how: str) -> None:
    decision = decide(observed(job(RUNNING, model={"name": "digits"}), replace(ended(), **FROM_OUTSIDE[how])))
    found = summary(decision)
    assert (found["state"], found["creates"], found["retries"]) == ("QUEUED", [], 1)
    assert decision.status is not None
    assert decision.status["lastFailure"]["reason"] == "Disrupted"
    assert "ended with 0" in decision.status["message"]
    assert "_SUCCESS" in decision.status["message"]


@pytest.mark.parametrize("how", FROM_OUTSIDE)
def test_a_program_that_had_finished_has_succeeded_however_its_pod_ended(how: str) -> None:
    pod = replace(ended(sync=published(complete=True)), **FROM_OUTSIDE[how])
    found = summary(decide(observed(job(RUNNING, model={"name": "digits"}), pod)))
    assert (found["state"], found["creates"]) == ("SUCCEEDED", ["digits-v1"])


def test_a_program_that_finished_while_the_job_was_being_suspended_has_succeeded() -> None:
    done = ended(sync=published(complete=True), deleting=True)
    assert life(job(RUNNING), (True, running()), (True, ENDING), (True, done))["state"] == "SUCCEEDED"


def test_a_cancel_that_has_begun_is_finished_even_if_the_program_was_done() -> None:
    of = job(RUNNING | {"state": "CANCELLING"}, cancel=True)
    assert summary(decide(observed(of, ended(sync=published(complete=True)))))["state"] == "CANCELLED"
