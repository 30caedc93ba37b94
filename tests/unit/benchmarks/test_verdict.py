"""The judge of a storm finds each sort of fault, and none where all is well."""

from typing import Any

import pytest
from burst.outcomes import Outcomes
from burst.verdict import judge
from fovea_api.contract import labels, names

OUTCOMES = Outcomes()
CHIEF = names.training_pod("job-00001", "chief", 0, 0)
AGAIN = names.training_pod("job-00001", "chief", 0, 1)


def job(state: str = "SUCCEEDED", limit: int = 0, **status: Any) -> dict[str, Any]:
    policy = {"backoffLimit": 3} | ({"maxRunningSeconds": limit} if limit else {})
    return {
        "metadata": {"name": "job-00001"},
        "spec": {"runPolicy": policy},
        "status": {"state": state, "attempts": {"chief-0": 0}, **status},
    }


def pod(phase: str = "Succeeded", of: str = "job-00001", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": CHIEF, "labels": {labels.JOB: of}, **metadata}, "status": {"phase": phase}}


def test_a_job_that_ended_as_its_pods_did_is_well() -> None:
    verdict = judge([job()], [pod(), pod("Running", deletionTimestamp="2026-01-01T00:00:00Z")], [CHIEF], OUTCOMES)
    assert (verdict.faults, verdict.states, verdict.late_seconds) == ({}, {"SUCCEEDED": 1}, ())


@pytest.mark.parametrize(
    ("jobs", "pods", "created", "fault"),
    [
        ([job("RUNNING")], [], [CHIEF], {"not_ended": ("job-00001",)}),
        ([job(retries=4)], [], [CHIEF], {"over_the_limit": ("job-00001",)}),
        ([job("FAILED")], [], [CHIEF], {"wrongly_ended": ("job-00001",)}),
        ([job(limit=6)], [], [CHIEF], {"wrongly_ended": ("job-00001",)}),
        ([job()], [pod("Running")], [CHIEF], {"left_running": (CHIEF,)}),
        ([job()], [pod("Pending", of="job-00002")], [CHIEF], {"left_running": (CHIEF,)}),
        ([job()], [], [CHIEF, AGAIN], {"lost_attempts": ("job-00001 chief-0",)}),
        ([job()], [], [CHIEF, CHIEF], {"made_twice": (CHIEF,)}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_each_sort_of_fault_is_found(
    jobs: list[Any], pods: list[Any], created: list[str], fault: dict[str, tuple[str, ...]]
) -> None:
    assert judge(jobs, pods, created, OUTCOMES).faults == fault


def test_a_killed_chief_makes_no_success_and_a_wrong_one_makes_a_failure() -> None:
    everything_is_killed, everything_is_wrong = Outcomes(killed=100), Outcomes(wrong=100)
    assert judge([job()], [], [CHIEF], everything_is_killed).faults == {"wrongly_ended": ("job-00001",)}
    assert judge([job("FAILED", retries=3)], [], [CHIEF], everything_is_killed).faults == {}
    assert judge([job("FAILED")], [], [CHIEF], everything_is_wrong).faults == {}


def test_a_deadline_is_measured_from_the_start_of_the_program() -> None:
    late = job("FAILED", limit=6, startTime="2026-01-01T00:00:10Z", endTime="2026-01-01T00:00:17Z")
    assert judge([late], [], [CHIEF], OUTCOMES).late_seconds == (1.0,)
