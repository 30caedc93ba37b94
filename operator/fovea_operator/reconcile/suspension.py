"""spec.suspend: no pod runs while it is true; a running one saves a checkpoint and ends. Counts as no retry."""

from fovea_api.contract import names
from fovea_api.contract.report import Termination
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobCondition, JobReason

from fovea_operator.desired.pod import grace_seconds
from fovea_operator.reconcile import cleanup, conditions, progress, report, retry, stage, stopping, times
from fovea_operator.reconcile.decision import Decision
from fovea_operator.reconcile.view import SLACK, View, ended, lost


def suspend(view: View) -> Decision:
    """Stop the pod, then say that the job is suspended."""
    pod = view.pod
    if pod is not None and not ended(pod) and not lost(pod, view.now):
        where = stage.of(pod, view.job)
        message = (
            f"Suspending: the program is to save a checkpoint and end. Set spec.suspend to false {_goes_on(view)}."
        )
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
            **progress.fields(view.observed.progress),
        )
        return report.decision(
            view,
            new,
            deletions=cleanup.stop([pod], view.now, grace_seconds(view.job, view.settings)),
            requeue_at=times.earliest(
                stopping.wake(view, [pod]), pod.deletion_deadline + SLACK if pod.deletion_deadline else None
            ),
        )
    if view.suspended:
        return Decision(status=report.acknowledged(view))
    message = f"Suspended: no pod runs. Set spec.suspend to false {_goes_on(view)}."
    message += progress.left_out(view.observed.progress)
    known = progress.fields(view.observed.progress)
    new = report.status(
        view, JobState.QUEUED, JobReason.SUSPENDED, message, next_attempt_time=None, queue_time=None, **known
    )
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


def _goes_on(view: View) -> str:
    """What happens when the suspension is taken back, by the checkpoint that is published."""
    newest = _published_steps(view)
    if newest:
        return f"to go on from the newest checkpoint (step {max(newest)} at the moment)"
    origin = view.spec.checkpoint.from_ if view.spec.checkpoint else None
    if origin is not None:
        return f"to go on; this job has published no checkpoint yet, so it would begin again with that of {origin}"
    return (
        "to go on; this job has published no checkpoint yet, so it would start from the beginning (a checkpoint is a "
        "folder or file in $FOVEA_CHECKPOINT_DIR that is named by its step, such as 500/, checkpoint-500/ or 500.pt)"
    )


def _published_steps(view: View) -> list[int]:
    """Steps of the newest checkpoint, as the status, the agent's last report and its termination message have it."""
    reported = progress.fields(view.observed.progress).get("checkpoint")
    sync = view.pod.containers.get(names.SYNC_CONTAINER) if view.pod is not None else None
    said = Termination.from_json(sync.termination_message) if sync is not None else None
    found = [
        view.status.checkpoint.step if view.status.checkpoint else None,
        reported.step if reported else None,
        said.checkpoint_step if said else None,
    ]
    return [step for step in found if isinstance(step, int)]


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
