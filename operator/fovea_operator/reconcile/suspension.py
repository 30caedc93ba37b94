"""spec.suspend: no pod runs while it is true; a running one saves a checkpoint and ends. Counts as no retry."""

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobCondition, JobReason

from fovea_operator.reconcile import cleanup, conditions, report, retry, stage, stopping, times
from fovea_operator.reconcile.decision import Decision
from fovea_operator.reconcile.view import SLACK, View, ended, lost


def suspend(view: View) -> Decision:
    """Stop the pod, then say that the job is suspended."""
    pod = view.pod
    if pod is not None and not ended(pod) and not lost(pod, view.now):
        where = stage.of(pod, view.job)
        message = "Suspending: the program saves a checkpoint and ends. Set spec.suspend to false to go on from it."
        message += stopping.sentence(view, [pod])
        new = report.status(
            view,
            where.state,
            JobReason.SUSPENDED,
            message,
            running=where.running,
            attempts=view.attempts(view.attempt),
            next_attempt_time=None,
            start_time=retry.start_time(view),
        )
        return report.decision(
            view,
            new,
            deletions=cleanup.stop([pod], view.now, view.settings.grace_seconds),
            requeue_at=times.earliest(
                stopping.wake(view, [pod]), pod.deletion_deadline + SLACK if pod.deletion_deadline else None
            ),
        )
    if view.suspended:
        return Decision(status=report.acknowledged(view))
    message = "Suspended: no pod runs. Set spec.suspend to false to go on."
    new = report.status(view, JobState.QUEUED, JobReason.SUSPENDED, message, next_attempt_time=None, queue_time=None)
    had_pod = pod is not None or view.seen
    if had_pod:
        ran = {"running_seconds": view.seconds_run, "start_time": retry.start_time(view)}
        new = new.model_copy(update={"attempts": view.attempts(view.attempt + 1), **ran})
    held = conditions.put(
        new.conditions,
        JobCondition.SUSPENDED,
        "True",
        JobReason.SUSPENDED,
        message,
        now=view.now,
        generation=view.job.metadata.generation,
    )
    return report.decision(view, new.model_copy(update={"conditions": held}))


def resume(view: View) -> View:
    """The job's view with the suspension taken back: it queues anew from now."""
    held = conditions.put(
        view.status.conditions,
        JobCondition.SUSPENDED,
        "False",
        JobReason.RESUMED,
        "spec.suspend is false again.",
        now=view.now,
        generation=view.job.metadata.generation,
    )
    now = times.text(view.now)
    resumed = view.status.model_copy(update={"conditions": held, "queue_time": now, "next_attempt_time": now})
    return view.with_status(resumed)
