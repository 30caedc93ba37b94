"""A job that keeps failing at the same step says so; chance, disruptions and Fovea's own troubles do not count."""

from typing import Any

import pytest
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.training.same_step import ordinal
from support.decision_table import RUNNING, decide
from support.observations import after, agent_failed, ended, job, observed, published, running

LIMIT = {"backoffLimit": 10}


def failed(attempt: int, step: int | None, saved: int | None = 100, **how: Any) -> PodRecord:
    """An attempt's pod whose program got to a step."""
    report = ProgressReport(step=step, steps=500, checkpoint_step=saved, checkpoint_digest="sha256:0")
    return ended(attempt, **({"code": 137} | how), sync=published(progress=report, model=None))


def then(of: TrainingJob, attempt: int, pod: PodRecord | None) -> TrainingJob:
    """The job when that attempt ran and what became of its pod was decided on."""
    of = of.model_copy(update={"status": of.status.model_copy(update={"next_attempt_time": None})})
    ran = decide(observed(of, running(attempt)), now=60)
    return after(after(of, ran), decide(observed(after(of, ran), *([pod] if pod else [])), now=80))


def through(*pods: PodRecord | None, **status: Any) -> TrainingJob:
    """The job after these attempts."""
    found = job(RUNNING | status, runPolicy=LIMIT)
    for attempt, pod in enumerate(pods):
        found = then(found, attempt, pod)
    return found


def counts(of: TrainingJob) -> tuple[int | None, int | None, int] | None:
    found = of.status.failing_step
    return (found.step, found.checkpoint_step, found.failures) if found else None


def test_the_third_failure_at_a_step_says_so_and_what_to_do() -> None:
    once, twice = through(failed(0, 120)), through(failed(0, 120), failed(1, 120))
    thrice = through(failed(0, 120), failed(1, 120), failed(2, 120))
    assert counts(once) == (120, 100, 1)
    assert "in a row" not in str(once.status.message)
    said = "The job failed at step 120 for the second time in a row (newest checkpoint: step 100)."
    assert said in str(twice.status.message)
    assert "hardly" not in str(twice.status.message)
    assert counts(thrice) == (120, 100, 3)
    wanted = "for the third time in a row (newest checkpoint: step 100). Another attempt will hardly get further"
    assert wanted in str(thrice.status.message)
    assert "Retry 3 of 10 starts at" in str(thrice.status.message)
    assert thrice.status.last_failure is not None
    assert wanted in thrice.status.last_failure.message


def test_the_last_attempt_says_so_when_the_job_fails() -> None:
    found = job(RUNNING, runPolicy={"backoffLimit": 1})
    for attempt in (0, 1):
        found = then(found, attempt, failed(attempt, 120))
    assert found.status.state == "FAILED"
    assert "at step 120 for the second time in a row" in str(found.status.message)
    assert counts(found) == (120, 100, 2)


@pytest.mark.parametrize(
    ("second", "why"),
    [(failed(1, 180), "another step"), (failed(1, 120, saved=110), "a newer checkpoint"), (failed(1, None), "no step")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_elsewhere_begins_a_new_row(second: PodRecord, why: str) -> None:
    found = through(failed(0, 120), second)
    assert counts(found) is not None
    assert (counts(found) or (0, 0, 0))[2] == 1, why
    assert "in a row" not in str(found.status.message)


def test_a_program_that_reaches_no_step_is_named_as_such() -> None:
    found = through(failed(0, None, None), failed(1, None, None))
    assert "The job failed before the first step for the second time in a row (no checkpoint)." in str(
        found.status.message
    )


def test_a_disruption_or_a_trouble_of_the_agent_between_two_failures_neither_counts_nor_begins_a_new_row() -> None:
    store = agent_failed("fovea-fetch", 75, "StoreUnreachable", "the store does not answer", attempt=2)
    found = through(failed(0, 120), None, store, failed(3, 120))
    assert found.status.disruptions == 1
    assert found.status.retries == 3
    assert counts(found) == (120, 100, 2)


def test_steps_of_a_late_report_are_the_same_step() -> None:
    progress = {"progress": {"step": 100, "stepsPerSecond": 4.0}}
    assert (counts(through(failed(0, 120), failed(1, 137), **progress)) or (0, 0, 0))[2] == 2
    assert (counts(through(failed(0, 120), failed(1, 160), **progress)) or (0, 0, 0))[2] == 1


def test_what_is_counted_is_in_the_status_and_deciding_twice_counts_once() -> None:
    before = through(failed(0, 120))
    seen = observed(before, failed(0, 120))
    assert counts(after(before, decide(seen, now=90))) == (120, 100, 1)


def test_numbers_are_said_as_words() -> None:
    assert [ordinal(number) for number in (2, 3, 4, 11, 12, 21, 22, 103, 111)] == [
        "second", "third", "4th", "11th", "12th", "21st", "22nd", "103rd", "111th",
    ]  # fmt: skip
