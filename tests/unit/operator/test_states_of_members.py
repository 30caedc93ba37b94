"""Where each member of a distributed job stands: what rides along with a status that is written anyway."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import Heard, Pace, PodRecord
from fovea_operator.reconcile.training.decide import decide_job
from support.decision_table import RUNNING, SEEN
from support.members import of
from support.observations import SETTINGS, after, at, ended, observed, pod, preparing, running
from support.observations import job as single_job

CHIEF, PS = Member(), Member("ps", 0)
WORKERS = tuple(Member("worker", index) for index in range(3))
ROLES = {"worker": {"count": 3}, "ps": {"count": 1}}


def job(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    return single_job(status, **({"distribution": "ParameterServer", "roles": ROLES} | spec))


def decide(of_job: TrainingJob, *pods: PodRecord, now: float = 200, **seen: Any) -> Decision:
    return decide_job(observed(of_job, *pods, **seen), at(now), SETTINGS)


def all_run() -> tuple[PodRecord, ...]:
    return tuple(of(member, running()) for member in (CHIEF, *WORKERS, PS))


def heard(**said: tuple[int, float]) -> dict[str, Heard]:
    """Reports by member, with _ in the place of its -: a step and a pace."""
    return {
        f"digits-{member.replace('_', '-')}-0-uid": Heard(ProgressReport(step=step), Pace(rate, 120))
        for member, (step, rate) in said.items()
    }


def members(decision: Decision) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = decision.riders["members"]
    return found


STAGES: dict[str, tuple[Callable[[], PodRecord], dict[str, Any]]] = {
    "waits for a node": (lambda: pod(created=2), {"state": "QUEUED", "since": times.text(at(2))}),
    "prepares": (
        lambda: preparing(scheduled=at(3)),
        {"state": "PREPARING", "node": "node-1", "since": times.text(at(3))},
    ),
    "runs": (lambda: running(started=12), {"state": "RUNNING", "node": "node-1", "since": times.text(at(12))}),
    "has done its part": (
        lambda: ended(finished=90),
        {"state": "SUCCEEDED", "node": "node-1", "since": times.text(at(90))},
    ),
}


@pytest.mark.parametrize(("stage", "then"), STAGES.values(), ids=STAGES.keys())
def test_a_member_has_the_state_of_its_pod(stage: Callable[[], PodRecord], then: dict[str, Any]) -> None:
    chief, _, *others = all_run()
    found = members(decide(job(SEEN), chief, of(WORKERS[0], stage()), *others))
    assert found["worker-0"] == {"attempt": 0, **then}
    assert found.keys() == {"chief-0", "worker-0", "worker-1", "worker-2", "ps-0"}


def test_steps_are_those_that_each_member_has_reported() -> None:
    said = heard(chief_0=(90, 3.0), worker_0=(30, 1.0), worker_1=(31, 1.0))
    found = members(decide(job(SEEN), *all_run(), heard=said))
    assert {key: member.get("step") for key, member in found.items()} == {
        "chief-0": 90,
        "worker-0": 30,
        "worker-1": 31,
        "worker-2": None,
        "ps-0": None,
    }


def test_a_new_operator_keeps_a_step_until_the_member_reports_again() -> None:
    before = job(SEEN | {"members": {"worker-0": {"state": "RUNNING", "attempt": 0, "step": 30}}})
    assert members(decide(before, *all_run()))["worker-0"]["step"] == 30
    later = job(SEEN | {"members": {"worker-0": {"state": "RUNNING", "attempt": 1, "step": 30}}})
    assert "step" not in members(decide(later, *all_run()))["worker-0"], "another attempt's"


SLOW = {"worker_0": (300, 3.0), "worker_1": (300, 3.0), "worker_2": (120, 1.2)}
COMPARED = {
    "asynchronous parameter servers": ({}, 60),
    "synchronous parameter servers: all wait for the slowest": ({"sync": True}, None),
    "all-reduce": ({"distribution": "MultiWorkerMirrored", "roles": {"worker": {"count": 3}}}, None),
}


@pytest.mark.parametrize(("spec", "behind"), COMPARED.values(), ids=COMPARED.keys())
def test_a_straggler_is_named_where_workers_do_not_wait_for_each_other(
    spec: dict[str, Any], behind: int | None
) -> None:
    pods = all_run() if "roles" not in spec else all_run()[:-1]
    found = members(decide(job(SEEN, **spec), *pods, heard=heard(**SLOW)))
    assert {key: member.get("behindPercent") for key, member in found.items() if "worker" in key} == {
        "worker-0": None,
        "worker-1": None,
        "worker-2": behind,
    }


def test_the_chief_and_parameter_servers_are_never_stragglers() -> None:
    said = heard(chief_0=(1, 0.1), ps_0=(1, 0.1), worker_0=(300, 3.0), worker_1=(300, 3.0), worker_2=(300, 3.0))
    found = members(decide(job(SEEN), *all_run(), heard=said))
    assert not [key for key, member in found.items() if "behindPercent" in member]


def test_a_member_that_is_tried_again_waits_for_its_next_attempt() -> None:
    chief, failed, *others = all_run()
    found = decide(job(RUNNING), chief, of(WORKERS[0], ended(code=137, finished=195)), *others)
    assert (found.status or {})["attempts"] == {"chief-0": 0, "worker-0": 1}
    assert members(found)["worker-0"] == {"state": "QUEUED", "attempt": 1, "since": times.text(at(200))}
    assert members(found)["worker-1"]["state"] == "RUNNING"
    assert failed.name == "digits-worker-0-0"


def test_what_still_runs_when_the_job_ends_was_stopped_with_it() -> None:
    _, first, second, *others = all_run()
    gone = replace(of(WORKERS[1], ended(finished=150)), uid=second.uid)
    found = decide(job(RUNNING), ended(finished=190), first, gone, *others)
    assert (found.status or {})["state"] == "SUCCEEDED"
    assert {key: member["state"] for key, member in members(found).items()} == {
        "chief-0": "SUCCEEDED",
        "worker-0": "STOPPED",
        "worker-1": "SUCCEEDED",
        "worker-2": "STOPPED",
        "ps-0": "STOPPED",
    }


def test_a_job_of_one_pod_lists_no_members() -> None:
    assert "members" not in decide_job(observed(single_job(SEEN), running()), at(60), SETTINGS).riders


def test_states_of_members_and_paces_are_no_reason_to_write() -> None:
    report = ProgressReport(step=90, steps=900)
    before = job(SEEN)
    said = heard(chief_0=(90, 3.0), worker_0=(30, 1.0))
    first = decide(before, *all_run(), heard=said, progress=report, pace=Pace(3.0, 60))
    written = after(before, first)
    assert written.status.progress is not None
    assert (written.status.progress.steps_per_second, written.status.progress.remaining_seconds) == (3.0, 270)
    said = heard(chief_0=(90, 2.0), worker_0=(35, 1.1))
    second = decide(written, *all_run(), heard=said, progress=report, pace=Pace(2.0, 60))
    assert second.status == written.status.dump()
    assert members(second)["worker-0"]["step"] == 35
    third = decide(written, *all_run(), heard=said, progress=replace(report, step=95), pace=Pace(2.0, 60))
    assert third.status != written.status.dump()
    assert third.riders["progress"]["stepsPerSecond"] == 2.0


def test_a_program_that_does_not_run_has_no_time_left() -> None:
    status = RUNNING | {"progress": {"step": 90, "steps": 900, "stepsPerSecond": 3.0, "remainingSeconds": 270}}
    new_operator = decide(job(status), *all_run(), progress=ProgressReport(step=120, steps=900))
    assert new_operator.riders["progress"]["remainingSeconds"] == 260, "by the last pace that is known"
    over = decide(job(status), ended(finished=190), *all_run()[1:])
    assert over.riders["progress"] == {"step": 90, "steps": 900, "stepsPerSecond": 3.0}


def test_many_members_make_a_status_of_some_kilobytes() -> None:
    roles = {"worker": {"count": 64}, "ps": {"count": 32}}
    many = [CHIEF, *(Member("worker", n) for n in range(64)), *(Member("ps", n) for n in range(32))]
    pods = [replace(of(member, running()), node="ip-10-20-130-240.eu-central-1.compute.internal") for member in many]
    said = {each.uid: Heard(ProgressReport(step=1_000_000), Pace(3.0, 120)) for each in pods}
    found = decide(job(SEEN, roles=roles), *pods, heard=said)
    assert len(members(found)) == 97

    assert len(json.dumps(members(found))) < 16_000
