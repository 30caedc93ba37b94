"""maxRunningSeconds while no operator leads: what kubelets are told, and what is made of pods that they stopped at it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.desired.members import Member
from fovea_operator.reconcile.shared.decision import Deadline, Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from support.decision_table import RUNNING, SEEN, STOPPING, SUCCEEDED, Row, decide, summary
from support.kubelet_deadlines import stopped, told
from support.members import of
from support.observations import at, ended, job, observed, pod, preparing, published, running

CHIEF, FIRST, SECOND = Member(), Member("worker", 0), Member("worker", 1)
TAKEN = {"active_since": at(2)}
OWN = {**TAKEN, "active_deadline": at(110), "deadline_is_own": True}
"""Of a pod whose program may run from 10 to 110."""
KUBELET = {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"}


def limited(status: dict[str, Any] | None = None, seconds: int = 100, **spec: Any) -> TrainingJob:
    policy = {"maxRunningSeconds": seconds, **spec.pop("runPolicy", {})}
    return job(RUNNING if status is None else status, runPolicy=policy, **spec)


def workers(status: dict[str, Any] | None = None, **policy: Any) -> TrainingJob:
    roles = {"worker": {"count": 2}}
    return limited(status, distribution="MultiWorkerMirrored", roles=roles, runPolicy=policy)


def patches(decision: Decision) -> dict[str, int]:
    """By pod: the deadline that a decision gives it."""
    found = [child for child in decision.children if child.write is Write.PATCH]
    for child in found:
        seconds = child.manifest["spec"]["activeDeadlineSeconds"]
        assert child.is_optional
        assert child.manifest["metadata"]["annotations"] == {labels.POD_DEADLINE: str(seconds)}
    return {each.manifest["metadata"]["name"]: each.manifest["spec"]["activeDeadlineSeconds"] for each in found}


ONE = "digits-chief-0-0"
TOLD: dict[str, tuple[TrainingJob, tuple[PodRecord, ...], dict[str, int]]] = {
    "from when the program runs, the time before it does not count": (limited(), (running(**TAKEN),), {ONE: 108}),
    "what earlier attempts ran counts": (limited(RUNNING | {"runningSeconds": 30}), (running(**TAKEN),), {ONE: 78}),
    "a part of a second is rounded up": (limited(), (running(active_since=at(1.5)),), {ONE: 109}),
    "it is at least a second": (
        limited(RUNNING | {"runningSeconds": 40}),
        (running(started=1, active_since=at(60.5)),),
        {ONE: 1},
    ),
    "a job without a limit has none": (job(RUNNING), (running(**TAKEN),), {}),
    "nothing is known before the program runs": (limited(SEEN), (preparing(**TAKEN),), {}),
    "a pod that no kubelet has taken has no beginning": (limited(), (running(),), {}),
    "it is told once": (limited(), (running(**OWN),), {}),
    "an earlier one of others stays": (limited(), (running(**TAKEN, active_deadline=at(70)),), {}),
    "a later one of others is lowered": (limited(), (running(**TAKEN, active_deadline=at(600)),), {ONE: 108}),
    "a pod that is being deleted has its grace period": (
        limited(),
        (running(**TAKEN, deleting=True, told_to_end=at(50), deletion_deadline=at(650)),),
        {},
    ),
    "nor one that a suspension deletes now": (limited(suspend=True), (running(**TAKEN),), {}),
    "a program that has ended publishes in its grace period": (limited(), (ended(phase="Running", **TAKEN),), {}),
    "an ended job has ended": (limited(SUCCEEDED), (running(**TAKEN),), {}),
    "all members, counted from the chief's program and by each pod's own beginning": (
        workers(),
        (
            running(**TAKEN),
            of(FIRST, running(started=40, active_since=at(30))),
            of(SECOND, preparing(active_since=at(7))),
        ),
        {ONE: 108, "digits-worker-0-0": 80, "digits-worker-1-0": 103},
    ),
    "a worker that begins again gets it as well": (
        workers(RUNNING | {"attempts": {"chief-0": 0, "worker-0": 1}}),
        (running(**OWN), of(FIRST, running(1, started=50, active_since=at(45))), of(SECOND, running(**OWN))),
        {"digits-worker-0-1": 65},
    ),
}


@pytest.mark.parametrize(("of_job", "pods", "expected"), TOLD.values(), ids=TOLD.keys())
def test_kubelets_are_told_the_deadline_of_a_job_once_it_is_known(
    of_job: TrainingJob, pods: tuple[PodRecord, ...], expected: dict[str, int]
) -> None:
    decision = decide(observed(of_job, *pods))
    assert patches(decision) == expected
    again = [told(each, decision.children) for each in pods]
    assert patches(decide(observed(of_job, *again))) == {}, "no write is repeated"


def stopped_at(time: float, code: int = 143, **fields: Any) -> PodRecord:
    """A pod of the program that ran from 10, as its kubelet ended it."""
    return replace(ended(code=code, finished=time, **{**OWN, **fields}), phase="Failed", **KUBELET)


TOO_LONG = {
    "state": "FAILED",
    "creates": [],
    "retries": None,
    "attempts": {"chief-0": 0},
    "conditions": {
        "Admitted": "True Accepted",
        "Running": "False MaxRunningSecondsExceeded",
        "Failed": "True MaxRunningSecondsExceeded",
    },
}
FORGOTTEN = ContainerRecord()
MIRRORED = {"distribution": "MultiWorkerMirrored", "roles": {"worker": {"count": 2}}}

ENDS: dict[str, Row] = {
    "a program that its kubelet stopped ran too long": Row(
        lambda: observed(limited(), stopped_at(111)),
        TOO_LONG | {"ran": 101},
        "Failed: the program ran 101 s in all, and runPolicy.maxRunningSeconds is 100.",
        now=400,
    ),
    "a second that rounding took is none": Row(
        lambda: observed(limited(), stopped_at(110, started=11)),
        TOO_LONG | {"ran": 99},
        "Failed: the program was stopped when its time was over, and runPolicy.maxRunningSeconds is 100.",
        now=400,
    ),
    "a node may forget how the program ended": Row(
        lambda: observed(
            limited(), replace(stopped_at(111), containers={names.TRAINER_CONTAINER: FORGOTTEN}, phase="Failed")
        ),
        TOO_LONG,
        now=400,
    ),
    "a member may be stopped first, and the others have lost it": Row(
        lambda: observed(workers(), ended(code=75, finished=109, **OWN), of(FIRST, stopped_at(111))),
        TOO_LONG | {"ran": 99},
        now=400,
    ),
    "a member is stopped first while the chief's node is slow": Row(
        lambda: observed(workers(), running(**OWN), of(FIRST, stopped_at(111)), of(SECOND, running(**OWN))),
        TOO_LONG | {"deletes": [ONE, "digits-worker-1-0"]},
        now=105,
    ),
    "the chief's pod may be gone": Row(
        lambda: observed(workers(), of(FIRST, stopped_at(111)), of(SECOND, stopped_at(111))), TOO_LONG, now=400
    ),
    "it counts though a suspension is wanted now": Row(
        lambda: observed(limited(suspend=True), stopped_at(111)), TOO_LONG, now=400
    ),
    "a program that ended with 0 when it was told to end is not done": Row(
        lambda: observed(limited(), stopped_at(111, code=0, sync=published(112))), TOO_LONG, now=400
    ),
    "a program that was done succeeds, whatever its pod says": Row(
        lambda: observed(limited(), stopped_at(109, code=0, sync=published(130))), {"state": "SUCCEEDED"}, now=400
    ),
    "a program that says that it was done succeeds, though it was told to end": Row(
        lambda: observed(limited(), stopped_at(111, code=0, sync=published(130, complete=True))),
        {"state": "SUCCEEDED"},
        now=400,
    ),
    "a program that failed before its time was over failed": Row(
        lambda: observed(limited(), stopped_at(90, code=137)),
        {"state": "QUEUED", "retries": 1, "attempts": {"chief-0": 1}, "ran": 80},
        "Attempt 0 failed: the program ended with exit code 137.",
        now=90,
    ),
    "the chief that failed long before the others were stopped is the cause": Row(
        lambda: observed(
            workers(), ended(code=137, finished=60, **OWN), of(FIRST, stopped_at(111)), of(SECOND, stopped_at(111))
        ),
        {"state": "QUEUED", "retries": 1, "ran": 50},
        "Attempt 0 of chief-0 failed",
        now=115,
    ),
    "workers that are stopped while the chief publishes fail nothing": Row(
        lambda: observed(
            workers(),
            replace(ended(code=0, finished=60, sync=ContainerRecord(running_since=at(9)), **OWN), phase="Running"),
            of(FIRST, stopped_at(111)),
            of(SECOND, stopped_at(111)),
        ),
        {"retries": None, "deletes": []},
        now=115,
    ),
    "and the chief's success is the job's": Row(
        lambda: observed(workers(), stopped_at(60, code=0, sync=published(130)), of(FIRST, stopped_at(111))),
        {"state": "SUCCEEDED", "retries": None},
        now=140,
    ),
    "a deadline that others have set is a retry": Row(
        lambda: observed(limited(), stopped_at(70, active_deadline=at(70), deadline_is_own=False)),
        {"state": "QUEUED", "retries": 1, "disruptions": None, "ran": 60},
        "Attempt 0 failed: the kubelet stopped pod digits-chief-0-0 at its spec.activeDeadlineSeconds, which Fovea did not set",
        now=71,
    ),
    "also of a program that ends with 1 when it is told to end": Row(
        lambda: observed(job(RUNNING), stopped_at(70, code=1, active_deadline=at(70), deadline_is_own=False)),
        {"state": "QUEUED", "retries": 1},
        now=71,
    ),
    "also of a program that ends with 0 then": Row(
        lambda: observed(job(RUNNING), stopped_at(70, code=0, active_deadline=at(70), deadline_is_own=False)),
        {"state": "QUEUED", "retries": 1, "disruptions": None},
        "which Fovea did not set",
        now=71,
    ),
    "a job without a limit has no deadline of its own, whatever a pod says": Row(
        lambda: observed(job(RUNNING), stopped_at(111)), {"state": "QUEUED", "retries": 1}, now=112
    ),
    "a pod that a kubelet still ends is given the short grace period of a cancel": Row(
        lambda: observed(limited(), running(**OWN)), TOO_LONG | {"deletes": [ONE]}, now=113
    ),
    "a suspension before it goes on": Row(
        lambda: observed(limited(STOPPING, suspend=True), stopped_at(111)),
        {"state": "QUEUED", "retries": None, "attempts": {"chief-0": 1}, "ran": 101},
        now=400,
    ),
}


@pytest.mark.parametrize("sentence", ENDS)
def test_a_pod_that_its_kubelet_stopped(sentence: str) -> None:
    ENDS[sentence].check()


LATE: dict[str, Callable[[], PodRecord]] = {
    "stopped": lambda: stopped_at(111),
    "still running": lambda: running(**OWN),
    "a second short": lambda: stopped_at(110, started=11),
}


@pytest.mark.parametrize("seen", LATE.values(), ids=LATE.keys())
def test_the_deadline_is_when_the_time_was_over_however_late_an_operator_comes(seen: Callable[[], PodRecord]) -> None:
    assert decide(observed(limited(), seen()), 400).deadline == Deadline("maxRunningSeconds", at(110))


def test_a_job_ends_whatever_its_program_says_when_a_kubelet_stops_it() -> None:
    for code in (0, 1, 75, 137, 143):
        kept = stopped(running(**OWN), at(150), code)
        assert (
            summary(decide(observed(limited(), kept), 400))["conditions"]["Failed"] == "True MaxRunningSecondsExceeded"
        )


def test_what_a_chief_ran_counts_though_it_begins_again_alone() -> None:
    roles = {"worker": {"count": 2}}
    of_job = limited(distribution="MultiWorkerMirrored", roles=roles, runPolicy={"restartScope": "Replica"})
    others = [of(FIRST, running(**TAKEN)), of(SECOND, running(**TAKEN))]
    failed = decide(observed(of_job, ended(code=137, finished=60), *others))
    assert (summary(failed)["state"], summary(failed)["ran"]) == ("RUNNING", 50)
    waits = job(failed.status, **of_job.spec.dump())
    assert patches(decide(observed(waits, ended(code=137, finished=60), *others), 65)) == {}, (
        "no program of the chief runs"
    )
    again = decide(
        observed(waits, ended(code=137, finished=60), running(1, started=90, active_since=at(85)), *others), 91
    )
    assert patches(again) == {"digits-chief-0-1": 55, "digits-worker-0-0": 138, "digits-worker-1-0": 138}


def test_a_pod_that_ended_before_any_deadline_is_no_news_to_it() -> None:
    waiting = observed(limited(SEEN), pod(unschedulable="0/1 nodes", **TAKEN))
    assert patches(decide(waiting)) == {}
