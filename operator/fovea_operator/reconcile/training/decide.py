"""What to do about a TrainingJob: bucket first (`view`), decide second. Total, synchronous, no clock, no I/O.

The phases, in order; the first that has an answer decides:

1. ended            a job that has ended keeps what its status says; its pods are cleaned up, and at its TTL it goes
2. success          the output's digest is known: the model is registered, then the job is SUCCEEDED
3. invalid          the spec can never work: FAILED, and never a pod
4. cancelled        spec.cancel: CANCELLING while pods end, then CANCELLED
5. suspended        spec.suspend: the pod saves a checkpoint and ends
6. ran too long     runPolicy.maxRunningSeconds over all attempts
7. failed attempt   the next attempt is written to the status, or the job is FAILED
8. ending pod       the program has ended and others' containers live on: the pod is deleted once all is published
9. live pod         QUEUED, PREPARING or RUNNING, as the pod says
10. next pod        back-off, machine type, inputs, pods of a deleted namesake, and then the pod
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fovea_api.contract.report import Published
from fovea_api.v1alpha1 import JobState, MachineType
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import CheckpointStatus, PublicationStatus

from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.decision import Child, Decision, Write
from fovea_operator.reconcile.shared.observed import JobObserved, PodRecord
from fovea_operator.reconcile.training import (
    cleanup,
    inputs,
    outcome,
    progress,
    refusal,
    registration,
    run_policy,
    stage,
    stopping,
    transition,
)
from fovea_operator.reconcile.training.inputs import Unresolved
from fovea_operator.reconcile.training.outcome import Success
from fovea_operator.reconcile.training.view import CHIEF, SLACK, View, is_over, others_due
from fovea_operator.settings import Settings

QUIET = timedelta(seconds=2)
"""A stage that every job passes through is told only when it lasts: a short job costs two status writes, not four."""

_EXPORT = "Write a SavedModel directly into that folder, for example with model.export(os.environ['FOVEA_MODEL_DIR'])"


def decide_job(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a job. Never raises on an observed state, never changes it."""
    if observed.job.metadata.deletion_timestamp is not None:
        return Decision()  # its pods go by their owner references, its model stays
    view = View.of(observed, now, settings)
    if view.suspended and not view.spec.suspend and not is_over(view.status):
        view = stopping.resume(view)
    for phase in PHASES:
        decision = phase(view)
        if decision is not None:
            return _cleaned(view, decision)
    return _cleaned(view, _next_pod(view))


def _ended(view: View) -> Decision | None:
    if not is_over(view.status):
        return None
    expiry = cleanup.expires_at(view.job)
    if expiry is not None and view.now >= expiry:
        return Decision(deletions=(cleanup.of_job(view.job),))
    return Decision(status=transition.acknowledged(view), deletions=cleanup.at_end(view), requeue_at=expiry)


def _success(view: View) -> Decision | None:
    success = outcome.of_attempt(view)
    if not isinstance(success, Success):
        return None
    if not _believed(view, success):
        return None
    published = _published_fields(view, success)
    if view.spec.model is None:
        return _succeed(view, success, "Succeeded: the output is published.", published)
    model, files = view.spec.model.name, success.termination.model
    if files is None:
        message = (
            f"Failed: the program ended with 0 but left no SavedModel in $FOVEA_MODEL_DIR to be model {model}. "
            f"{_EXPORT}, or remove spec.model, and submit a new job."
        )
        new = transition.over(view, JobState.FAILED, JobReason.MODEL_MISSING, message, **published)
        return transition.end(view, new)
    if (problem := success.termination.model_problem) and view.spec.model.deploy:
        message = (
            f"Failed: the program ended with 0, but model {model} cannot be served, as spec.model.deploy asks for: {problem}. "
            f"What it wrote is published. {_EXPORT}, or set spec.model.deploy to false to register files of any format; "
            "then submit a new job."
        )
        return transition.end(
            view, transition.over(view, JobState.FAILED, JobReason.MODEL_MISSING, message, **published)
        )
    if view.observed.refused:
        return _registration_refused(view, published)
    registered = registration.register(view, success, model, files)
    message = f"Succeeded: model version {registered.name} is registered. {registered.next_step}"
    return _succeed(view, success, message, published | {"model_version": registered.name}, registered.children)


