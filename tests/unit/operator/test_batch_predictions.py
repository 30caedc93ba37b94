"""Decisions on BatchPredictions that have not ended, as a table: what is observed, and what is then said and done."""

from dataclasses import replace

import pytest
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import ContainerRecord
from support.batch_table import OOM, Row, only, summary
from support.observations import DIGEST, version
from support.predictions import (
    PINNED,
    after,
    batch_job,
    counts,
    decide,
    ended,
    observed,
    prediction,
    running,
    worker,
)

EVICTED = observed(prediction(PINNED), replace(ended(code=137), reason="Evicted"), running(0, 1))
ROWS: dict[str, Row] = {
    # before there is a Job
    "a new prediction first writes down which version answers": Row(
        lambda: observed(prediction(), versions=[version(2), version(3)]),
        only(state="QUEUED", version=3, wakes=0),
        "Version 3 of model 'digits' answers",
    ),
    "a version that is named is the one that answers": Row(
        lambda: observed(prediction(version=2), versions=[version(2), version(3)]), only(version=2)
    ),
    "a version that is named answers though it is rejected": Row(
        lambda: observed(prediction(version=3), versions=[version(3, approval="Rejected")]), only(version=3)
    ),
    "without an approved version the prediction waits": Row(
        lambda: observed(prediction(), versions=[version(3, approval="Rejected")]),
        only(state="QUEUED", version=None, conditions={"Admitted": "False NoVersion", "Running": "False NoVersion"}),
        "no approved version",
    ),
    "a version that is not there is waited for": Row(
        lambda: observed(prediction(version=7)), only(state="QUEUED", why="NoVersion"), "no version 7"
    ),
    "with the version in the status the Job is made": Row(
        lambda: observed(prediction(PINNED)),
        {"creates": ["scores-batch-0"], "state": "QUEUED", "why": "JobCreated"},
        "2 workers wait",
    ),
    "a newer version changes nothing once one is chosen": Row(
        lambda: observed(prediction(PINNED), versions=[version(3), version(4)]),
        {"creates": ["scores-batch-0"], "version": 3},
    ),
    "a chosen version that is gone is waited for": Row(
        lambda: observed(prediction(PINNED), versions=[version(4)]),
        only(state="QUEUED", why="NoVersion"),
        "is gone or has other files now",
    ),
    "a chosen version that has other files now is not taken": Row(
        lambda: observed(prediction(PINNED | {"digest": DIGEST + "9"})), only(why="NoVersion")
    ),
    "without a machine type the prediction waits": Row(
        lambda: observed(prediction(PINNED, machineType="huge")),
        only(state="QUEUED", why="MachineTypeMissing"),
        "There is no MachineType 'huge'",
    ),
    "an account that is not allowed ends it": Row(
        lambda: observed(prediction(pod={"serviceAccountName": "admin"})),
        only(state="FAILED", why="InvalidSpec"),
        "submit a new prediction",
    ),
    "a Job of a deleted prediction of the same name is waited for": Row(
        lambda: observed(prediction(PINNED), predecessors=("scores-batch-0",)),
        only(state="QUEUED", why="PredecessorEnding"),
    ),
    "a refused Job is said": Row(
        lambda: observed(prediction(PINNED), refused="exceeded quota: small"),
        only(state="QUEUED", why="JobRefused"),
        "exceeded quota: small",
    ),
    # while it goes on
    "a Job without pods": Row(
        lambda: observed(prediction(PINNED), jobs=[batch_job()]),
        only(state="QUEUED", why="JobCreated"),
        "kubectl describe job scores-batch-0",
    ),
    "no node takes a worker": Row(
        lambda: observed(prediction(PINNED), worker(unschedulable="0/3 nodes are available")),
        only(state="QUEUED", why="Unschedulable"),
        "0/3 nodes are available",
    ),
    "an image that cannot be pulled": Row(
        lambda: observed(
            prediction(PINNED),
            worker(containers={"predict": ContainerRecord(waiting_reason="ImagePullBackOff")}, node="node-1"),
        ),
        only(state="PREPARING", why="ImagePullFailed"),
        "the platform team",
    ),
    "the model is fetched": Row(
        lambda: observed(prediction(PINNED), worker(node="node-1")), only(state="PREPARING", why="Fetching")
    ),
    "a worker answers": Row(
        lambda: observed(prediction(PINNED), running(), worker(1)),
        only(
            state="RUNNING",
            conditions={"Admitted": "True Accepted", "Running": "True Started"},
            workers={"active": 2, "succeeded": 0, "failed": 0},
        ),
        "1 worker answers records; follow them with: fovea predictions wait scores",
    ),
    "a store that is away is said": Row(
        lambda: observed(
            prediction(PINNED),
            running(),
            heard={running().uid: counts(0, store_unreachable_since="2026-11-21T10:00:30Z")},
        ),
        only(state="RUNNING"),
        "The object store has not answered since 2026-11-21T10:00:30Z",
    ),
    "a drained worker is no retry": Row(
        lambda: observed(prediction(PINNED), ended(code=143, disrupted="node is drained"), running(1)),
        only(state="RUNNING", failures=None, workers={"active": 1, "succeeded": 0, "failed": 1}),
    ),
    "a worker that ran out of memory is a retry": Row(
        lambda: observed(prediction(PINNED), ended(**OOM), running(0, 1)),
        only(state="RUNNING", failures={"0": 1}),
        "retry 1 of 3",
    ),
    "a worker evicted for what it used itself is a retry": Row(lambda: EVICTED, only(failures={"0": 1})),
    "while the next pod is yet to be made the failure is said": Row(
        lambda: observed(prediction(PINNED), ended(**OOM)),
        only(state="QUEUED", why="Retrying"),
        "Worker 0 is started again (retry 1 of 3), and repeats one shard",
    ),
    "a count of failures outlives the pods": Row(
        lambda: observed(prediction(PINNED | {"failures": {"0": 2}}), ended(**OOM), running(0, 1)),
        only(failures={"0": 2}),
    ),
    "a Job that somebody has suspended is said": Row(
        lambda: observed(prediction(PINNED), jobs=[batch_job(suspended=True)]),
        only(state="QUEUED"),
        "Fovea has not done that",
    ),
    "a Job that somebody has deleted is made again": Row(
        lambda: observed(prediction(PINNED | {"state": "RUNNING"})), {"creates": ["scores-batch-0"], "state": "QUEUED"}
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_decision(case: str) -> None:
    ROWS[case].check()


def test_an_eviction_for_a_worker_s_own_use_of_local_storage_is_a_retry() -> None:
    status = decide(EVICTED).status
    assert status is not None
    assert (status["failures"], status["lastFailure"]["reason"]) == ({"0": 1}, "Disrupted")


def test_a_lost_status_takes_the_version_from_the_job() -> None:
    found = decide(observed(prediction(), running(), versions=[version(3), version(4)]))
    assert summary(found)["version"] == 3
    assert not found.children
    assert summary(decide(after(observed(prediction(), running(), versions=[version(4)]))))["state"] == "RUNNING"


@pytest.mark.parametrize("case", ROWS)
def test_statuses_settle_when_nothing_else_changes(case: str) -> None:
    ROWS[case].check_that_it_settles()


def test_a_prediction_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    of = prediction(PINNED)
    gone = of.model_copy(
        update={"metadata": of.metadata.model_copy(update={"deletion_timestamp": "2026-11-21T10:00:00Z"})}
    )
    assert decide(observed(gone, running())) == Decision()
