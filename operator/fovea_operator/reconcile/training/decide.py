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
from datetime import datetime

from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import TRAINING_JOB, Decision, Deletion
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.shared.pods import MemberPods, lost_at, others_due, stop
from fovea_operator.reconcile.training import (
    outcome,
    progress,
    refusal,
    run_policy,
    stage,
    starting,
    stopping,
    success,
)
from fovea_operator.reconcile.training.answer import (
    Answer,
    GoesOn,
    Stays,
    Waiting,
    at_end,
    carry_out,
    pods_seen,
)
from fovea_operator.reconcile.training.outcome import Failure, Success
from fovea_operator.reconcile.training.view import View, expires_at, is_over
from fovea_operator.settings import Settings


def decide_job(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a job. Never raises on an observed state, never changes it."""
    if observed.job.metadata.deletion_timestamp is not None:
        return _being_deleted(observed, now, settings)
    return decide_set(View.of(observed, now, settings))


def decide_set(view: View) -> Decision:
    """The same for a job whose pods are sorted to its members."""
    answers = (phase(view) for phase in PHASES)
    answer = next((found for found in answers if found is not None), None) or starting.start(view)
    return carry_out(view, run_policy.within_wait(view, answer))


def _being_deleted(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
    """No status is written any more. Its pods go by their owner references, but only when it has gone itself: a deletion in the
    foreground, or a finalizer, would let them train on for their own long grace period. Its model stays.
    """
    return Decision(deletions=stop(observed.pods, now, settings.cancel_grace_seconds))


def _ended(view: View) -> Answer | None:
    if not is_over(view.status):
        return None
    expiry, job = expires_at(view.job, view.settings.ttl_seconds), view.job.metadata
    if expiry is not None and view.now >= expiry:
        gone = Deletion(TRAINING_JOB, job.namespace, job.name, job.uid)
        return Stays(is_quiet=True, deletions=(gone,))
    return Stays(deletions=at_end(view), requeue_at=expiry)


def _cancelled(view: View) -> Answer | None:
    return stopping.cancel(view) if view.cancel_wanted else None


def _suspended(view: View) -> Answer | None:
    pod = view.chief.pod
    if not view.spec.suspend or (outcome.had_ended(view, view.chief) and pod is not None):
        return None  # a program that has ended has nothing to suspend
    failed = any(each.pod is not None and run_policy.failure_of(view, each) for each in view.pods)
    if failed and not view.suspending and not view.suspended:
        return None  # it failed by itself: that counts, and then there is nothing left to suspend but the next attempt
    return stopping.suspend(view)


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
    pods, report = view.pods.current, view.observed.progress
    where = stage.of_set(view.pods, view.job, heard=report is not None)
    if since := progress.store_unreachable_since(report):
        where = stage.without_store(where, since)
    if where.running:
        where = stage.with_left_out(where, view.left_out)
    waiting = Waiting(where.message, where.waiting_since or view.queued_since) if where.waiting else None
    wake = times.earliest(
        run_policy.running_deadline(view),
        lost_at(pods),
        *(time for pod in pods if (time := others_due(pod)) and time > view.now),
        stopping.slow_end_wake(view, pods),
    )
    if report is None and view.without_store and where.waiting and where.reason == JobReason.FETCHING:
        # An operator that has just started has heard no agent yet, and the kubelet says nothing of one that waits.
        return Stays(requeue_at=wake)
    told = where.quiet_since + starting.QUIET if where.quiet_since else view.now
    if told > view.now:
        return Stays(is_quiet=True, waiting=waiting, requeue_at=times.earliest(told, wake))
    # The suspension was taken back while the pods were ending: it is why they end, until they have.
    suspending = (view.suspending and any(pod.deleting for pod in pods)) or None
    return GoesOn(
        where.state,
        where.reason,
        where.message + stopping.slow_end(view, pods),
        refusal.admitted(view),
        pods_seen(view, suspending=suspending, ended_programs=outcome.ended_programs(view) or None, **view.reported),
        running=where.running,
        waiting=waiting,
        requeue_at=wake,
    )


PHASES: tuple[Callable[[View], Answer | None], ...] = (
    _ended,
    success.end,
    refusal.of_spec,
    _cancelled,
    _suspended,
    run_policy.ran_too_long,
    _failed_attempt,
    stopping.end_pod,
    _live_pods,
)
"""The phases that may have nothing to say; the next pods are what remains."""
