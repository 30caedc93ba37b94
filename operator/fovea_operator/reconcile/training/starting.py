"""The pods of a job's next attempt: what they wait for, and how they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState, MachineType
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.desired.members import roles_of
from fovea_operator.desired.network_policy import pods_policy
from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.desired.service import pods_service
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.decision import Child, Write
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import SLACK, MemberPods, alive, lost_at
from fovea_operator.reconcile.training import admission, inputs, refusal, run_policy, stage
from fovea_operator.reconcile.training.answer import (
    ACCEPTED,
    Admitted,
    Answer,
    Changes,
    Ends,
    GoesOn,
    Stays,
    Waiting,
    pods_seen,
)
from fovea_operator.reconcile.training.inputs import Unresolved
from fovea_operator.reconcile.training.view import View

QUIET = timedelta(seconds=2)
"""A stage that every job passes through is reported only when it lasts: a short job costs two status writes, not four."""


def start(view: View) -> Answer:
    """Make the pods that are missing, or say what they wait for."""
    answer = _start(view)
    if not view.pods.go_on or not isinstance(answer, GoesOn | Stays):
        return answer
    # The others run on meanwhile, and may have a deadline.
    answer = replace(answer, requeue_at=times.earliest(answer.requeue_at, run_policy.running_deadline(view)))
    return _beside_others(view, answer) if isinstance(answer, GoesOn) else answer


def _beside_others(view: View, answer: GoesOn) -> GoesOn:
    """What some members wait for while others go on: the job is where those are, and has no place in a queue."""
    where = stage.of_set(view.pods, view.job, heard=view.observed.progress is not None)
    seen = pods_seen(view)
    return replace(
        answer,
        state=where.state,
        running=where.running,
        admitted=refusal.admitted(view),
        changes=seen,
        waiting=None if where.running else answer.waiting,
    )


def _start(view: View) -> Answer:
    if view.next_attempt is not None and view.next_attempt > view.now:
        failed = view.status.last_failure.message if view.status.last_failure else ""
        return Stays(waiting=run_policy.until_next_attempt(view, failed), requeue_at=view.next_attempt)
    machine_types = _machine_types(view)
    if isinstance(machine_types, str):
        return _not_admitted(view, JobReason.MACHINE_TYPE_MISSING, machine_types)
    sources = inputs.resolve(view.observed, view.resolved_inputs, view.settings)
    if isinstance(sources, Unresolved):
        return _unresolved(sources)
    if view.predecessors:
        return _after_predecessors(view)
    due = to_make(view)
    if not due:
        return Stays(requeue_at=times.earliest(*view.pods.later(view.now).values()))
    if ending := alive((pod for each in due for pod in each.earlier), view.now):
        return _after_previous_attempt(view, ending)
    prepared = admission.prepare(view, lambda: _templates(view, machine_types, sources))
    if prepared.wait is not None:
        return _not_admitted(view, prepared.wait.reason, prepared.wait.message, prepared.children)
    if view.observed.refused:
        return refusal.of_pods(view, machine_types)
    pods = [_planned(view, each, machine_types[each.member.role], sources) for each in due]
    made = [Child(Write.CREATE, admission.admitted(pod, prepared)) for pod in pods]
    return _create(view, (*prepared.children, *_network(view), *made), sources)


def to_make(view: View) -> tuple[MemberPods, ...]:
    """Members to make a pod for now. Nobody waits for the end of an evaluator's earlier pod."""
    due = view.pods.due(view.now)
    others = tuple(each for each in due if not each.member.follows or not alive(each.earlier, view.now))
    return others if view.pods.go_on else others or due


def _machine_types(view: View) -> dict[str, MachineType] | str:
    """The machine types of the job's roles, or what is said of the first one that is not there."""
    found = {}
    for role in roles_of(view.job):
        machine_type = view.machine_type(role)
        if machine_type is None:
            observed = view.observed
            return platform.machine_type_missing(
                view.machine_type_name(role), observed.machine_types, observed.unreadable_machine_types
            )
        found[role] = machine_type
    return found


def _not_admitted(view: View, reason: str, message: str, children: tuple[Child, ...] = ()) -> Answer:
    """Not yet, for something that others have to bring."""
    return GoesOn(
        JobState.QUEUED,
        reason,
        message,
        Admitted(False, reason, message),
        Changes(queue_time=times.text(view.queued_since), queue_position=view.observed.queue_position),
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


def _after_previous_attempt(view: View, ending: Sequence[PodRecord]) -> Answer:
    """When one member fails, the others save what they have: the next attempt begins with that."""
    if view.pods.go_on:
        return Stays(requeue_at=lost_at(ending))
    which = " and ".join(sorted(pod.name for pod in ending))
    message = f"Waiting for pod {which} of the previous attempt to end. Its program may save a checkpoint."
    return GoesOn(JobState.QUEUED, JobReason.STOPPING, message, ACCEPTED, requeue_at=lost_at(ending))


def _planned(view: View, each: MemberPods, machine_type: MachineType, sources: Sources) -> dict[str, Any]:
    """Manifest of a member's pod: of its current attempt, or of the first one after it whose pod's name is not taken."""
    job, member, attempt = view.job, each.member, each.attempt
    taken = {pod.name for pod in view.observed.predecessors}
    while names.training_pod(job.metadata.name, member.role, member.index, attempt) in taken:
        attempt += 1
    members = [one.member for one in view.pods]
    return training_pod(job, member, attempt, machine_type, sources, view.settings, members=members)


def _templates(view: View, machine_types: Mapping[str, MachineType], sources: Sources) -> dict[str, dict[str, Any]]:
    """One pod of each role, as a queue has to know them."""
    members = [each.member for each in view.pods]
    first = {each.role: each for each in reversed(members)}
    return {
        role: training_pod(view.job, first[role], 0, machine_types[role], sources, view.settings, members=members)
        for role in view.roles
    }


def _network(view: View) -> tuple[Child, ...]:
    """By which the members of a job find each other, and are reached by nobody else; a job that trains in one pod needs none."""
    if len(view.pods.needed) == 1:
        return ()
    service = Child(Write.APPLY, pods_service(view.job))
    if not view.settings.training_network_policies:
        return (service,)
    return (Child(Write.CREATE, pods_policy(view.job)), service)


def _create(view: View, children: tuple[Child, ...], sources: Sources) -> Answer:
    retrying = view.status.next_attempt_time is not None and not view.resumed
    if view.status.state is None or retrying or view.pods.go_on:
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