def _believed(view: View, success: Success) -> bool:
    """A program may answer SIGTERM with 0 long before it is done: then 0 is success only with its own word for it."""
    if success.already or view.succeeded:
        return True
    if view.status.state == JobState.CANCELLING:
        return False
    return success.termination.complete or not _told_to_end(view, success)


def _told_to_end(view: View, success: Success) -> bool:
    if view.pod is None or view.stopping:
        return view.stopping
    told_before = outcome.told_before(view.pod, success.termination)
    return told_before or (outcome.disturbed(view.pod) and not view.ending_pod)


def _succeed(
    view: View, success: Success, message: str, fields: dict[str, Any], children: tuple[Child, ...] = ()
) -> Decision:
    reason = JobReason.ALREADY_COMPLETE if success.already else JobReason.PUBLISHED
    message += progress.left_out(success.termination.progress or view.observed.progress)
    return transition.end(view, transition.over(view, JobState.SUCCEEDED, reason, message, **fields), children=children)


def _registration_refused(view: View, published: dict[str, Any]) -> Decision:
    said = view.observed.refused.rstrip(".")
    if stopping.cancel_wanted(view):
        message = (
            "Cancelled as asked: the program has succeeded and its output is published, but its model is not registered, "
            f"since the API server refuses that: {said}."
        )
        return transition.end(
            view, transition.over(view, JobState.CANCELLED, JobReason.CANCELLED, message, **published)
        )
    message = (
        f"The program has succeeded, but the API server refuses to register its model: {said}. It is tried again; free the "
        "quota or correct the policy, or cancel the job: what it published stays."
    )
    new = transition.live(
        view,
        JobState.RUNNING,
        JobReason.REGISTRATION_REFUSED,
        message,
        attempts=view.attempts(view.attempt),
        next_attempt_time=None,
        start_time=run_policy.start_time(view),
        running_seconds=view.seconds_run,
        # The memory of the success: the pod may be gone, and its sidecar's words with it, when it can be registered.
        **published,
    )
    return transition.decision(view, new)


def _published_fields(view: View, success: Success) -> dict[str, Any]:
    said = success.termination
    fields = progress.fields(said.progress or view.observed.progress)
    fields["output"] = _publication(success.output)
    fields["model"] = _publication(said.model) if said.model else None
    fields["model_problem"] = said.model_problem or None
    metrics, left_out = progress.kept(said.metrics, said.metrics_left_out)
    fields |= {"metrics": metrics or None, "metrics_left_out": left_out or None}
    newest = fields.get("checkpoint", view.status.checkpoint)
    if said.checkpoint_step is not None and (newest is None or newest.step != said.checkpoint_step):
        fields["checkpoint"] = CheckpointStatus(step=said.checkpoint_step)
    return fields


def _publication(published: Published) -> PublicationStatus:
    return PublicationStatus(uri=published.uri, digest=published.digest, bytes=published.size, files=published.files)


def _invalid(view: View) -> Decision | None:
    if view.begun:
        return None  # what once was accepted is not taken back by an upgrade of the catalogue or a shorter list
    message = platform.not_allowed(view.spec.pod, view.settings)
    if message:
        message = f"Failed: {message} Then submit a new job."
    elif (problems := inputs.argument_problems(view.job)) and _binding(view):
        message = "; ".join(problems)
    if not message:
        return None
    return transition.end(view, transition.over(view, JobState.FAILED, JobReason.INVALID_SPEC, message, invalid=True))


def _binding(view: View) -> bool:
    chosen = platform.machine_type(platform.machine_type_of(view.job), view.observed.machine_types)
    return inputs.arguments_binding(view.settings, chosen)


