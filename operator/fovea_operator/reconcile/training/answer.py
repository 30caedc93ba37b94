"""What a phase answers, and the decision that comes of it.

A phase says what the status of a job is to say and what is to be done. One place writes the status, so that state,
conditions and message agree, and names the pods that this status lets go.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Unpack

from fovea_api.contract.report import PROGRESS_PATH
from fovea_api.v1alpha1 import Condition, JobState
from fovea_api.v1alpha1.conditions import JobCondition, JobReason
from fovea_api.v1alpha1.training_job_status import (
    FailingStepStatus,
    FailureStatus,
    LiveStatus,
    PublicationStatus,
    ResolvedInput,
    TrainingJobStatus,
)

from fovea_operator.reconcile.shared import conditions, times
from fovea_operator.reconcile.shared.conditions import EventType, Finding, truth
from fovea_operator.reconcile.shared.decision import Child, Deadline, Decision, Deletion, Event
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import (
    MemberPods,
    attempt_of,
    deletion,
    ended,
    is_left,
    remove,
    stop,
)
from fovea_operator.reconcile.training import quota, riders
from fovea_operator.reconcile.training.progress import Reported
from fovea_operator.reconcile.training.view import View, expires_at, is_over

KEPT_ATTEMPTS = 3
"""Pods of failed attempts kept for their logs while the job goes on; older ones go, unless cleanPodPolicy is None."""


class Changes(Reported, total=False):
    """Fields of a status that a phase sets beside state, message and conditions."""

    attempts: Mapping[str, int]
    retries: int
    disruptions: int
    next_attempt_time: str | None
    next_attempt_times: Mapping[str, str] | None
    suspending: bool | None
    store_unreachable: bool | None
    ended_programs: Mapping[str, int] | None
    resolved_inputs: list[ResolvedInput] | None
    last_failure: FailureStatus
    failing_step: FailingStepStatus | None
    evaluator_failures: int
    output: PublicationStatus
    model: PublicationStatus | None
    model_problem: str | None
    metrics: Mapping[str, float] | None
    metrics_left_out: int | None
    main_metric: str | None
    model_version: str
    queue_time: str | None
    queue_position: int | None
    start_time: str | None
    running_seconds: int


def pods_seen(view: View, **more: Unpack[Changes]) -> Changes:
    """What a status says once the pods of the current attempts were seen, and `more`."""
    # Where only some pods are there, the others are not claimed to be seen: they would count as lost.
    unseen = {each.member.key: times.text(each.begins or view.now) for each in view.pods.missing if not each.seen}
    seen = Changes(
        attempts=view.pods.attempts(),
        next_attempt_time=None,
        next_attempt_times=unseen or None,
        queue_position=None,
        start_time=view.start_time,
    )
    return seen | more


@dataclass(frozen=True)
class Admitted:
    """What the condition Admitted says: whether the job may have pods."""

    value: bool
    reason: str
    message: str


ACCEPTED = Admitted(True, JobReason.ACCEPTED, "The spec is valid; the job may have pods.")


@dataclass(frozen=True)
class Waiting:
    """What a job waits for, as a sentence, and since when: both count for runPolicy.maxWaitSeconds."""

    why: str
    since: datetime


@dataclass(frozen=True)
class Stays:
    """The status stays as it is; it acknowledges a newer spec."""

    is_quiet: bool = False
    """Nothing at all is written to the status."""
    children: tuple[Child, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    waiting: Waiting | None = None
    requeue_at: datetime | None = None


@dataclass(frozen=True)
class GoesOn:
    """The job has not ended, and this is how it stands."""

    state: JobState
    reason: str
    message: str
    admitted: Admitted
    changes: Changes = field(default_factory=Changes)
    running: bool = False
    suspended: bool = False
    """The condition Suspended becomes True."""
    children: tuple[Child, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    waiting: Waiting | None = None
    requeue_at: datetime | None = None


@dataclass(frozen=True)
class Ends:
    """The job ends: with its pods cleaned up, and looked at again at its TTL."""

    state: JobState
    reason: str
    message: str
    changes: Changes = field(default_factory=Changes)
    invalid: bool = False
    """Its spec can never work."""
    deadline: Deadline | None = None
    """Why it ends now."""
    children: tuple[Child, ...] = ()


Answer = Stays | GoesOn | Ends
"""Carried out in the order of a Decision."""

NOTABLE: Mapping[str, EventType] = {
    JobReason.INVALID_SPEC: "Warning",
    JobReason.ARGUMENTS_UNCHECKED: "Warning",
    JobReason.MACHINE_TYPE_MISSING: "Warning",
    JobReason.INPUT_PENDING: "Normal",
    JobReason.QUEUE_MISSING: "Warning",
    JobReason.QUEUE_STOPPED_JOB: "Normal",
    JobReason.GANG_UNAVAILABLE: "Warning",
    JobReason.GANG_TIMEOUT: "Warning",
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
    """The decision that an answer comes to: with the whole status, the pods that go by it, and the Events that it is worth."""
    new: TrainingJobStatus | None
    riding: dict[str, Any] = {}
    if isinstance(answer, Ends):
        new, deletions = _over(view, answer), at_end(view)
        riding = riders.of(view, new, running=False)
        wake = expires_at(view.job.model_copy(update={"status": new}), view.settings.ttl_seconds)
        if quota.finish(view):
            wake = view.now  # its queue learns of it when the status says so, and no pod has to end before
    else:
        new = _live(view, answer) if isinstance(answer, GoesOn) else _acknowledged(view, answer)
        deletions, wake = answer.deletions, answer.requeue_at
        if new is not None and isinstance(answer, GoesOn):
            riding = riders.of(view, new, running=answer.running)
    if not is_over(view.status):
        recorded = (new.attempts if new is not None else None) or view.status.attempts or {}
        deletions += _of_earlier_attempts(view, recorded, {each.name for each in deletions})
    events = _events(view, new) if new is not None else ()
    status = new.dump() if new is not None else None
    deadline = answer.deadline if isinstance(answer, Ends) else None
    return Decision(answer.children, status, deletions, events, wake, riding, deadline)


# -- the status --------------------------------------------------------------------------------------------------------


def _live(view: View, answer: GoesOn) -> TrainingJobStatus:
    """The status of a job that has not ended."""
    admitted = answer.admitted
    found = [Finding(JobCondition.RUNNING, truth(answer.running), answer.reason, answer.message)]
    if not (admitted.value and view.admitted):
        found.insert(0, Finding(JobCondition.ADMITTED, truth(admitted.value), admitted.reason, admitted.message))
    if answer.suspended:
        found.append(Finding(JobCondition.SUSPENDED, "True", answer.reason, answer.message))
    elif view.suspended:
        # It was resumed and suspended again before a status said so: there are pods.
        found.append(Finding(JobCondition.SUSPENDED, "False", answer.reason, answer.message))
    update = _common(view, answer, found) | {"roles": view.roles, "live": _live_progress(view)}
    if view.status.queue_time is None and admitted.value:
        update["queue_time"] = times.text(view.queued_since)
    return view.status.model_copy(update=update | view.reported | answer.changes)


def _over(view: View, answer: Ends) -> TrainingJobStatus:
    """The status of a job that ends now."""
    said = (answer.reason, answer.message)
    found = [Finding(JobCondition.RUNNING, "False", *said), Finding(_final(answer.state), "True", *said)]
    if answer.invalid:
        found.insert(0, Finding(JobCondition.ADMITTED, "False", *said))
    elif view.begun and view.admitted is None:
        found.insert(0, Finding(JobCondition.ADMITTED, "True", ACCEPTED.reason, ACCEPTED.message))
    if view.suspended:
        found.append(Finding(JobCondition.SUSPENDED, "False", *said))
    attempts = {"attempts": view.pods.attempts()} if view.begun else {}
    started = view.start_time
    update = _common(view, answer, found) | {
        # Pods that still run get SIGTERM, and no later status counts how they end.
        "roles": {role: counts.model_copy(update={"pending": 0, "active": 0}) for role, counts in view.roles.items()},
        "start_time": started,
        "running_seconds": view.seconds_run if started else view.status.running_seconds,
        "next_attempt_time": None,
        "next_attempt_times": None,
        "suspending": None,
        "ended_programs": None,
        "live": None,
        "queue_position": None,
        "end_time": times.text(view.now),
    }
    return view.status.model_copy(update=update | attempts | view.reported | answer.changes)


def _common(view: View, answer: GoesOn | Ends, found: Sequence[Finding]) -> dict[str, Any]:
    generation = view.job.metadata.generation
    held = conditions.put(view.status.conditions, *found, now=view.now, generation=generation)
    return {
        "state": answer.state,
        "message": answer.message[: conditions.MAX_MESSAGE],
        "conditions": _of_generation(held, generation),
        "store_unreachable": None,
        "resolved_inputs": list(view.resolved_inputs) or None,
        "observed_generation": generation,
    }


def _live_progress(view: View) -> LiveStatus | None:
    # Until there is another one, a ticket that is out of date stays: taking it away would cost each job a write.
    ticket, url = view.observed.ticket, view.settings.report_url
    return LiveStatus(url=f"{url}{PROGRESS_PATH}", ticket=ticket) if ticket and url else view.status.live


def _acknowledged(view: View, answer: Stays) -> TrainingJobStatus | None:
    """The status as it is, but for the newest spec; None when it is already. For edits of the spec that change nothing in it."""
    status, generation = view.job.status, view.job.metadata.generation
    if answer.is_quiet or status.observed_generation is None or status.observed_generation >= generation:
        return None
    renewed = {"observed_generation": generation, "conditions": _of_generation(status.conditions, generation)}
    return status.model_copy(update=renewed)


def _of_generation(held: Sequence[Condition] | None, generation: int) -> list[Condition] | None:
    """All conditions, for this generation: none of them stays with an older spec."""
    if held is None:
        return None
    return [
        condition
        if condition.observed_generation == generation
        else condition.model_copy(update={"observed_generation": generation})
        for condition in held
    ]


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


# -- the pods that go by it --------------------------------------------------------------------------------------------


def at_end(view: View) -> tuple[Deletion, ...]:
    """Pods to delete once the job has ended (and its status says so)."""
    # Whatever the policy, nothing may go on running for a job that has ended: a deadline would be none.
    clean = remove if view.spec.run_policy.clean_pod_policy == "All" else stop
    return clean(view.observed.pods, view.now, view.settings.cancel_grace_seconds)


def _of_earlier_attempts(view: View, recorded: Mapping[str, int], named: Collection[str]) -> tuple[Deletion, ...]:
    """Pods of attempts before those that the status records: running ones stop, all but the last failed ones go.

    `named`: pods that are deleted anyway.
    """
    attempts = ((each, recorded.get(each.member.key, 0)) for each in view.pods)
    gone = (
        pod
        for each, attempt in attempts
        if each.earlier or each.attempt < attempt
        for pod in _of_member(view, each, attempt)
    )
    return tuple(deletion(pod) for pod in gone if pod.name not in named)


def _of_member(view: View, each: MemberPods, recorded: int) -> Iterator[PodRecord]:
    old = [pod for pod in each.earlier if (attempt := attempt_of(pod)) is not None and attempt < recorded]
    # The pod of this attempt runs on where another member failed and all begin the next one.
    current = [each.pod] if each.pod is not None and each.attempt < recorded else []
    yield from (pod for pod in (*old, *current) if not ended(pod) and not pod.deleting)
    if view.spec.run_policy.clean_pod_policy != "None":
        failed = sorted((pod for pod in old if ended(pod)), key=lambda pod: attempt_of(pod) or 0)
        yield from (pod for pod in failed[:-KEPT_ATTEMPTS] if is_left(pod))
