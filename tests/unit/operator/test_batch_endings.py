"""How BatchPredictions end, are cancelled and go, as a table: what is observed, and what is then said and done."""

import pytest
from fovea_api.contract import exit_codes, names
from fovea_api.contract.report import REASON_PUBLISHED, Published, Termination
from fovea_operator.reconcile.shared.decision import BATCH_JOB, BATCH_PREDICTION
from fovea_operator.reconcile.shared.observed import ContainerRecord
from support.batch_table import OOM, Row, only
from support.observations import at
from support.predictions import (
    OUTPUT,
    PINNED,
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

ROWS: dict[str, Row] = {
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
    # a lost word
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
    # cancel
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
    # after the end
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
    ROWS[case].check()


@pytest.mark.parametrize("case", ROWS)
def test_statuses_settle_when_nothing_else_changes(case: str) -> None:
    ROWS[case].check_that_it_settles()


def test_the_end_is_announced_with_the_state() -> None:
    [event] = decide(observed(prediction(PINNED), ended(batch=published()))).events
    assert (event.type, event.reason, event.ended_as) == ("Normal", "Published", "SUCCEEDED")
    [event] = decide(observed(prediction(PINNED), ended(code=1))).events
    assert (event.type, event.reason, event.ended_as) == ("Warning", "ProgramFailed", "FAILED")


def test_what_is_deleted_is_named_with_its_uid() -> None:
    [job] = decide(observed(prediction(PINNED, cancel=True), running())).deletions
    assert (job.gvk, job.uid) == (BATCH_JOB, "scores-batch-0-uid")
    [gone] = decide(observed(prediction(OVER, runPolicy={"ttlSecondsAfterFinished": 0}))).deletions
    assert (gone.gvk, gone.uid) == (BATCH_PREDICTION, "prediction-uid")
