"""The evaluator when it fails: it starts again alone, and after some failures the job goes on without it.

It costs the job no retry and never fails it. An attempt that was ended from outside is no failure.
"""

from datetime import timedelta

from fovea_api.contract import exit_codes
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Deletion
from fovea_operator.reconcile.shared.pods import MemberPods, stop
from fovea_operator.reconcile.training import cause, run_policy, stage
from fovea_operator.reconcile.training.answer import ACCEPTED, Answer, Changes, GoesOn, pods_seen
from fovea_operator.reconcile.training.outcome import Failure
from fovea_operator.reconcile.training.run_policy import Attempt
from fovea_operator.reconcile.training.view import View

MOST_FAILURES = 3
"""With that many the evaluator is left out."""


def failed(view: View) -> Answer | None:
    """The next attempt of an evaluator that failed, or none; None where it did not fail."""
    each = view.pods.evaluator
    if each is None or each.done or view.suspended or view.suspending or view.next_attempt is not None:
        return None
    if view.chief.pod is None or view.program_ended is not None:
        return None  # there is nothing more to measure, or the whole job begins again
    failure = cause.failure_of(view, each)
    if failure is None:
        return None
    failures = (view.status.evaluator_failures or 0) + (0 if failure.disruption else 1)
    if not failure.retryable or (failures >= MOST_FAILURES and not failure.disruption):
        return _leave_out(view, each, failure, failures)
    begin = (failure.at or view.now) + _pause(view, each, failures)
    message = (
        f"{Attempt(view, each, failure).name} failed: {failure.message.rstrip('.')}. The job goes on, and the evaluator starts again at "
        f"{times.text(begin)}; this is no retry of the job."
    )
    seen = pods_seen(view)
    again = Changes(
        attempts=view.pods.next_attempts((each,)),
        next_attempt_times={**(seen["next_attempt_times"] or {}), each.member.key: times.text(begin)},
    )
    return _goes_on(view, message, seen | again | _counted(view, each, failure, failures))


def _leave_out(view: View, each: MemberPods, failure: Failure, failures: int) -> Answer:
    times_failed = f" after {failures} failed attempts" if failures > 1 else ""
    message = f"The evaluator is left out{times_failed}, and the job goes on without it: {failure.message.rstrip('.')}."
    code = failure.exit_code or exit_codes.INTERNAL
    seen = pods_seen(view)
    ended = Changes(ended_programs={**(view.status.ended_programs or {}), each.member.key: code})
    pods = () if each.pod is None else (each.pod,)
    gone = stop(pods, view.now, view.settings.cancel_grace_seconds)
    return _goes_on(view, message, seen | ended | _counted(view, each, failure, failures), gone)


def _counted(view: View, each: MemberPods, failure: Failure, failures: int) -> Changes:
    counted = Changes(last_failure=Attempt(view, each, failure).record)
    return counted if not failures else counted | Changes(evaluator_failures=failures)


def _pause(view: View, each: MemberPods, failures: int) -> timedelta:
    return run_policy.pause(view, each.attempt, max(failures - 1, 0))


def _goes_on(view: View, message: str, changes: Changes, deletions: tuple[Deletion, ...] = ()) -> GoesOn:
    where = stage.of_set(view.pods, view.job, heard=view.observed.progress is not None)
    return GoesOn(
        where.state,
        JobReason.RETRYING if where.running else where.reason,
        message,
        ACCEPTED,
        changes,
        running=where.running,
        deletions=deletions,
        requeue_at=view.now,
    )
