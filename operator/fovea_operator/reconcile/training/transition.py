"""From a phase's answer to a decision: the one place where a job's status is written, so that state, conditions and message agree."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import Condition, JobState
from fovea_api.v1alpha1.conditions import JobCondition, JobReason
from fovea_api.v1alpha1.training_job_status import (
    RoleStatus,
    TrainingJobStatus,
)

from fovea_operator.reconcile.shared import conditions, times
from fovea_operator.reconcile.shared.conditions import EventType
from fovea_operator.reconcile.shared.decision import Decision, Event
from fovea_operator.reconcile.shared.pods import ended, trainer_started
from fovea_operator.reconcile.training import cleanup, inputs
from fovea_operator.reconcile.training.answer import ACCEPTED, Answer, Statement
from fovea_operator.reconcile.training.view import View

NOTABLE: Mapping[str, EventType] = {
    JobReason.INVALID_SPEC: "Warning",
    JobReason.ARGUMENTS_UNCHECKED: "Warning",
    JobReason.MACHINE_TYPE_MISSING: "Warning",
    JobReason.INPUT_PENDING: "Normal",
    JobReason.SUSPENDED: "Normal",
    JobReason.RESUMED: "Normal",
    JobReason.UNSCHEDULABLE: "Warning",
    JobReason.IMAGE_PULL_FAILED: "Warning",
    JobReason.POD_REFUSED: "Warning",
    JobReason.PREDECESSOR_ENDING: "Normal",
    JobReason.CONTAINER_CONFIG_ERROR: "Warning",
    JobReason.STORE_UNREACHABLE: "Warning",
    JobReason.ENDING_POD: "Warning",
    JobReason.RETRYING: "Warning",
    JobReason.PUBLISHED: "Normal",
    JobReason.ALREADY_COMPLETE: "Normal",
    JobReason.REGISTRATION_REFUSED: "Warning",
    JobReason.CANCELLED: "Normal",
    JobReason.MAX_WAIT_SECONDS: "Warning",
}
"""Reasons that become an event when a condition takes them; a failure's reason always does."""


def carry_out(view: View, answer: Answer) -> Decision:
    """The decision that a phase's answer comes to: with the whole status, and the Events that its change is worth."""
    said = answer.statement
    if said is None:
        status = None if answer.is_quiet else _acknowledged(view)
        return Decision(answer.children, status, answer.deletions, requeue_at=answer.requeue_at)
    deletions, requeue_at = answer.deletions, answer.requeue_at
    if said.state.ended:
        new = _over(view, said)
        deletions += cleanup.at_end(view)
        requeue_at = cleanup.expires_at(view.job.model_copy(update={"status": new}), view.settings.ttl_seconds)
    else:
        new = _live(view, said)
    return Decision(answer.children, new.dump(), deletions, _events(view, new), requeue_at)


def _live(view: View, said: Statement) -> TrainingJobStatus:
    """The status of a job that has not ended."""
    held, admitted = view.status.conditions, said.admitted
    if admitted is not None and not (admitted.value and conditions.is_true(held, JobCondition.ADMITTED)):
        held = _put(view, held, JobCondition.ADMITTED, admitted.value, admitted.reason, admitted.message)
    held = _put(view, held, JobCondition.RUNNING, said.running, said.reason, said.message)
    if said.suspended:
        held = _put(view, held, JobCondition.SUSPENDED, True, said.reason, said.message)
    update = _common(view, said, held) | {"roles": roles(view)}
    if view.status.queue_time is None and conditions.is_true(held, JobCondition.ADMITTED):
        update["queue_time"] = times.text(view.queued_since)
    return view.status.model_copy(update=update | said.changes)