def _cancelled(view: View) -> Decision | None:
    return stopping.cancel(view) if stopping.cancel_wanted(view) else None


def _suspended(view: View) -> Decision | None:
    if not view.spec.suspend or (view.had_ended and view.pod is not None):
        return None  # a program that has ended has nothing to suspend
    failure = run_policy.failure_of(view) if view.pod is not None else None
    if failure is not None and not view.stopping and not view.suspended:
        return None  # it failed by itself: that counts, and then there is nothing left to suspend but the next attempt
    return stopping.suspend(view)


def _ran_too_long(view: View) -> Decision | None:
    return run_policy.ran_too_long(view)


def _failed_attempt(view: View) -> Decision | None:
    if view.suspended:
        return None
    failure = run_policy.failure_of(view)
    if failure is None:
        # A success that was not believed, since the program had been told to end.
        found = outcome.of_attempt(view)
        if view.pod is not None and isinstance(found, Success):
            failure = outcome.interrupted(view.pod, found.termination)
    return None if failure is None else run_policy.retry_or_fail(view, failure)


def _live_pod(view: View) -> Decision | None:
    pod = view.pod
    if pod is None:
        return None
    where = stage.of(pod, view.job)
    if where.running and (since := progress.store_unreachable_since(view.observed.progress)):
        where = stage.without_store(where, since)
    if where.running:
        where = stage.with_left_out(where, progress.left_out(view.observed.progress))
    if where.waiting and (late := run_policy.waited_too_long(view, where.message, where.waiting_since)):
        return late
    if view.stopping and pod.deleting:
        # The suspension was taken back, but its pod still ends: until it has, the reason is the only memory of why.
        where = replace(where, reason=JobReason.SUSPENDED)
    where = replace(where, message=where.message + stopping.slow_end(view, [pod]))
    told = where.quiet_since + QUIET if where.quiet_since else view.now
    wake = times.earliest(
        run_policy.running_deadline(view),
        run_policy.waiting_deadline(view, where.waiting_since) if where.waiting else None,
        pod.deletion_deadline + SLACK if pod.deletion_deadline else None,
        others_due(pod),
        stopping.slow_end_wake(view, [pod]),
    )
    if told > view.now:
        return Decision(requeue_at=times.earliest(told, wake))
    new = transition.live(
        view,
        where.state,
        where.reason,
        where.message,
        running=where.running,
        admitted=_admission(view),
        attempts=view.attempts(view.attempt),
        next_attempt_time=None,
        start_time=run_policy.start_time(view),
        **progress.fields(view.observed.progress),
    )
    return transition.decision(view, new, requeue_at=wake)


def _admission(view: View) -> transition.Admission:
    problems = inputs.argument_problems(view.job)
    if not problems:
        return transition.ACCEPTED
    message = (
        f"The flag catalogue is of another version than the trainer image, so only a warning: {'; '.join(problems)}. "
        "The program decides."
    )
    return JobReason.ARGUMENTS_UNCHECKED, message


def _next_pod(view: View) -> Decision:
    begin = times.parse(view.status.next_attempt_time)
    if begin is not None and begin > view.now:
        return Decision(status=transition.acknowledged(view), requeue_at=begin)
    name = platform.machine_type_of(view.job)
    machine_type = platform.machine_type(name, view.observed.machine_types)
    if machine_type is None:
        message = platform.machine_type_missing(
            name, view.observed.machine_types, view.observed.unreadable_machine_types
        )
        return _wait(view, JobReason.MACHINE_TYPE_MISSING, message)
    sources = inputs.resolve(view.observed, view.settings)
    if isinstance(sources, Unresolved):
        return _unresolved(view, sources)
    if ending := cleanup.predecessors_ending(view):
        return _after(view, ending)
    if view.observed.refused:
        return _pod_refused(view, machine_type)
    attempt = cleanup.free_attempt(view)
    manifest = training_pod(view.job, CHIEF, attempt, machine_type, sources, view.settings)
    return _create(view, Child(Write.CREATE, manifest), sources)


