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
9. live pods        QUEUED, PREPARING or RUNNING, as the pods say
10. next pods       back-off, machine type, inputs, pods of a deleted namesake, admission, and then the pods (`starting`)
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.shared.pods import SLACK, MemberPods, others_due
from fovea_operator.reconcile.training import (
    cleanup,
    inputs,
    outcome,
    progress,
    run_policy,
    stage,
    starting,
    stopping,
    success,
    transition,
)
from fovea_operator.reconcile.training.answer import Answer, ends, goes_on
from fovea_operator.reconcile.training.outcome import Failure, Success
from fovea_operator.reconcile.training.view import View, is_over
from fovea_operator.settings import Settings


def decide_job(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a job. Never raises on an observed state, never changes it."""
    if observed.job.metadata.deletion_timestamp is not None:
        return _being_deleted(observed, now, settings)
    return decide_set(View.of(observed, now, settings))


def decide_set(view: View) -> Decision:
    """The same for a job whose pods are sorted to its members."""
    if view.suspended and not view.spec.suspend and not is_over(view.status):
        view = stopping.resume(view)
    answers = (phase(view) for phase in PHASES)
    answer = next((found for found in answers if found is not None), None) or starting.start(view)
    return _cleaned(view, transition.carry_out(view, answer))


def _being_deleted(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
    """No status is written any more. Its pods go by their owner references, but only when it has gone itself: a deletion in the
    foreground, or a finalizer, would let them train on for their own long grace period. Its model stays.
    """
    return Decision(deletions=cleanup.stop(observed.pods, now, settings.cancel_grace_seconds))


def _ended(view: View) -> Answer | None:
    if not is_over(view.status):
        return None
    expiry = cleanup.expires_at(view.job, view.settings.ttl_seconds)
    if expiry is not None and view.now >= expiry:
        return Answer(is_quiet=True, deletions=(cleanup.of_job(view.job),))
    return Answer(deletions=cleanup.at_end(view), requeue_at=expiry)


def _invalid(view: View) -> Answer | None:
    if view.begun:
        return None  # what once was accepted is not taken back by an upgrade of the catalogue or a shorter list
    message = platform.not_allowed(view.spec.pod, view.settings)
    if message:
        message = f"Failed: {message} Then submit a new job."
    elif (problems := inputs.argument_problems(view.job)) and _binding(view):
        message = "; ".join(problems)
    if not message:
        return None
    return ends(JobState.FAILED, JobReason.INVALID_SPEC, message, invalid=True)


def _binding(view: View) -> bool:
    chosen = platform.machine_type(platform.machine_type_of(view.job), view.observed.machine_types)
    return inputs.arguments_binding(view.settings, chosen)


def _cancelled(view: View) -> Answer | None:
    return stopping.cancel(view) if stopping.cancel_wanted(view) else None


def _suspended(view: View) -> Answer | None:
    pod = view.chief.pod
    if not view.spec.suspend or (outcome.had_ended(view, view.chief) and pod is not None):
        return None  # a program that has ended has nothing to suspend
    failed = any(each.pod is not None and run_policy.failure_of(view, each) for each in view.pods)
    if failed and not view.suspending and not view.suspended:
        return None  # it failed by itself: that counts, and then there is nothing left to suspend but the next attempt
    return stopping.suspend(view)


def _ran_too_long(view: View) -> Answer | None:
    return run_policy.ran_too_long(view)


def _failed_attempt(view: View) -> Answer | None:
    if view.suspended:
        return None
    failures = (run_policy.failure_of(view, each) or _not_believed(view, each) for each in view.pods)
    failure = next((found for found in failures if found is not None), None)
    return None if failure is None else run_policy.retry_or_fail(view, failure)


def _not_believed(view: View, each: MemberPods) -> Failure | None:
    """The failure of a success that does not count, since the program had got SIGTERM before."""
    found = outcome.of_member(view, each)
    if each.pod is None or not isinstance(found, Success):
        return None
    return outcome.interrupted(each.pod, found.termination)


def _live_pods(view: View) -> Answer | None:
    if view.pods.missing:
        return None
    pods = view.pods.current
    where = stage.of_set(view.pods, view.job)
    if where.running and (since := progress.store_unreachable_since(view.observed.progress)):
        where = stage.without_store(where, since)
    if where.running:
        where = stage.with_left_out(where, progress.left_out(view.observed.progress))
    if where.waiting and (late := run_policy.waited_too_long(view, where.message, where.waiting_since)):
        return late
    where = replace(where, message=where.message + stopping.slow_end(view, pods))
    told = where.quiet_since + starting.QUIET if where.quiet_since else view.now
    gone = times.earliest(*(pod.deletion_deadline for pod in pods))
    wake = times.earliest(
        run_policy.running_deadline(view),
        run_policy.waiting_deadline(view, where.waiting_since) if where.waiting else None,
        gone + SLACK if gone else None,
        *(time for pod in pods if (time := others_due(pod)) and time > view.now),
        stopping.slow_end_wake(view, pods),
    )
    if told > view.now:
        return Answer(is_quiet=True, requeue_at=times.earliest(told, wake))
    return goes_on(
        where.state,
        where.reason,
        where.message,
        running=where.running,
        admitted=starting.admitted(view),
        attempts=view.pods.attempts(),
        next_attempt_time=None,
        # The suspension was taken back while the pods were ending: it is why they end, until they have.
        suspending=(view.suspending and any(pod.deleting for pod in pods)) or None,
        start_time=run_policy.start_time(view),
        **progress.fields(view.observed.progress),
        requeue_at=wake,
    )


def _cleaned(view: View, decision: Decision) -> Decision:
    """The decision with the deletions of earlier attempts' pods, as far as the status records a later attempt."""
    if is_over(view.status):
        return decision
    status = decision.status
    recorded = (status.get("attempts") if status is not None else None) or view.status.attempts or {}
    named = {deletion.name for deletion in decision.deletions}
    old = tuple(d for d in cleanup.of_earlier_attempts(view, recorded) if d.name not in named)
    return replace(decision, deletions=decision.deletions + old) if old else decision


PHASES: tuple[Callable[[View], Answer | None], ...] = (
    _ended,
    success.end,
    _invalid,
    _cancelled,
    _suspended,
    _ran_too_long,
    _failed_attempt,
    stopping.end_pod,
    _live_pods,
)
"""The phases that may have nothing to say; the next pods are what remains."""
