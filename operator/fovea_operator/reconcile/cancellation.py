"""spec.cancel: CANCELLING while pods end, then CANCELLED. One way."""

from typing import Any

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile import cleanup, report, retry, stopping, times
from fovea_operator.reconcile.decision import Decision
from fovea_operator.reconcile.view import SLACK, View, ended, lost, trainer_started


def wanted(view: View) -> bool:
    """Whether the job is to be cancelled. Once begun it is finished, even if the field could be taken back."""
    return view.spec.cancel or view.status.state == JobState.CANCELLING


def cancel(view: View) -> Decision:
    """End the pods, then the job."""
    alive = [pod for pod in view.observed.pods if not ended(pod) and not lost(pod, view.now)]
    if not alive:
        message = "Cancelled as asked. Checkpoints that were published stay; a new job can begin with them."
        new = report.over(view, JobState.CANCELLED, JobReason.CANCELLED, message)
        return report.end(view, new)
    running = any(trainer_started(pod) for pod in alive)
    message = f"Cancelling: waiting for the pods to end.{stopping.sentence(view, alive)}"
    attempts: dict[str, Any] = {"attempts": view.attempts(view.attempt)} if view.begun else {}
    new = report.status(
        view,
        JobState.CANCELLING,
        JobReason.CANCELLED,
        message,
        running=running,
        start_time=retry.start_time(view),
        next_attempt_time=None,
        **attempts,
    )
    ends = times.earliest(*(pod.deletion_deadline for pod in alive))
    return report.decision(
        view,
        new,
        deletions=cleanup.stop(alive, view.now, view.settings.cancel_grace_seconds),
        requeue_at=times.earliest(stopping.wake(view, alive), ends + SLACK if ends else None),
    )
