"""Tables of decisions on TrainingJobs, keyed by a sentence: what is observed, and what is then said or done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.training.decide import decide_job
from support.observations import SETTINGS, at

SEEN = {"state": "RUNNING", "attempts": {"chief-0": 0}, "queueTime": "2026-11-21T10:00:00Z"}
"""Status of a job whose first pod was seen."""
RUNNING = SEEN | {
    "startTime": "2026-11-21T10:00:10Z",
    "conditions": [
        {
            "type": "Admitted",
            "status": "True",
            "reason": "Accepted",
            "message": "",
            "lastTransitionTime": "2026-11-21T10:00:10Z",
        },
        {
            "type": "Running",
            "status": "True",
            "reason": "Started",
            "message": "",
            "lastTransitionTime": "2026-11-21T10:00:10Z",
        },
    ],
}
SUSPENDED = {
    "state": "QUEUED",
    "attempts": {"chief-0": 1},
    "conditions": [
        {
            "type": "Suspended",
            "status": "True",
            "reason": "Suspended",
            "message": "",
            "lastTransitionTime": "2026-11-21T10:00:10Z",
        }
    ],
}
STOPPING = SEEN | {
    "suspending": True,
    "conditions": [
        {
            "type": "Running",
            "status": "True",
            "reason": "Suspended",
            "message": "",
            "lastTransitionTime": "2026-11-21T10:00:10Z",
        }
    ],
}
RETRYING = SEEN | {
    "state": "QUEUED",
    "attempts": {"chief-0": 1},
    "retries": 1,
    "nextAttemptTime": "2026-11-21T10:01:20Z",
}
SUCCEEDED = SEEN | {"state": "SUCCEEDED", "endTime": "2026-11-21T10:01:00Z"}
QUIET: dict[str, Any] = {"state": None, "creates": [], "deletes": []}
"""Nothing is said and nothing is done."""


@dataclass(frozen=True)
class Row:
    """What is observed, `now` seconds after the job was created, and what the summary and the message then have."""

    seen: Callable[[], JobObserved]
    then: dict[str, Any]
    says: str = ""
    now: float = 60

    def check(self) -> None:
        """Decide and compare."""
        decision = decide(self.seen(), self.now)
        found = summary(decision)
        assert {key: found[key] for key in self.then} == self.then
        if self.says:
            assert self.says in (decision.status or {})["message"]


def decide(seen: JobObserved, now: float = 60) -> Decision:
    """The decision `now` seconds after the job was created."""
    return decide_job(seen, at(now), SETTINGS)


def summary(decision: Decision) -> dict[str, Any]:
    """What a row speaks about: objects made and deleted, state, conditions as `status reason`, attempts, waking."""
    status = decision.status or {}
    return {
        "creates": [child.manifest["metadata"]["name"] for child in decision.children],
        "deletes": [deletion.name for deletion in decision.deletions],
        "state": status.get("state"),
        "conditions": {each["type"]: f"{each['status']} {each['reason']}" for each in status.get("conditions", ())},
        "attempts": status.get("attempts"),
        "retries": status.get("retries"),
        "disruptions": status.get("disruptions"),
        "queued": status.get("queueTime"),
        "ran": status.get("runningSeconds"),
        "wakes": (decision.requeue_at - at(0)).total_seconds() if decision.requeue_at else None,
    }
