"""A job that gives back what it has been given, and tries again: its queue took the quota back, or only some of its pods got nodes.

Neither is a failure: no retry is counted, and the next attempt goes on from the newest checkpoint.
"""

from dataclasses import replace
from datetime import timedelta

from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.desired.pod import grace_seconds
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.pods import lost_at, stop
from fovea_operator.reconcile.training import cause, gang, outcome, quota, run_policy, stage, stopping
from fovea_operator.reconcile.training.answer import ACCEPTED, Answer, Changes, GoesOn, Stays, Waiting, pods_seen
from fovea_operator.reconcile.training.view import View

_MOST_PAUSES = 4


def quota_back(view: View) -> Answer | None:
    """Stop the pods when the queue takes the quota back, write the next attempt, then give the quota back."""
    evicted = quota.eviction(view)
    if evicted is None:
        return None
    if view.chief.pod is not None and outcome.had_ended(view, view.chief):
        return None  # a program that has ended needs its nodes only to publish
    if not view.suspending and any(each.pod is not None and cause.failure_of(view, each) for each in view.pods.needed):
        return None  # it failed by itself before: that counts
    why = str(evicted.get("message") or evicted.get("reason")).rstrip(".")
    said = f"Queue {quota.queue_of(view)} took the job's quota back: {why}."
    if pods := view.pods.alive(view.now):
        where = stage.of_set(view.pods, view.job)
        return GoesOn(
            where.state,
            JobReason.QUEUE_STOPPED_JOB,
            f"{said} The program saves a checkpoint and ends.{stopping.slow_end(view, pods)}",
            ACCEPTED,
            pods_seen(view, suspending=True),
            running=where.running,
            deletions=stop(pods, view.now, grace_seconds(view.job, view.settings)),
            requeue_at=times.earliest(stopping.slow_end_wake(view, pods), lost_at(pods)),
        )
    if any(each.pod is not None or each.seen for each in view.pods):
        message = f"{said} The job goes on from its newest checkpoint when it has quota again.{view.left_out}"
        counted = Changes(disruptions=(view.status.disruptions or 0) + 1)
        return run_policy.next_attempt(view, view.now, message, JobReason.QUEUE_STOPPED_JOB, counted)
    if ending := view.pods.outlived(view.now):
        return Stays(requeue_at=lost_at(ending))
    return Stays(children=quota.release(view))


def nodes_back(view: View) -> Answer | None:
    """Let the pods of a job go that is only partly placed for too long, and make them again after a pause.

    Two jobs that hold half of the nodes each do not come back together: the pause of each has a length of its own.
    """
    deadline = gang.deadline(view)
    if deadline is None or view.now < deadline:
        return None
    begin = view.now + run_policy.pause(view, view.chief.attempt, min(view.chief.attempt, _MOST_PAUSES))
    counts, limit = gang.placed(view), view.now - min(pod.created for pod in view.pods.current)
    message = (
        f"Only {counts['placed']} of {counts['all']} pods got a node within {_seconds(limit)} s (scheduling.gangTimeoutSeconds): the job gives "
        f"them back, so that another job can run, and tries again at {times.text(begin)}; this does not count as a retry."
    )
    counted = Changes(queue_time=times.text(view.queued_since))  # it waits as long as it did
    again = run_policy.next_attempt(view, begin, message, JobReason.GANG_TIMEOUT, counted)
    return replace(again, waiting=Waiting(message, view.queued_since))


def _seconds(limit: timedelta) -> int:
    return int(limit.total_seconds())
