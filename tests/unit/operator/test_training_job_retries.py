"""TrainingJobs whose attempt failed."""

from dataclasses import replace

import pytest
from fovea_api.contract import names
from fovea_api.contract.report import REASON_PUBLISHED, ProgressReport, Published, Termination
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import ContainerRecord
from support.decision_table import QUIET, RETRYING, RUNNING, SEEN, Row, decide
from support.observations import (
    after,
    agent_failed,
    at,
    ended,
    fetched,
    job,
    observed,
    pod,
    preparing,
    published,
    running,
)

REPLACED = ContainerRecord(
    exit_code=65, termination_message=Termination("InputReplaced", "input 'data' is another").to_json(), finished=at(72)
)

TABLE: dict[str, Row] = {
    # failure
    "a permanent exit code fails the job": Row(
        lambda: observed(job(RUNNING), ended(code=1, said="ValueError: no such optimizer")),
        {
            "state": "FAILED",
            "creates": [],
            "deletes": [],
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False ProgramFailed",
                "Failed": "True ProgramFailed",
            },
            "attempts": {"chief-0": 0},
        },
        "Failed: the program ended with exit code 1: ValueError: no such optimizer. See the program's log with: fovea jobs "
        "stream-logs digits",
    ),
    "exit code 75 is retried after the back-off, and the attempt is written first": Row(
        lambda: observed(job(RUNNING), ended(code=75)),
        {
            "state": "QUEUED",
            "creates": [],
            "deletes": [],
            "attempts": {"chief-0": 1},
            "retries": 1,
            "wakes": 80,
            "conditions": {"Admitted": "True Accepted", "Running": "False Retrying"},
        },
        "Attempt 0 failed: the program ended with exit code 75. Retry 1 of 3 starts at 2026-11-21T10:01:20Z.",
        now=71,
    ),
    "a killed program is retried": Row(
        lambda: observed(job(RUNNING), ended(code=137)), {"state": "QUEUED", "retries": 1}
    ),
    "a program that ends since a shard of its input will not come fails the job with the agent's reason": Row(
        lambda: observed(
            job(RUNNING),
            ended(code=65, said="shard a.tfrecord will not come", sync=REPLACED),
        ),
        {
            "state": "FAILED",
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False InputReplaced",
                "Failed": "True InputReplaced",
            },
        },
        "Failed: input 'data' is another",
    ),
    "a program that fails for a reason of its own is quoted, whatever its sidecar says": Row(
        lambda: observed(job(RUNNING), ended(code=1, said="E: no data", sync=REPLACED)),
        {"state": "FAILED"},
        "the program ended with exit code 1: E: no data",
    ),
    "a program out of memory is retried and told why": Row(
        lambda: observed(job(RUNNING), ended(code=137, reason="OOMKilled")),
        {"state": "QUEUED", "retries": 1},
        "Attempt 0 failed: the program used more memory than its machine type allows.",
    ),
    "the last lines of a program's log are quoted in one line": Row(
        lambda: observed(job(RUNNING), ended(code=1, said="Epoch 1/9\n\n\x1b[31mE:\x1b[0m no data\n")),
        {"state": "FAILED"},
        "the program ended with exit code 1: Epoch 1/9 / E: no data",
    ),
    "a program that cannot be started is not retried": Row(
        lambda: observed(job(RUNNING), ended(code=128, reason="StartError", said='exec: "trian": not found')),
        {"state": "FAILED", "retries": None},
        'Failed: the program cannot be started: exec: "trian": not found.',
    ),
    "an evicted pod is followed by another whatever its exit code, and that is no retry": Row(
        lambda: observed(job(RUNNING), ended(code=1, reason="Error", disrupted="Evicted by the taint manager")),
        {"state": "QUEUED", "retries": None, "disruptions": 1},
        "Attempt 0 was disrupted: pod digits-chief-0-0 was ended from outside: Evicted by the taint manager.",
    ),
    "a pod that its node refused is followed by another one however often that happens, and its wait goes on": Row(
        lambda: observed(
            job(SEEN | {"state": "QUEUED", "retries": 3}),
            pod(phase="Failed", node="node-1", reason="UnexpectedAdmissionError", message="no healthy devices present"),
        ),
        {"state": "QUEUED", "retries": 3, "disruptions": 1, "queued": "2026-11-21T10:00:00Z"},
        "Attempt 0 was disrupted: node node-1 refused pod digits-chief-0-0 (UnexpectedAdmissionError): no healthy devices "
        "present. The next attempt starts at 2026-11-21T10:01:",
    ),
    "a node may refuse a pod that ran on it before: what it saved counts as run, and its wait begins anew": Row(
        lambda: observed(
            job(RUNNING | {"checkpoint": {"step": 400, "time": "2026-11-21T11:00:10Z"}}),
            replace(running(), phase="Failed", reason="OutOfnvidia.com/gpu", containers={}),
        ),
        {
            "state": "QUEUED",
            "retries": None,
            "disruptions": 1,
            "queued": "2026-11-21T13:00:10Z",
            "wakes": 10_810,
            "ran": 3_600,
        },
        "node node-1 refused pod digits-chief-0-0 (OutOfnvidia.com/gpu).",
        now=10_800,
    ),
    "a node may refuse a pod that fetched on it before: its wait begins anew": Row(
        lambda: observed(job(SEEN), replace(preparing(), phase="Failed", reason="UnexpectedAdmissionError")),
        {"state": "QUEUED", "disruptions": 1, "queued": "2026-11-21T10:01:10Z"},
        now=60,
    ),
    "a job that is suspended when its node refuses the pod is not cancelled for its wait": Row(
        lambda: observed(
            job(SEEN | {"state": "QUEUED"}, suspend=True, runPolicy={"maxWaitSeconds": 30}),
            pod(phase="Failed", node="node-1", reason="UnexpectedAdmissionError"),
        ),
        {"state": "QUEUED", "disruptions": 1, "wakes": 60},
    ),
    "a node may refuse a pod that had fetched: what has ended well did not end the pod": Row(
        lambda: observed(
            job(SEEN),
            pod(
                phase="Failed",
                node="node-1",
                reason="UnexpectedAdmissionError",
                containers={names.FETCH_CONTAINER: fetched(), names.TRAINER_CONTAINER: ContainerRecord()},
            ),
        ),
        {"state": "QUEUED", "retries": None, "disruptions": 1, "queued": "2026-11-21T10:01:10Z"},
        "node node-1 refused pod digits-chief-0-0 (UnexpectedAdmissionError).",
    ),
    "a pod that ran longer than somebody's activeDeadlineSeconds was not refused: the next would go the same way": Row(
        lambda: observed(job(SEEN), pod(phase="Failed", reason="DeadlineExceeded", message="active too long")),
        {"state": "QUEUED", "retries": 1, "disruptions": None},
        "Attempt 0 failed: the kubelet stopped pod digits-chief-0-0 at its spec.activeDeadlineSeconds, which Fovea did not set",
    ),
    "a pod that ended before its program and names no reason is retried": Row(
        lambda: observed(job(SEEN), pod(phase="Failed", message="odd")), {"state": "QUEUED", "retries": 1}
    ),
    "a program that was lost when its node restarted is no retry": Row(
        lambda: observed(
            job(RUNNING | {"retries": 3}),
            ended(code=255, reason="Unknown", sync=ContainerRecord(exit_code=255, terminated_reason="Unknown")),
        ),
        {"state": "QUEUED", "retries": 3, "disruptions": 1},
        "Attempt 0 was disrupted: node node-1 does not know how container trainer of pod digits-chief-0-0 ended, as "
        "after a restart of the node. The next attempt",
    ),
    "a fetch that was lost when its node restarted is no retry": Row(
        lambda: observed(
            job(SEEN | {"retries": 3}),
            pod(
                phase="Failed",
                node="node-1",
                containers={
                    names.FETCH_CONTAINER: ContainerRecord(exit_code=137, terminated_reason="ContainerStatusUnknown")
                },
            ),
        ),
        {"state": "QUEUED", "retries": 3, "disruptions": 1},
    ),
    "a publication that was lost when its node restarted is no retry": Row(
        lambda: observed(
            job(RUNNING | {"retries": 3}),
            ended(phase="Failed", sync=ContainerRecord(exit_code=255, terminated_reason="Unknown")),
        ),
        {"state": "QUEUED", "retries": 3, "disruptions": 1},
    ),
    "a pod that was evicted for its own use is a retry also when its node forgot how it ended": Row(
        lambda: observed(
            job(RUNNING | {"retries": 3}),
            replace(
                ended(code=137, reason="ContainerStatusUnknown"), reason="Evicted", message="exceeds its limit 1Gi"
            ),
        ),
        {"state": "FAILED"},
        "exceeds its limit 1Gi",
    ),
    "success without a digest is retried": Row(
        lambda: observed(job(RUNNING), ended(sync=ContainerRecord(exit_code=0, finished=at(72)))),
        {"state": "QUEUED", "retries": 1},
        "the program of pod digits-chief-0-0 ended with 0, but the agent reported no digest of its output",
    ),
    "a store that did not answer while publishing is retried": Row(
        lambda: observed(
            job(RUNNING), agent_failed(names.SYNC_CONTAINER, 75, "StoreUnreachable", "the store at x did not answer")
        ),
        {"state": "QUEUED", "retries": 1},
        "Attempt 0 failed: the store at x did not answer.",
    ),
    "a missing input fails the job in the agent's words": Row(
        lambda: observed(
            job(SEEN),
            agent_failed(names.FETCH_CONTAINER, 66, "InputMissing", "nothing is at s3://fovea/vision/x: upload it"),
        ),
        {
            "state": "FAILED",
            "conditions": {"Admitted": "True Accepted", "Running": "False InputMissing", "Failed": "True InputMissing"},
        },
        "Failed: nothing is at s3://fovea/vision/x: upload it. Then submit a new job.",
    ),
    "a refused key fails the job": Row(
        lambda: observed(job(SEEN), agent_failed(names.FETCH_CONTAINER, 77, "KeyRefused", "the store refused the key")),
        {
            "state": "FAILED",
            "conditions": {"Admitted": "True Accepted", "Running": "False KeyRefused", "Failed": "True KeyRefused"},
        },
    ),
    "an attempt that was fenced is followed by another": Row(
        lambda: observed(job(SEEN), agent_failed(names.FETCH_CONTAINER, 76, "Fenced", "attempt 3 has started")),
        {"state": "QUEUED", "attempts": {"chief-0": 1}},
    ),
    "one retry too many fails the job": Row(
        lambda: observed(job(RUNNING | {"retries": 3, "attempts": {"chief-0": 3}}), ended(3, code=75)),
        {
            "state": "FAILED",
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False BackoffLimitExceeded",
                "Failed": "True BackoffLimitExceeded",
            },
            "attempts": {"chief-0": 3},
        },
        "Failed after 3 of 3 retries (runPolicy.backoffLimit): the program ended with exit code 75.",
    ),
    "a job that was killed once too often says how to go on": Row(
        lambda: observed(
            job(RUNNING | {"retries": 3, "attempts": {"chief-0": 3}}),
            agent_failed(names.SYNC_CONTAINER, 75, "StoreUnreachable", "the store at x did not answer", attempt=3),
        ),
        {"state": "FAILED"},
        "Submit a new job that goes on from its checkpoints with checkpoint.from: job://digits, and with a larger "
        "runPolicy.backoffLimit",
    ),
    "a job that ended by a defect of the agent says how to go on": Row(
        lambda: observed(job(RUNNING), agent_failed(names.SYNC_CONTAINER, 70, "AgentFailed", "internal error")),
        {"state": "FAILED"},
        "internal error. Submit a new job that goes on from its checkpoints",
    ),
    "backoffLimit 0 means no retry": Row(
        lambda: observed(job(RUNNING, runPolicy={"backoffLimit": 0}), ended(code=137)), {"state": "FAILED"}
    ),
    "a pod that vanished while it ran is followed by another, the attempt written": Row(
        lambda: observed(job(RUNNING)),
        {"state": "QUEUED", "creates": [], "attempts": {"chief-0": 1}, "retries": None, "disruptions": 1},
        "Attempt 0 was disrupted: the pod is gone, and no report says how it ended",
    ),
    "a pod on a lost node does not block its successor": Row(
        lambda: observed(job(RUNNING), running(deleting=True, deletion_deadline=at(20))),
        {"state": "QUEUED", "attempts": {"chief-0": 1}, "disruptions": 1, "deletes": []},
        "Attempt 0 was disrupted: pod digits-chief-0-0 did not end in its grace period: node node-1 does not answer.",
    ),
    "before the back-off is over there is no pod": Row(
        lambda: observed(job(RETRYING), ended(code=75)), QUIET | {"wakes": 80}, now=79
    ),
    "after the back-off the next attempt's pod is made; the failed one stays for its log": Row(
        lambda: observed(job(RETRYING), ended(code=75)), QUIET | {"creates": ["digits-chief-0-1"]}, now=80
    ),
    "a failed attempt of a job that is to be suspended is written, and the job looked at again at once": Row(
        lambda: observed(job(RUNNING, suspend=True), ended(code=75)),
        {"state": "QUEUED", "retries": 1, "wakes": 71},
        now=71,
    ),
    "a retry that is looked at late gets its pod without a status": Row(
        lambda: observed(job(RETRYING), ended(code=75)), QUIET | {"creates": ["digits-chief-0-1"], "wakes": 92}, now=90
    ),
    "the next attempt's pod is made while the old one is stuck on its lost node": Row(
        lambda: observed(job(RETRYING), running(deleting=True, deletion_deadline=at(20))),
        QUIET | {"creates": ["digits-chief-0-1"]},
        now=80,
    ),
    "a running pod of an earlier attempt is stopped": Row(
        lambda: observed(job(RETRYING), running(0), running(1, started=85)),
        {"state": "RUNNING", "deletes": ["digits-chief-0-0"], "attempts": {"chief-0": 1}},
        now=86,
    ),
    "only the last failed pods are kept for their logs": Row(
        lambda: observed(
            job(RETRYING | {"attempts": {"chief-0": 5}, "retries": 5}, runPolicy={"backoffLimit": 9}),
            *(ended(n, code=75) for n in range(5)),
        ),
        QUIET | {"deletes": ["digits-chief-0-0", "digits-chief-0-1"]},
        now=79,
    ),
    "policy None keeps every failed pod": Row(
        lambda: observed(
            job(RETRYING | {"attempts": {"chief-0": 5}}, runPolicy={"backoffLimit": 9, "cleanPodPolicy": "None"}),
            *(ended(n, code=75) for n in range(5)),
        ),
        QUIET,
        now=79,
    ),
    "a failed job's pod goes with it under policy All, and the job waits for its TTL": Row(
        lambda: observed(
            job(RUNNING, runPolicy={"cleanPodPolicy": "All", "ttlSecondsAfterFinished": 100}), ended(code=1)
        ),
        {"state": "FAILED", "deletes": ["digits-chief-0-0"], "wakes": 160},
    ),
    "a published output without a proper digest is not believed": Row(
        lambda: observed(
            job(RUNNING), ended(sync=published(output=Published("s3://fovea/x", "md5:1", 1, 1), model=None))
        ),
        {"state": "QUEUED", "retries": 1},
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()


def test_an_eviction_for_a_pod_s_own_use_of_local_storage_is_a_retry() -> None:
    """The next pod would go the same way."""
    said = "its local storage exceeds the limit 1Gi"
    seen = observed(job(RUNNING), replace(ended(code=137), reason="Evicted", message=said))
    Row(lambda: seen, {"state": "QUEUED", "retries": 1, "disruptions": None}, said).check()
    status = decide(seen).status
    assert status is not None
    assert status["lastFailure"]["reason"] == "Disrupted"


def test_a_job_whose_pods_are_refused_at_once_waits_no_longer_than_it_may() -> None:
    of = job(SEEN | {"state": "QUEUED"}, runPolicy={"maxWaitSeconds": 100})
    now, message = 0.0, ""
    while now <= 100 and of.status.state == "QUEUED":
        attempt = (of.status.attempts or {})["chief-0"]
        refused = pod(attempt, phase="Failed", node="node-1", reason="UnexpectedAdmissionError", message="no devices")
        begun = of.status.next_attempt_time is None or now >= (times.parse(of.status.next_attempt_time) - at(0)).seconds
        # The node is so fast that the operator never sees the pod wait.
        decision = decide(observed(of, *(refused,) if begun else ()), now)
        of, message = after(of, decision), (decision.status or {}).get("message", message)
        now = (decision.requeue_at - at(0)).total_seconds() if decision.requeue_at else now
    assert (of.status.state, now) == ("CANCELLED", 100)
    assert message == (
        "Cancelled: the job waited longer than runPolicy.maxWaitSeconds (100). Node node-1 refused pod digits-chief-0-3 "
        "(UnexpectedAdmissionError): no devices."
    )


LAST_WORDS = Termination(
    REASON_PUBLISHED, "the checkpoints are in the store", progress=ProgressReport(step=12, checkpoint_step=10)
)


@pytest.mark.parametrize("code", [1, 75], ids=["the job fails", "the job tries again"])
def test_what_was_published_while_no_operator_led_stands_in_the_status(code: int) -> None:
    before = RUNNING | {"progress": {"step": 5}, "checkpoint": {"step": 5, "digest": "sha256:5"}}
    gone = ended(code=code, sync=ContainerRecord(exit_code=0, termination_message=LAST_WORDS.to_json()))
    status = decide(observed(job(before), gone), 90).status
    assert status is not None
    assert (status["progress"]["step"], status["checkpoint"]["step"]) == (12, 10)