def _create(view: View, pod: Child, sources: Sources) -> Decision:
    retrying = view.status.next_attempt_time is not None and not view.resumed
    if view.status.state is None or retrying:
        # Nothing is told that the pod would have to take back. From now, not from the job's creation: a job that
        # waited for its turn among many others must not cost one write more than they do.
        return Decision(children=(pod,), requeue_at=view.now + QUIET)
    name = pod.manifest["metadata"]["name"]
    fetches = f" It fetches {len(sources.inputs)} inputs first." if sources.inputs else ""
    message = f"Pod {name} is created and waits for a node.{fetches}"
    # Without `attempts` or with `nextAttemptTime` the status does not claim that the pod was seen.
    resolved = list(inputs.of_sources(sources)) or None
    new = transition.live(
        view, JobState.QUEUED, JobReason.POD_CREATED, message, admitted=_admission(view), resolved_inputs=resolved
    )
    return transition.decision(view, new, children=(pod,), requeue_at=run_policy.waiting_deadline(view))


def _unresolved(view: View, why: Unresolved) -> Decision:
    if why.final:
        invalid = why.reason == JobReason.INVALID_SPEC
        return transition.end(view, transition.over(view, JobState.FAILED, why.reason, why.message, invalid=invalid))
    # Waiting for an input is not waiting for a node: the queue time starts when all is there.
    new = transition.live(view, JobState.QUEUED, why.reason, why.message, admitted=None, queue_time=None)
    return transition.decision(view, new)


def _wait(view: View, reason: JobReason, message: str) -> Decision:
    if late := run_policy.waited_too_long(view, message):
        return late
    new = transition.live(
        view, JobState.QUEUED, reason, message, admitted=None, queue_time=times.text(view.queued_since)
    )
    return transition.decision(view, new, requeue_at=run_policy.waiting_deadline(view))


def _after(view: View, ending: tuple[PodRecord, ...]) -> Decision:
    message = cleanup.predecessors_message(ending)
    if late := run_policy.waited_too_long(view, message):
        return late
    new = transition.live(view, JobState.QUEUED, JobReason.PREDECESSOR_ENDING, message)
    wake = times.earliest(cleanup.predecessors_lost_at(ending), run_policy.waiting_deadline(view))
    return transition.decision(view, new, requeue_at=wake)


def _pod_refused(view: View, machine_type: MachineType) -> Decision:
    why = refusal.of_pod(view, machine_type.metadata.name)
    if why.final:
        return transition.end(
            view, transition.over(view, JobState.FAILED, JobReason.INVALID_SPEC, why.message, invalid=True)
        )
    if late := run_policy.waited_too_long(view, why.message):
        return late
    new = transition.live(view, JobState.QUEUED, JobReason.POD_REFUSED, why.message)
    return transition.decision(view, new, requeue_at=run_policy.waiting_deadline(view))


def _cleaned(view: View, decision: Decision) -> Decision:
    """The decision with the deletions of earlier attempts' pods, as far as the status records a later attempt."""
    if is_over(view.status):
        return decision
    recorded = view.recorded_attempt
    if decision.status is not None:
        recorded = (decision.status.get("attempts") or {}).get(CHIEF.key, recorded)
    named = {deletion.name for deletion in decision.deletions}
    old = tuple(d for d in cleanup.of_earlier_attempts(view, recorded) if d.name not in named)
    return replace(decision, deletions=decision.deletions + old) if old else decision


PHASES: tuple[Callable[[View], Decision | None], ...] = (
    _ended,
    _success,
    _invalid,
    _cancelled,
    _suspended,
    _ran_too_long,
    _failed_attempt,
    stopping.end_pod,
    _live_pod,
)
"""The phases that may have nothing to say; the next pod is what remains."""
