"""What a phase answers, and the decision that comes of it: one place writes the status, so that state, conditions and message agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.batch_prediction_status import BatchPredictionStatus
from fovea_api.v1alpha1.conditions import PredictionCondition, PredictionReason

from fovea_operator.reconcile.batch.view import View, expires_at, worker_of
from fovea_operator.reconcile.shared import conditions, times
from fovea_operator.reconcile.shared.conditions import EventType, Finding, truth
from fovea_operator.reconcile.shared.decision import Child, Decision, Deletion, Event

NOTABLE: Mapping[str, EventType] = {
    PredictionReason.NO_VERSION: "Warning",
    PredictionReason.MACHINE_TYPE_MISSING: "Warning",
    PredictionReason.PREDECESSOR_ENDING: "Normal",
    PredictionReason.JOB_REFUSED: "Warning",
    PredictionReason.JOB_CREATED: "Normal",
    PredictionReason.UNSCHEDULABLE: "Warning",
    PredictionReason.IMAGE_PULL_FAILED: "Warning",
    PredictionReason.CONTAINER_CONFIG_ERROR: "Warning",
    PredictionReason.STORE_UNREACHABLE: "Warning",
    PredictionReason.STARTED: "Normal",
    PredictionReason.RETRYING: "Warning",
    PredictionReason.RERUN: "Warning",
    PredictionReason.PUBLISHED: "Normal",
    PredictionReason.CANCELLED: "Normal",
}
"""Reasons that become an Event when a condition takes them; a failure's reason always does."""


@dataclass(frozen=True)
class Answer:
    """State, reason and sentence, and what is to be done."""

    state: JobState
    reason: str
    message: str
    admitted: bool = True
    """Whether the workers may be made. False: reason and message say why not."""
    running: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the status beside state, message and conditions."""
    children: tuple[Child, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    requeue_at: datetime | None = None


def carry_out(view: View, answer: Answer) -> Decision:
    """The decision that an answer comes to."""
    new = _status(view, answer)
    wake = answer.requeue_at
    if answer.state.ended:
        # What is left to clean up is done by the next decision: then the status says how it ended, whatever becomes of this process.
        ended = view.prediction.model_copy(update={"status": new})
        wake = times.earliest(view.now, expires_at(ended, view.settings.ttl_seconds))
    return Decision(
        children=answer.children,
        status=new.dump(),
        deletions=answer.deletions,
        events=_events(view, new),
        requeue_at=wake,
    )


def _status(view: View, answer: Answer) -> BatchPredictionStatus:
    said = (answer.reason, answer.message)
    found = [Finding(PredictionCondition.RUNNING, truth(answer.running), *said)]
    if not answer.admitted:
        found.insert(0, Finding(PredictionCondition.ADMITTED, "False", *said))
    elif not conditions.is_true(view.status.conditions, PredictionCondition.ADMITTED):
        message = "The spec is valid, and the model's version and the machine type exist."
        found.insert(0, Finding(PredictionCondition.ADMITTED, "True", PredictionReason.ACCEPTED, message))
    if answer.state.ended:
        found.append(Finding(_final(answer.state), "True", *said))
    generation = view.prediction.metadata.generation
    update: dict[str, Any] = {
        "state": answer.state,
        "message": answer.message[: conditions.MAX_MESSAGE],
        "conditions": conditions.put(view.status.conditions, *found, now=view.now, generation=generation),
        "observed_generation": generation,
    }
    update |= answer.changes
    if answer.state.ended:
        update["end_time"] = times.text(view.now)
        if (workers := update.get("workers")) is not None:
            # Those that still run are stopped, and no later status counts how they end.
            update["workers"] = workers.model_copy(update={"active": 0})
    return view.status.model_copy(update=update)


def _retry(view: View, new: BatchPredictionStatus, found: tuple[Event, ...]) -> tuple[Event, ...]:
    """The failure of a worker while others go on changes no condition, so an Event reports it."""
    if any(event.reason == PredictionReason.RETRYING for event in found):
        return ()
    before, now = view.status.failures or {}, new.failures or {}
    failed = {
        worker: each
        for each in view.failed
        if not each.failure.disruption and now.get(worker := str(worker_of(each.pod)), 0) > before.get(worker, 0)
    }
    return tuple(Event("Warning", PredictionReason.RETRYING, view.retry_of(each)) for each in failed.values())


def _final(state: JobState) -> PredictionCondition:
    return PredictionCondition.COMPLETE if state == JobState.SUCCEEDED else PredictionCondition.FAILED


def _events(view: View, new: BatchPredictionStatus) -> tuple[Event, ...]:
    notable = dict(NOTABLE)
    failed = conditions.find(new.conditions, PredictionCondition.FAILED)
    if failed is not None:
        notable.setdefault(failed.reason, "Warning")
    found = conditions.events_of_change(view.status.conditions, new.conditions, notable)
    if new.state is None or not new.state.ended:
        return found + _retry(view, new, found)
    final = conditions.find(new.conditions, _final(new.state))
    return tuple(
        replace(event, ended_as=new.state.value) if final is not None and event.reason == final.reason else event
        for event in found
    )
