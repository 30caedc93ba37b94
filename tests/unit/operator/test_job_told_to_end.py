"""Lives of jobs whose pod got SIGTERM, decision after decision: what a program says then is not believed blindly."""

from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.reconcile.shared.observed import PodRecord
from support.decision_table import RUNNING, STOPPING, decide, summary
from support.observations import after, at, ended, job, observed, preparing, published, running

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
    "evicted by its node": {"reason": "Evicted", "message": "its local storage exceeds the limit 1Gi"},
}


@pytest.mark.parametrize("how", FROM_OUTSIDE)
def test_a_program_that_answers_sigterm_with_0_has_not_succeeded(how: str) -> None:
    decision = decide(observed(job(RUNNING, model={"name": "digits"}), replace(ended(), **FROM_OUTSIDE[how])))
    found = summary(decision)
    assert (found["state"], found["creates"]) == ("QUEUED", [])
    to_blame = how == "evicted by its node"
    assert (found["retries"], found["disruptions"]) == ((1, None) if to_blame else (None, 1))
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


TOLD: dict[str, Any] = {"deleting": True, "told_to_end": at(100), "deletion_deadline": at(700)}


def said(of: TrainingJob, pod: PodRecord, now: float, report: ProgressReport | None = None) -> tuple[str, float | None]:
    """The message about a pod that ends, and when the job is looked at again."""
    decision = decide(observed(of, pod, progress=report), now)
    assert decision.status is not None
    return decision.status["message"], summary(decision)["wakes"]


@pytest.mark.parametrize(
    "of",
    [
        job(STOPPING, suspend=True),
        job(RUNNING | {"state": "CANCELLING"}, cancel=True),
        job(RUNNING),
    ],
    ids=["suspended", "cancelled", "drained"],
)
def test_a_program_that_does_not_end_is_named_after_half_a_minute_with_the_time_at_which_it_is_killed(
    of: TrainingJob,
) -> None:
    deaf = running(**TOLD) if not of.spec.cancel else running(**TOLD | {"deletion_deadline": at(160)})
    end = "2026-11-21T10:02:40Z" if of.spec.cancel else "2026-11-21T10:11:40Z"
    before, wakes = said(of, deaf, 129)
    assert "SIGTERM" not in before
    assert wakes == 130
    after_it, wakes = said(of, deaf, 130)
    assert "Pod digits-chief-0-0 has been ending since 2026-11-21T10:01:40Z and still runs" in after_it
    assert "container trainer does not end at SIGTERM" in after_it
    assert f"Kubernetes kills what still runs at {end}." in after_it
    assert "docs/how-to/own-program.md" in after_it
    assert wakes is not None
    assert wakes > 160
    assert said(of, deaf, 150)[0] == after_it, "it is said once, not every second"


def test_a_program_that_has_ended_is_not_blamed_for_a_long_publication() -> None:
    """The kubelet does not say that it has ended before the whole pod has; the sidecar does."""
    message, _ = said(job(STOPPING, suspend=True), running(**TOLD), 200, ProgressReport(step=3, publishing=True))
    assert "SIGTERM" not in message
    assert "The program has ended; what it left is being published, until 2026-11-21T10:11:40Z" in message


def test_a_pod_that_fetches_and_does_not_end_has_no_program_to_blame() -> None:
    message, _ = said(job(STOPPING, suspend=True), preparing(**TOLD), 200)
    assert "SIGTERM" not in message
    assert "Kubernetes kills what still runs in pod digits-chief-0-0 at 2026-11-21T10:11:40Z." in message


def test_a_pod_that_went_after_it_had_succeeded_is_no_lost_one_and_is_not_deleted() -> None:
    went = replace(ended(), gone=True)
    decision = decide(observed(job(RUNNING, runPolicy={"cleanPodPolicy": "All"}), went))
    assert summary(decision)["state"] == "SUCCEEDED"
    assert decision.deletions == ()
    again = decide(observed(job(RUNNING), replace(ended(code=75), gone=True)))
    assert (summary(again)["retries"], again.deletions) == (1, ())
    assert (again.status or {})["roles"]["chief"] == {"pending": 0, "active": 0, "succeeded": 0, "failed": 0}
