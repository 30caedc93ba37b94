"""What to do about a TrainingJob: bucket first (`view`), decide second. Total, synchronous, no clock, no I/O.

The phases, in order; the first that has an answer decides:

1. ended            a job that has ended keeps what its status says; its pods are cleaned up, and at its TTL it goes
2. success          the output's digest is known: the model is registered, then the job is SUCCEEDED
3. invalid          the spec can never work: FAILED, and never a pod
4. cancelled        spec.cancel: CANCELLING while pods end, then CANCELLED
5. suspended        spec.suspend: the pod saves a checkpoint and ends
6. quota back       the queue took the quota back: the pods save a checkpoint and end, the job queues again
7. ran too long     runPolicy.maxRunningSeconds over all attempts
8. failed attempt   the next attempt is written to the status, or the job is FAILED
   failed evaluator  its next attempt is written to the status, or it is left out; the job goes on
9. ending pod       the program has ended and others' containers live on: the pod is deleted once all is published
10. nodes back      some pods hold nodes while others get none for too long: all are made again after a pause
11. live pods       QUEUED, PREPARING or RUNNING, as the pods say
12. next pods       back-off, machine type, inputs, pods of a deleted namesake, admission, and then the pods (`starting`)
"""

from collections.abc import Callable
from datetime import datetime

from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import TRAINING_JOB, Decision, Deletion
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.shared.pods import lost_at, others_due, stop
from fovea_operator.reconcile.training import (
    backstop,
    cause,
    evaluator,
    gang,
    giving_back,
    members,
    outcome,
    progress,
    quota,
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
from fovea_operator.reconcile.training.view import View, expires_at, is_over
from fovea_operator.settings import Settings

MANAGED_BY = "fovea.dev/operator"
"""What spec.managedBy says of a job that is this operator's."""


def decide_job(observed: JobObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a job. Never raises on an observed state, never changes it."""
    if observed.job.metadata.deletion_timestamp is not None:
        return _being_deleted(observed, now, settings)
    if observed.job.spec.managed_by not in (None, MANAGED_BY):
        return Decision()
    view = View.of(observed, now, settings)
    answers = (phase(view) for phase in PHASES)
    answer = next((found for found in answers if found is not None), None) or starting.start(view)
    return carry_out(view, backstop.told_to_kubelets(view, run_policy.within_wait(view, answer)))


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
    return Stays(children=quota.finish(view), deletions=at_end(view), requeue_at=expiry)


def _cancelled(view: View) -> Answer | None:
    return stopping.cancel(view) if view.cancel_wanted else None


def _suspended(view: View) -> Answer | None:
    pod = view.chief.pod
    if not view.spec.suspend or (outcome.had_ended(view, view.chief) and pod is not None):
        return None  # a program that has ended has nothing to suspend
    failed = any(each.pod is not None and cause.failure_of(view, each) for each in view.pods.needed)
    if failed and not view.suspending and not view.suspended:
        return None  # it failed by itself: that counts, and then there is nothing left to suspend but the next attempt
    return stopping.suspend(view)


def _failed_attempt(view: View) -> Answer | None:
    if view.suspended:
        return None
    found = cause.find(view)
    if isinstance(found, datetime):
        return Stays(requeue_at=found)
    return None if found is None else run_policy.retry_or_fail(view, found.member, found.failure)


def _live_pods(view: View) -> Answer | None:
    if starting.to_make(view) or (view.chief.pod is None and not view.pods.go_on):
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
        lost_at(view.pods.outlived(view.now)),
        *(time for pod in pods if (time := others_due(pod)) and time > view.now),
        stopping.slow_end_wake(view, pods),
        gang.deadline(view),
        *view.pods.later(view.now).values(),
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
        where.message + run_policy.begin_later(view) + members.without_evaluator(view) + stopping.slow_end(view, pods),
        refusal.admitted(view),
        pods_seen(
            view,
            suspending=suspending,
            store_unreachable=(where.reason == JobReason.STORE_UNREACHABLE and not where.running) or None,
            ended_programs=outcome.ended_programs(view) or None,
        ),
        running=where.running,
        children=quota.tell_whether_pods_run(view),
        deletions=stopping.held_up(view),
        waiting=waiting,
        requeue_at=wake,
    )


PHASES: tuple[Callable[[View], Answer | None], ...] = (
    _ended,
    success.end,
    refusal.of_spec,
    _cancelled,
    _suspended,
    giving_back.quota_back,
    run_policy.ran_too_long,
    _failed_attempt,
    evaluator.failed,
    stopping.end_pod,
    giving_back.nodes_back,
    _live_pods,
)
"""The phases that may have nothing to say; the next pods are what remains."""
