"""Tables of decisions on BatchPredictions, keyed by a sentence: what is observed, and what is then said or done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fovea_operator.reconcile.shared.decision import Decision, Write
from fovea_operator.reconcile.shared.observed import PredictionObserved
from support.observations import at
from support.predictions import after, decide

OOM: dict[str, Any] = {"code": 137, "reason": "OOMKilled"}


@dataclass(frozen=True)
class Row:
    """What is observed, a minute after the prediction was created, and what the summary and the message then have."""

    seen: Callable[[], PredictionObserved]
    then: dict[str, Any]
    says: str = ""

    def check(self) -> None:
        """Decide and compare."""
        decision = decide(self.seen())
        found = summary(decision)
        assert {key: found[key] for key in self.then} == self.then
        if self.says:
            assert self.says in (decision.status or {})["message"]

    def check_that_it_settles(self) -> None:
        """Decide again and again while nothing else changes."""
        seen = self.seen()
        for _ in range(4):
            before = seen.prediction
            seen = after(seen)
        assert seen.prediction == before


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
