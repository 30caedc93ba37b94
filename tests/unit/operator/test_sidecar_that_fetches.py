"""Pods without a container that fetches: how their sidecar ends before the program starts is how the attempt ends."""

from dataclasses import replace

import pytest
from fovea_api.contract import names
from fovea_api.contract.report import ProgressReport
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from support.decision_table import QUIET, RUNNING, SEEN, Row
from support.observations import agent_failed, already_complete, at, job, observed, preparing, without_fetch

AWAY = ProgressReport(store_unreachable_since="2026-11-21T10:00:10Z")
TRAINS = ContainerRecord(running_since=at(30))
PULLS = ContainerRecord(waiting_reason="ImagePullBackOff", waiting_message="503 from the registry")


def of_fetch(record: PodRecord) -> ContainerRecord:
    """How the container that fetches ended a pod."""
    return record.containers[names.FETCH_CONTAINER]


def ended(code: int, reason: str, message: str) -> ContainerRecord:
    """A sidecar that has just ended."""
    return of_fetch(agent_failed(names.FETCH_CONTAINER, code, reason, message))


def again(of: ContainerRecord, **fields: object) -> ContainerRecord:
    """The same sidecar when the kubelet starts it again."""
    last = {
        "last_exit_code": of.exit_code,
        "last_reason": of.terminated_reason,
        "last_message": of.termination_message,
    }
    return ContainerRecord(**last, **fields)  # type: ignore[arg-type]


KEY = ended(77, "KeyMissing", "namespace vision has no key of the object store")
STORE = ended(75, "StoreUnreachable", "the store at x did not answer")
COMPLETE = of_fetch(already_complete())
MEMORY = ContainerRecord(exit_code=137, terminated_reason="OOMKilled", finished=at(20))
KILLED = ContainerRecord(exit_code=143, terminated_reason="Error", finished=at(20))
FORGOTTEN = ContainerRecord(exit_code=255, terminated_reason="Unknown", finished=at(20))
WAITED = SEEN | {
    "state": "PREPARING",
    "storeUnreachable": True,
    "conditions": [
        {
            "type": "Running",
            "status": "False",
            "reason": "StoreUnreachable",
            "message": "The object store has not answered since 2026-11-21T10:00:10Z.",
            "lastTransitionTime": "2026-11-21T10:00:15Z",
        }
    ],
}
"""The status of a job whose sidecar waits for the store."""

FAILED_BY_KEY = {
    "state": "FAILED",
    "creates": [],
    "deletes": ["digits-chief-0-0"],
    "conditions": {"Admitted": "True Accepted", "Running": "False KeyMissing", "Failed": "True KeyMissing"},
}

