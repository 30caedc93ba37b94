"""Containers that something else added to a training pod (a service mesh, an agent): they must not keep it alive.

A pod ends when all its containers have ended, and only then the kubelet tells the sidecar to publish. So the sidecar
hears in the answers to its reports that the program has ended, publishes, and reports its last words: a success is one
then, whatever the pod does. Otherwise the pod is deleted when the sidecar has said so. The status says so before: it is the
memory by which exit code 0 is believed afterwards, though the pod was deleted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from fovea_api.contract import names
from fovea_api.contract.report import REPORT_AT_LEAST_EVERY, ProgressAnswer
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.desired.pod import grace_seconds
from fovea_operator.reconcile import cleanup, progress, report, retry, times
from fovea_operator.reconcile.decision import Decision, Deletion
from fovea_operator.reconcile.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.view import OTHERS_PATIENCE, SLACK, View, ended, others_due, trainer_ended

HEARING = timedelta(seconds=2 * REPORT_AT_LEAST_EVERY)
"""A sidecar that posts its reports has heard of the program's end by then, and has said so."""


def answer(pod: PodRecord) -> ProgressAnswer:
    """What the pod's sidecar is to know."""
    return ProgressAnswer(program_ended=trainer_ended(pod) is not None)


def end_pod(view: View) -> Decision | None:
    """End the pod whose program has ended and in which others live on."""
    pod = view.pod
    if pod is None or ended(pod):
        return None
    if view.succeeded:
        # Of an earlier release, which did not remember what was published: it stands in the sidecar's words alone.
        return Decision(status=report.acknowledged(view))
    time = others_due(pod)
    if not view.ending_pod and (time is None or view.now < time):
        return None
    end = _end(view, pod)
    new = report.status(
        view,
        JobState.RUNNING,
        JobReason.ENDING_POD,
        _message(pod, end) + progress.left_out(view.observed.progress),
        running=True,
        attempts=view.attempts(view.attempt),
        next_attempt_time=None,
        start_time=retry.start_time(view),
        **progress.fields(view.observed.progress),
    )
    return report.decision(
        view,
        new,
        deletions=() if end.deletion is None else (end.deletion,),
        requeue_at=times.earliest(end.wait, pod.deletion_deadline + SLACK if pod.deletion_deadline else None),
    )


@dataclass(frozen=True)
class _End:
    """The pod's deletion, or until when that waits for the sidecar; neither while the pod is being deleted."""

    deletion: Deletion | None = None
    wait: datetime | None = None


def _end(view: View, pod: PodRecord) -> _End:
    if pod.deleting:
        return _End()
    said = view.observed.progress
    if said is not None and said.last_words:
        # Nobody needs the pod's own grace period any more.
        return _End(cleanup.deletion(pod, view.settings.cancel_grace_seconds))
    finished = view.program_ended or view.now
    if said is not None and said.publishing:
        until = finished + timedelta(seconds=grace_seconds(view.job, view.settings)) + HEARING
    elif view.settings.report_url:
        until = finished + OTHERS_PATIENCE + HEARING
    else:
        until = finished + OTHERS_PATIENCE
    # One that has not heard is told by the deletion, and publishes in the pod's own grace period.
    return _End(wait=until) if view.now < until else _End(cleanup.deletion(pod))


def _message(pod: PodRecord, end: _End) -> str:
    code = pod.containers.get(names.TRAINER_CONTAINER, ContainerRecord()).exit_code
    which = ", ".join(pod.foreign) or "of others"
    then = "once that is done, the pod is deleted" if end.wait else "so the pod is deleted"
    return (
        f"The program ended with exit code {code}; what it wrote is being published. Fovea did not add container {which} to "
        f"pod {pod.name}, and it had not ended: {then}."
    )
