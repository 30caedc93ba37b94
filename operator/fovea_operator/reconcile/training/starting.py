"""The pods of a job's next attempt: what they wait for, and how they are made."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState, MachineType
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.desired.service import pods_service
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.decision import Child, Write
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import SLACK, MemberPods, lost_at
from fovea_operator.reconcile.training import admission, inputs, refusal, run_policy
from fovea_operator.reconcile.training.answer import (
    ACCEPTED,
    Admitted,
    Answer,
    Changes,
    Ends,
    GoesOn,
    Stays,
    Waiting,
)
from fovea_operator.reconcile.training.inputs import Unresolved
from fovea_operator.reconcile.training.view import View

QUIET = timedelta(seconds=2)
"""A stage that every job passes through is reported only when it lasts: a short job costs two status writes, not four."""


def start(view: View) -> Answer:
    """Make the pods that are missing, or say what they wait for."""
    if view.next_attempt is not None and view.next_attempt > view.now:
        failed = view.status.last_failure.message if view.status.last_failure else ""
        return Stays(waiting=run_policy.until_next_attempt(view, failed), requeue_at=view.next_attempt)
    machine_type = view.machine_type
    if machine_type is None:
        message = platform.machine_type_missing(
            view.machine_type_name, view.observed.machine_types, view.observed.unreadable_machine_types
        )
        return _not_admitted(view, JobReason.MACHINE_TYPE_MISSING, message)
    sources = inputs.resolve(view.observed, view.resolved_inputs, view.settings)
    if isinstance(sources, Unresolved):
        return _unresolved(sources)
    if view.predecessors:
        return _after_predecessors(view)
    if ending := view.pods.earlier_alive(view.now):
        return _after_previous_attempt(ending)
    pods = [_planned(view, each, machine_type, sources) for each in view.pods.missing]
    prepared = admission.prepare(view, pods)
    if prepared.wait is not None:
        return _not_admitted(view, prepared.wait.reason, prepared.wait.message, prepared.children)
    if view.observed.refused:
        return refusal.of_pods(view, machine_type)
    made = [Child(Write.CREATE, admission.with_additions(pod, prepared.additions)) for pod in pods]
    return _create(view, (*prepared.children, *_service(view), *made), sources)


def _not_admitted(view: View, reason: str, message: str, children: tuple[Child, ...] = ()) -> Answer:
    """Not yet, for something that others have to bring."""
    return GoesOn(
        JobState.QUEUED,
        reason,
        message,
        Admitted(False, reason, message),
        Changes(queue_time=times.text(view.queued_since)),
        children=children,
        waiting=Waiting(message, view.queued_since),
    )


def _unresolved(why: Unresolved) -> Answer:
    if why.final:
        return Ends(JobState.FAILED, why.reason, why.message, invalid=why.reason == JobReason.INVALID_SPEC)
    # Waiting for an input is not waiting for a node: the queue time starts when all is there.
    held = Admitted(False, why.reason, why.message)
    return GoesOn(JobState.QUEUED, why.reason, why.message, held, Changes(queue_time=None))


def _after_predecessors(view: View) -> Answer:
    """Pods of a deleted job of this name may still write to the places that the new ones would write to."""
    which = " and ".join(sorted(pod.name for pod in view.predecessors))
    begins = max((pod.deletion_deadline for pod in view.predecessors if pod.deletion_deadline), default=None)
    until = (
        f" If its node does not answer, this job begins without it at {times.text(begins + SLACK)}." if begins else ""
    )
    message = f"Waiting for pod {which} of the deleted job of this name to end.{until}"
    return GoesOn(
        JobState.QUEUED,
        JobReason.PREDECESSOR_ENDING,
        message,
        ACCEPTED,
        waiting=Waiting(message, view.queued_since),
        requeue_at=lost_at(view.predecessors),
    )


def _after_previous_attempt(ending: Sequence[PodRecord]) -> Answer:
    """When one member fails, the others save what they have: the next attempt begins with that."""
    which = " and ".join(sorted(pod.name for pod in ending))
    message = f"Waiting for pod {which} of the previous attempt to end. Its program may save a checkpoint."
    return GoesOn(JobState.QUEUED, JobReason.STOPPING, message, ACCEPTED, requeue_at=lost_at(ending))


def _planned(view: View, each: MemberPods, machine_type: MachineType, sources: Sources) -> dict[str, Any]:
    """Manifest of a member's pod: of its current attempt, or of the first one after it whose pod's name is not taken."""
    job, member, attempt = view.job, each.member, each.attempt
    taken = {pod.name for pod in view.observed.predecessors}
    while names.training_pod(job.metadata.name, member.role, member.index, attempt) in taken:
        attempt += 1
    alone = len(view.pods.members) == 1
    return training_pod(job, member, attempt, machine_type, sources, view.settings, alone=alone)


def _service(view: View) -> tuple[Child, ...]:
    """By which the members of a job find each other; a job of one pod needs none."""
    return () if len(view.pods.members) == 1 else (Child(Write.APPLY, pods_service(view.job)),)


def _create(view: View, children: tuple[Child, ...], sources: Sources) -> Answer:
    retrying = view.status.next_attempt_time is not None and not view.resumed
    if view.status.state is None or retrying:
        # The message says nothing that the pods could disprove. From now, not from the job's creation: a job that
        # waited for its turn among many others must not cost one write more than they do.
        return Stays(is_quiet=True, children=children, requeue_at=view.now + QUIET)
    pods = [child.manifest["metadata"]["name"] for child in children if child.manifest["kind"] == "Pod"]
    which = f"Pod {pods[0]} is created and waits" if len(pods) == 1 else f"{len(pods)} pods are created and wait"
    fetches = f" It fetches {len(sources.inputs)} inputs first." if sources.inputs else ""
    return GoesOn(
        JobState.QUEUED,
        JobReason.POD_CREATED,
        f"{which} for a node.{fetches}",
        refusal.admitted(view),
        # Without `attempts` or with `nextAttemptTime` the status does not claim that the pods were seen.
        Changes(resolved_inputs=list(inputs.of_sources(sources)) or None),
        children=children,
        requeue_at=view.waiting_deadline,
    )
