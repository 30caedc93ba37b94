"""The pods of a job's next attempt: what they wait for, and how they are made."""

from datetime import timedelta
from typing import Any

from fovea_api.v1alpha1 import JobState, MachineType
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.desired.service import pods_service
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.decision import Child, Write
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.training import admission, cleanup, inputs, refusal, run_policy
from fovea_operator.reconcile.training.answer import ACCEPTED, Admitted, Answer, ends, goes_on
from fovea_operator.reconcile.training.inputs import Unresolved
from fovea_operator.reconcile.training.view import View

QUIET = timedelta(seconds=2)
"""A stage that every job passes through is reported only when it lasts: a short job costs two status writes, not four."""


def admitted(view: View) -> Admitted:
    """The condition Admitted of a job that has pods."""
    problems = inputs.argument_problems(view.job)
    if not problems:
        return ACCEPTED
    message = (
        f"The flag catalogue and the trainer image have different versions, so this is only a warning: {'; '.join(problems)}. "
        "The program decides."
    )
    return Admitted(True, JobReason.ARGUMENTS_UNCHECKED, message)


def start(view: View) -> Answer:
    """Make the pods that are missing, or say what they wait for."""
    begin = times.parse(view.status.next_attempt_time)
    if begin is not None and begin > view.now:
        return Answer(requeue_at=begin)
    name = platform.machine_type_of(view.job)
    machine_type = platform.machine_type(name, view.observed.machine_types)
    if machine_type is None:
        message = platform.machine_type_missing(
            name, view.observed.machine_types, view.observed.unreadable_machine_types
        )
        return _wait(view, JobReason.MACHINE_TYPE_MISSING, message)
    sources = inputs.resolve(view.observed, view.settings)
    if isinstance(sources, Unresolved):
        return _unresolved(sources)
    if ending := cleanup.predecessors_ending(view):
        return _after(view, ending)
    pods = _planned(view, machine_type, sources)
    prepared = admission.prepare(view, pods)
    if prepared.wait is not None:
        return _wait(view, prepared.wait.reason, prepared.wait.message, prepared.children)
    if view.observed.refused:
        return _pods_refused(view, machine_type)
    made = [Child(Write.CREATE, admission.with_additions(pod, prepared.additions)) for pod in pods]
    return _create(view, (*prepared.children, *_service(view), *made), sources)


def _planned(view: View, machine_type: MachineType, sources: Sources) -> list[dict[str, Any]]:
    """Manifests of the pods that are missing."""
    alone = len(view.pods.members) == 1
    return [
        training_pod(
            view.job,
            each.member,
            cleanup.free_attempt(view, each),
            machine_type,
            sources,
            view.settings,
            alone=alone,
        )
        for each in view.pods.missing
    ]


def _service(view: View) -> tuple[Child, ...]:
    """By which the members of a job find each other; a job of one pod needs none."""
    return () if len(view.pods.members) == 1 else (Child(Write.APPLY, pods_service(view.job)),)


def _create(view: View, children: tuple[Child, ...], sources: Sources) -> Answer:
    retrying = view.status.next_attempt_time is not None and not view.resumed
    if view.status.state is None or retrying:
        # The message says nothing that the pods could disprove. From now, not from the job's creation: a job that
        # waited for its turn among many others must not cost one write more than they do.
        return Answer(is_quiet=True, children=children, requeue_at=view.now + QUIET)
    names = [child.manifest["metadata"]["name"] for child in children if child.manifest["kind"] == "Pod"]
    which = f"Pod {names[0]} is created and waits" if len(names) == 1 else f"{len(names)} pods are created and wait"
    fetches = f" It fetches {len(sources.inputs)} inputs first." if sources.inputs else ""
    message = f"{which} for a node.{fetches}"
    # Without `attempts` or with `nextAttemptTime` the status does not claim that the pods were seen.
    resolved = list(inputs.of_sources(sources)) or None
    return goes_on(
        JobState.QUEUED,
        JobReason.POD_CREATED,
        message,
        admitted=admitted(view),
        resolved_inputs=resolved,
        children=children,
        requeue_at=run_policy.waiting_deadline(view),
    )


def _unresolved(why: Unresolved) -> Answer:
    if why.final:
        invalid = why.reason == JobReason.INVALID_SPEC
        return ends(JobState.FAILED, why.reason, why.message, invalid=invalid)
    # Waiting for an input is not waiting for a node: the queue time starts when all is there.
    held = Admitted(False, why.reason, why.message)
    return goes_on(JobState.QUEUED, why.reason, why.message, admitted=held, queue_time=None)


def _wait(view: View, reason: str, message: str, children: tuple[Child, ...] = ()) -> Answer:
    """Not admitted yet, for something that others have to bring."""
    if late := run_policy.waited_too_long(view, message):
        return late
    held = Admitted(False, reason, message)
    since = times.text(view.queued_since)
    return goes_on(
        JobState.QUEUED,
        reason,
        message,
        admitted=held,
        queue_time=since,
        children=children,
        requeue_at=run_policy.waiting_deadline(view),
    )


def _after(view: View, ending: tuple[PodRecord, ...]) -> Answer:
    message = cleanup.predecessors_message(ending)
    if late := run_policy.waited_too_long(view, message):
        return late
    wake = times.earliest(cleanup.predecessors_lost_at(ending), run_policy.waiting_deadline(view))
    return goes_on(JobState.QUEUED, JobReason.PREDECESSOR_ENDING, message, admitted=ACCEPTED, requeue_at=wake)


def _pods_refused(view: View, machine_type: MachineType) -> Answer:
    why = refusal.of_pod(view, machine_type.metadata.name)
    if why.final:
        return ends(JobState.FAILED, JobReason.INVALID_SPEC, why.message, invalid=True)
    if late := run_policy.waited_too_long(view, why.message):
        return late
    return goes_on(
        JobState.QUEUED,
        JobReason.POD_REFUSED,
        why.message,
        admitted=ACCEPTED,
        requeue_at=run_policy.waiting_deadline(view),
    )