TABLE: dict[str, Row] = {
    "a namespace without a key fails the job in the agent's words, and the pod goes": Row(
        lambda: observed(job(SEEN), without_fetch(KEY)),
        FAILED_BY_KEY,
        "Failed: namespace vision has no key of the object store. Then submit a new job.",
    ),
    "so it does when the status has not named the pod yet": Row(
        lambda: observed(job(), without_fetch(KEY)), FAILED_BY_KEY, now=1
    ),
    "so it does when the kubelet waits before it starts the sidecar again": Row(
        lambda: observed(job(SEEN), without_fetch(again(KEY, waiting_reason="CrashLoopBackOff"))), FAILED_BY_KEY
    ),
    "so it does when the kubelet says that its hook failed with it": Row(
        lambda: observed(job(SEEN), without_fetch(again(KEY, waiting_reason="PostStartHookError"))), FAILED_BY_KEY
    ),
    "an operator that was away finds a sidecar that has got its key meanwhile: the program starts": Row(
        lambda: observed(job(SEEN), without_fetch(again(KEY, running_since=at(21)))),
        {"state": "PREPARING", "deletes": []},
    ),
    "so it does where the program's image cannot be pulled": Row(
        lambda: observed(job(SEEN), without_fetch(again(KEY, running_since=at(21)), PULLS)),
        {
            "state": "PREPARING",
            "deletes": [],
            "conditions": {"Admitted": "True Accepted", "Running": "False ImagePullFailed"},
        },
    ),
    "a sidecar that was killed without a word is started again by the kubelet, and no retry is spent": Row(
        lambda: observed(job(SEEN, runPolicy={"backoffLimit": 0}), without_fetch(KILLED)),
        {"state": "PREPARING", "retries": None, "deletes": []},
    ),
    "so it is when its node has restarted and does not know how it ended": Row(
        lambda: observed(
            job(SEEN, runPolicy={"backoffLimit": 0}), without_fetch(again(FORGOTTEN, waiting_reason="PodInitializing"))
        ),
        {"state": "PREPARING", "retries": None, "deletes": []},
    ),
    "a kubelet that keeps on killing it is told": Row(
        lambda: observed(job(SEEN), without_fetch(again(KILLED, waiting_reason="CrashLoopBackOff"))),
        {"state": "PREPARING", "deletes": []},
        "Fovea's agent cannot start: container fovea-sync ended with 143.",
    ),
    "a store that does not answer is retried, and the pod goes once the next attempt is written": Row(
        lambda: observed(job(SEEN), without_fetch(STORE)),
        {"state": "QUEUED", "retries": 1, "attempts": {"chief-0": 1}, "creates": [], "deletes": ["digits-chief-0-0"]},
        "Attempt 0 failed: the store at x did not answer.",
    ),
    "a sidecar out of memory is retried and told why": Row(
        lambda: observed(job(SEEN), without_fetch(again(MEMORY, waiting_reason="CrashLoopBackOff"))),
        {"state": "QUEUED", "retries": 1},
        "Attempt 0 failed: container fovea-sync of pod digits-chief-0-0 ran out of memory.",
    ),
    "an attempt that was fenced is followed by another": Row(
        lambda: observed(job(SEEN), without_fetch(ended(76, "Fenced", "attempt 3 of this job has started"))),
        {"state": "QUEUED", "attempts": {"chief-0": 1}},
    ),
    "the output of a pod that was lost before the status named it is success, and this pod goes": Row(
        lambda: observed(job(), without_fetch(COMPLETE)),
        {
            "state": "SUCCEEDED",
            "creates": [],
            "deletes": ["digits-chief-0-0"],
            "conditions": {
                "Admitted": "True Accepted",
                "Running": "False AlreadyComplete",
                "Complete": "True AlreadyComplete",
            },
        },
    ),
    "it is success also when the pod was deleted meanwhile and has ended": Row(
        lambda: observed(job(SEEN), without_fetch(COMPLETE, phase="Failed", deleting=True)), {"state": "SUCCEEDED"}
    ),
    "a deleted pod is judged when it has ended": Row(
        lambda: observed(job(SEEN), without_fetch(KILLED, deleting=True, deletion_deadline=at(620))),
        {"state": "PREPARING", "deletes": []},
    ),
    "a deleted pod that has ended was disrupted": Row(
        lambda: observed(job(SEEN), without_fetch(KILLED, phase="Failed", deleting=True)),
        {"state": "QUEUED", "retries": None, "disruptions": 1},
    ),
    "a job that is suspended before its program starts is suspended": Row(
        lambda: observed(job(SEEN, suspend=True), without_fetch(ContainerRecord(running_since=at(3)))),
        {"state": "PREPARING", "deletes": ["digits-chief-0-0"]},
    ),
    "a sidecar that ends while the program runs is started again by the kubelet": Row(
        lambda: observed(job(RUNNING), without_fetch(again(KEY, waiting_reason="CrashLoopBackOff"), TRAINS)),
        {"state": "RUNNING", "deletes": []},
        "Nothing can be published at the moment: namespace vision has no key of the object store",
    ),
    "a sidecar beside a container that fetches does not end the attempt": Row(
        lambda: observed(
            job(SEEN),
            replace(preparing(), containers={**preparing().containers, names.SYNC_CONTAINER: again(KEY)}),
        ),
        {"state": "PREPARING", "deletes": []},
    ),
    "a pod whose sidecar has not started counts against maxWaitSeconds": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), without_fetch(ContainerRecord(), scheduled=at(1800))),
        {"state": "PREPARING", "wakes": 1830},
        "mounts its volumes and pulls the agent's image",
        now=1829,
    ),
    "one whose sidecar runs does not, and it fetches no inputs": Row(
        lambda: observed(job(runPolicy={"maxWaitSeconds": 30}), without_fetch(ContainerRecord(running_since=at(3)))),
        {"state": "PREPARING"},
        "Pod digits-chief-0-0 pulls images on node node-1; if this takes long",
        now=600,
    ),
    "a sidecar that waits for the store says so, though the kubelet does not say that it runs": Row(
        lambda: observed(
            job(runPolicy={"maxWaitSeconds": 30}), without_fetch(ContainerRecord(), scheduled=at(2)), progress=AWAY
        ),
        {
            "state": "PREPARING",
            "conditions": {"Admitted": "True Accepted", "Running": "False StoreUnreachable"},
            "deletes": [],
        },
        "The object store has not answered since 2026-11-21T10:00:10Z. The program starts when it answers.",
        now=200,
    ),
    "an operator that has just started, and has heard no agent yet, leaves such a job alone": Row(
        lambda: observed(
            job(WAITED, runPolicy={"maxWaitSeconds": 30}), without_fetch(ContainerRecord(), scheduled=at(2))
        ),
        QUIET,
        now=200,
    ),
    "once the store answers, the time without it does not count either": Row(
        lambda: observed(
            job(WAITED, runPolicy={"maxWaitSeconds": 30}),
            without_fetch(ContainerRecord(), scheduled=at(2)),
            progress=ProgressReport(),
        ),
        {"state": "PREPARING", "conditions": {"Admitted": "True Accepted", "Running": "False Fetching"}, "deletes": []},
        now=200,
    ),
    "and what keeps the program from starting then counts from then on": Row(
        lambda: observed(
            job(WAITED, runPolicy={"maxWaitSeconds": 30}),
            without_fetch(ContainerRecord(running_since=at(5)), PULLS, scheduled=at(2), initialized=at(190)),
            progress=ProgressReport(),
        ),
        {"state": "PREPARING", "wakes": 220},
        now=200,
    ),
    "an image that cannot be pulled is said rather than what the sidecar waits for": Row(
        lambda: observed(job(), without_fetch(ContainerRecord(running_since=at(3)), PULLS), progress=AWAY),
        {"state": "PREPARING", "conditions": {"Admitted": "True Accepted", "Running": "False ImagePullFailed"}},
    ),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_decision(sentence: str) -> None:
    TABLE[sentence].check()