def _over(view: View, said: Statement) -> TrainingJobStatus:
    """The status of a job that ends now."""
    held = view.status.conditions
    if said.invalid:
        held = _put(view, held, JobCondition.ADMITTED, False, said.reason, said.message)
    elif view.begun and conditions.find(held, JobCondition.ADMITTED) is None:
        held = _put(view, held, JobCondition.ADMITTED, ACCEPTED.value, ACCEPTED.reason, ACCEPTED.message)
    held = _put(view, held, JobCondition.RUNNING, False, said.reason, said.message)
    if conditions.is_true(held, JobCondition.SUSPENDED):
        held = _put(view, held, JobCondition.SUSPENDED, False, said.reason, said.message)
    held = _put(view, held, _final(said.state), True, said.reason, said.message)
    attempts = {"attempts": view.pods.attempts()} if view.begun else {}
    started = view.status.start_time or (times.text(view.program_started) if view.program_started else None)
    update = _common(view, said, held) | {
        # Pods that still run get SIGTERM, and no later status counts how they end.
        "roles": {role: counts.model_copy(update={"pending": 0, "active": 0}) for role, counts in roles(view).items()},
        "start_time": started,
        "running_seconds": view.seconds_run if started else view.status.running_seconds,
        "next_attempt_time": None,
        "suspending": None,
        "ended_programs": None,
        "end_time": times.text(view.now),
    }
    return view.status.model_copy(update=update | attempts | said.changes)


def _common(view: View, said: Statement, held: Sequence[Condition] | None) -> dict[str, Any]:
    generation = view.job.metadata.generation
    return {
        "state": said.state,
        "message": said.message[: conditions.MAX_MESSAGE],
        "conditions": _of_generation(held, generation),
        "resolved_inputs": list(inputs.resolved(view.observed)) or None,
        "observed_generation": generation,
    }


def _acknowledged(view: View) -> dict[str, Any] | None:
    """The status as it is, but for the newest spec; None when it is already. For edits of the spec that change nothing in it."""
    status, generation = view.job.status, view.job.metadata.generation
    if status.observed_generation is None or status.observed_generation >= generation:
        return None
    renewed = {"observed_generation": generation, "conditions": _of_generation(status.conditions, generation)}
    return status.model_copy(update=renewed).dump()


def _of_generation(held: Sequence[Condition] | None, generation: int) -> list[Condition] | None:
    """All conditions, for this generation: none of them stays with an older spec."""
    if held is None:
        return None
    return [condition.model_copy(update={"observed_generation": generation}) for condition in held]


def roles(view: View) -> dict[str, RoleStatus]:
    """The pods that are there, counted by role; those that no member has count as the chief's."""
    first = view.chief.member.role
    counts = {each.member.role: {"pending": 0, "active": 0, "succeeded": 0, "failed": 0} for each in view.pods}
    for pod in (each for each in view.observed.pods if not each.gone):
        of_role = counts.get(pod.labels.get(labels.ROLE, first), counts[first])
        if ended(pod):
            of_role["succeeded" if pod.phase == "Succeeded" else "failed"] += 1
        else:
            of_role["active" if trainer_started(pod) else "pending"] += 1
    return {role: RoleStatus(**found) for role, found in counts.items()}


def _events(view: View, new: TrainingJobStatus) -> tuple[Event, ...]:
    notable = dict(NOTABLE)
    failed = conditions.find(new.conditions, JobCondition.FAILED)
    if failed is not None:
        notable.setdefault(failed.reason, "Warning")
    found = conditions.events_of_change(view.job.status.conditions, new.conditions, notable)
    if new.state is None or not new.state.ended:
        return found
    # A client that asks when the job is deleted learns its end by this Event alone; a reason alone can also be of a job that goes on.
    final = conditions.find(new.conditions, _final(new.state))
    return tuple(
        replace(event, ended_as=new.state.value) if final is not None and event.reason == final.reason else event
        for event in found
    )


def _final(state: JobState) -> JobCondition:
    return JobCondition.COMPLETE if state == JobState.SUCCEEDED else JobCondition.FAILED


def _put(view: View, held: Any, type_: str, value: bool, reason: str, message: str) -> Any:
    return conditions.put(
        held,
        type_,
        conditions.truth(value),
        reason,
        message,
        now=view.now,
        generation=view.job.metadata.generation,
    )
