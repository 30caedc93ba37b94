"""Decisions on BatchPredictions, as a table: what is observed, and what is then said and done."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fovea_api.contract import exit_codes, names
from fovea_api.contract.report import REASON_PUBLISHED, Published, Termination
from fovea_operator.reconcile.shared.decision import BATCH_JOB, BATCH_PREDICTION, Decision, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, PredictionObserved
from support.observations import DIGEST, at, version
from support.predictions import (
    OUTPUT,
    PINNED,
    after,
    agent,
    batch_job,
    counts,
    decide,
    ended,
    observed,
    prediction,
    published,
    refused_model,
    running,
    worker,
)

OOM: dict[str, Any] = {"code": 137, "reason": "OOMKilled"}
UNBELIEVABLE = Termination(
    REASON_PUBLISHED, "published", output=Published("s3://fovea/x", "sha256:short", 1, 1)
).to_json()
MISCONFIGURED = ContainerRecord(
    waiting_reason="CrashLoopBackOff",
    last_exit_code=78,
    last_message=agent(78, "Misconfigured", "the plan is malformed").termination_message,
)
RECORDED = {"uri": OUTPUT.uri, "digest": OUTPUT.digest, "bytes": 4096, "files": 3}
OVER = PINNED | {"state": "SUCCEEDED", "endTime": "2026-11-21T10:01:00Z", "observedGeneration": 1}
LOST = PINNED | {"state": "FAILED", "endTime": "2026-11-21T10:01:00Z", "observedGeneration": 1}


@dataclass(frozen=True)
class Row:
    """What is observed, a minute after the prediction was created, and what the summary and the message then have."""

    seen: Callable[[], PredictionObserved]
    then: dict[str, Any]
    says: str = ""


def summary(decision: Decision) -> dict[str, Any]:
    """What a row speaks about."""
    status = decision.status or {}
    conditions = {each["type"]: f"{each['status']} {each['reason']}" for each in status.get("conditions", ())}
    return {
        "creates": [c.manifest["metadata"]["name"] for c in decision.children if c.write is Write.CREATE],
        "stops": [c.manifest["metadata"]["name"] for c in decision.children if c.write is Write.PATCH],
        "deletes": [deletion.name for deletion in decision.deletions],
        "conditions": conditions,
        "why": (conditions.get("Failed") or conditions.get("Running", "")).partition(" ")[2],
        "wakes": (decision.requeue_at - at(60)).total_seconds() if decision.requeue_at else None,
    } | {key: status.get(key) for key in ("state", "version", "failures", "reruns", "progress", "workers", "output")}


def only(**fields: Any) -> dict[str, Any]:
    return {"creates": [], "deletes": [], "stops": []} | fields


ROWS: dict[str, Row] = {
    # --- before there is a Job
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
    # --- while it goes on
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
    "a worker evicted for what it used itself is a retry": Row(
        lambda: observed(prediction(PINNED), replace(ended(code=137), reason="Evicted"), running(0, 1)),
        only(failures={"0": 1}),
    ),
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
    # --- how it ends
    "a published output is the success, whatever the others do": Row(
        lambda: observed(prediction(PINNED), ended(batch=published(errors=7)), running(1)),
        only(
            state="SUCCEEDED",
            conditions={"Admitted": "True Accepted", "Running": "False Published", "Complete": "True Published"},
            output=RECORDED,
            workers={"active": 0, "succeeded": 1, "failed": 0},
            wakes=0,
        ),
        "1000 records are done, 7 of them without an answer (errors.jsonl)",
    ),
    "an output without a believable digest is none": Row(
        lambda: observed(
            prediction(PINNED), ended(batch=agent(0, "Published", "done")), running(1), jobs=[batch_job()]
        ),
        only(state="RUNNING", output=None),
    ),
    "an output whose digest is none is not believed": Row(
        lambda: observed(
            prediction(PINNED), ended(batch=ContainerRecord(exit_code=0, termination_message=UNBELIEVABLE)), running(1)
        ),
        only(state="RUNNING", output=None),
    ),
    "too many errors at the end": Row(
        lambda: observed(prediction(PINNED), ended(batch=published(errors=101))),
        only(state="FAILED", why="TooManyErrors", output=RECORDED),
        "101 of 1000 records have no answer (10.10%), and spec.maxErrorRatio allows 10.00%: errors.jsonl in",
    ),
    "as many errors as are allowed": Row(
        lambda: observed(prediction(PINNED), ended(batch=published(errors=100))), only(state="SUCCEEDED")
    ),
    "too many errors for good end it early": Row(
        lambda: observed(prediction(PINNED), running(), heard={running().uid: counts(768, 200, shards=3, total=4)}),
        only(state="FAILED", why="TooManyErrors", output=None),
        "whatever the other records are",
    ),
    "many errors that others may outweigh do not": Row(
        lambda: observed(prediction(PINNED), running(), heard={running().uid: counts(768, 100, shards=3, total=4)}),
        only(state="RUNNING"),
    ),
    "a permanent exit code ends it with the program's words": Row(
        lambda: observed(prediction(PINNED), ended(code=1, said="ValueError: no signature"), running(1)),
        only(state="FAILED", why="ProgramFailed"),
        "Worker 0 failed: the program ended with exit code 1: ValueError: no signature",
    ),
    "an agent that cannot go on ends it with its own words": Row(
        lambda: observed(
            prediction(PINNED), ended(code=66, batch=agent(66, "InputReplaced", "object a.jpg was replaced"))
        ),
        only(state="FAILED", why="InputReplaced"),
        "object a.jpg was replaced",
    ),
    "a model that is corrupt ends it": Row(
        lambda: observed(
            prediction(PINNED),
            refused_model(code=exit_codes.DATA_CORRUPT, reason="ModelCorrupt", message="the digest differs"),
        ),
        only(state="FAILED", why="ModelCorrupt"),
        "the digest differs",
    ),
    "an agent that ends again and again before the program ends it": Row(
        lambda: observed(
            prediction(PINNED),
            worker(
                containers={names.BATCH_CONTAINER: MISCONFIGURED},
                phase="Running",
                node="node-1",
            ),
        ),
        only(state="FAILED", why="Misconfigured"),
    ),
    "an agent that ends while its pod is deleted says nothing": Row(
        lambda: observed(
            prediction(PINNED), worker(containers={names.BATCH_CONTAINER: MISCONFIGURED}, node="node-1", deleting=True)
        ),
        only(state="QUEUED"),
    ),
    "one retry too many of one worker ends it": Row(
        lambda: observed(prediction(PINNED), *(ended(number=n, **OOM) for n in range(4))),
        only(state="FAILED", why="BackoffLimitExceeded", failures={"0": 4}),
        "Worker 0 failed more than 3 times (runPolicy.backoffLimit), last with OutOfMemory",
    ),
    "as many retries of different workers do not": Row(
        lambda: observed(prediction(PINNED), *(ended(n, **OOM) for n in range(4)), running(0, 9)),
        only(state="RUNNING", failures={"0": 1, "1": 1, "2": 1, "3": 1}),
    ),
    "disruptions have no limit": Row(
        lambda: observed(prediction(PINNED), *(ended(number=n, code=143, disrupted="drained") for n in range(9))),
        only(state="QUEUED", why="Disrupted", failures=None),
    ),
    "the Job's deadline": Row(
        lambda: observed(
            prediction(PINNED, runPolicy={"maxRunningSeconds": 30}), jobs=[batch_job(failed="DeadlineExceeded")]
        ),
        only(state="FAILED", why="MaxRunningSecondsExceeded"),
        "within 30 s (runPolicy.maxRunningSeconds)",
    ),
    # --- a lost word
    "all have ended and none has said where the output is": Row(
        lambda: observed(prediction(PINNED), ended(), ended(1), jobs=[batch_job(complete=True)]),
        only(state="PREPARING", reruns=1, why="Rerun", wakes=0),
    ),
    "a pod whose end is yet to be seen is waited for": Row(
        lambda: observed(prediction(PINNED), ended(), running(1), jobs=[batch_job(complete=True)]),
        only(state="RUNNING", reruns=None),
    ),
    "then the next Job is made, and the one before it goes": Row(
        lambda: observed(prediction(PINNED | {"reruns": 1}), ended(), ended(1), jobs=[batch_job(complete=True)]),
        {"creates": ["scores-batch-1"], "deletes": ["scores-batch-0"]},
    ),
    "a fourth time is one too many": Row(
        lambda: observed(prediction(PINNED | {"reruns": 3}), ended(rerun=3), jobs=[batch_job(3, complete=True)]),
        only(state="FAILED", why="OutputMissing"),
    ),
    # --- cancel
    "a cancelled prediction deletes its Job": Row(
        lambda: observed(prediction(PINNED, cancel=True), running()),
        only(state="CANCELLING", deletes=["scores-batch-0"]),
    ),
    "it is cancelled when the pods have gone": Row(
        lambda: observed(prediction(PINNED | {"state": "CANCELLING"}, cancel=True)),
        only(state="CANCELLED", why="Cancelled"),
    ),
    "pods of a Job that is gone already are waited for": Row(
        lambda: observed(prediction(PINNED | {"state": "CANCELLING"}, cancel=True), running(deleting=True), jobs=[]),
        only(state="CANCELLING"),
    ),
    "a pod on a lost node is not waited for": Row(
        lambda: observed(
            prediction(PINNED | {"state": "CANCELLING"}, cancel=True),
            running(deleting=True, deletion_deadline=at(10)),
            jobs=[],
        ),
        only(state="CANCELLED"),
    ),
    "a cancellation that has begun is finished": Row(
        lambda: observed(prediction(PINNED | {"state": "CANCELLING"}), running()),
        only(state="CANCELLING", deletes=["scores-batch-0"]),
    ),
    "one that was cancelled before anything was done": Row(
        lambda: observed(prediction(cancel=True)), only(state="CANCELLED", version=None)
    ),
    "a success that came first stays one": Row(
        lambda: observed(prediction(PINNED, cancel=True), ended(batch=published())), only(state="SUCCEEDED")
    ),
    # --- after the end
    "after a failure the other workers are stopped, and the pods that ended stay": Row(
        lambda: observed(prediction(LOST), ended(code=1), running(1)), only(stops=["scores-batch-0"], state=None)
    ),
    "a Job that is stopped is left alone": Row(
        lambda: observed(prediction(LOST), jobs=[batch_job(suspended=True)]), only(state=None, wakes=None)
    ),
    "after a success the others have a minute to end by themselves": Row(
        lambda: observed(prediction(OVER), running(1)), only(state=None, wakes=60)
    ),
    "an ended prediction stays": Row(
        lambda: observed(prediction(OVER), jobs=[batch_job(complete=True)]), only(state=None, wakes=None)
    ),
    "at its TTL it goes": Row(
        lambda: observed(prediction(OVER, runPolicy={"ttlSecondsAfterFinished": 0})), only(deletes=["scores"])
    ),
    "a newer spec of an ended prediction is acknowledged": Row(
        lambda: observed(prediction(OVER, generation=2, runPolicy={"ttlSecondsAfterFinished": 90})),
        only(state="SUCCEEDED", wakes=90),
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_decision(case: str) -> None:
    row = ROWS[case]
    decision = decide(row.seen())
    found = summary(decision)
    assert {key: found[key] for key in row.then} == row.then
    if row.says:
        assert row.says in (decision.status or {})["message"]


# -- lives -------------------------------------------------------------------------------------------------------------


def test_a_lost_status_takes_the_version_from_the_job() -> None:
    found = decide(observed(prediction(), running(), versions=[version(3), version(4)]))
    assert summary(found)["version"] == 3
    assert not found.children
    assert summary(decide(after(observed(prediction(), running(), versions=[version(4)]))))["state"] == "RUNNING"


def test_the_end_is_announced_with_the_state() -> None:
    [event] = decide(observed(prediction(PINNED), ended(batch=published()))).events
    assert (event.type, event.reason, event.ended_as) == ("Normal", "Published", "SUCCEEDED")
    [event] = decide(observed(prediction(PINNED), ended(code=1))).events
    assert (event.type, event.reason, event.ended_as) == ("Warning", "ProgramFailed", "FAILED")


@pytest.mark.parametrize("case", ROWS)
def test_statuses_settle_when_nothing_else_changes(case: str) -> None:
    seen = ROWS[case].seen()
    for _ in range(4):
        before = seen.prediction
        seen = after(seen)
    assert seen.prediction == before


def test_a_prediction_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    of = prediction(PINNED)
    gone = of.model_copy(
        update={"metadata": of.metadata.model_copy(update={"deletion_timestamp": "2026-11-21T10:00:00Z"})}
    )
    assert decide(observed(gone, running())) == Decision()


def test_what_is_deleted_is_named_with_its_uid() -> None:
    [job] = decide(observed(prediction(PINNED, cancel=True), running())).deletions
    assert (job.gvk, job.uid) == (BATCH_JOB, "scores-batch-0-uid")
    [gone] = decide(observed(prediction(OVER, runPolicy={"ttlSecondsAfterFinished": 0}))).deletions
    assert (gone.gvk, gone.uid) == (BATCH_PREDICTION, "prediction-uid")
