"""Containers that something else added to a training pod (a service mesh, an agent): they must not keep it alive.

A pod ends when all its containers have ended, and only then the kubelet tells the sidecar to publish. So a program that
has ended while others live on ends its pod by a deletion. The status says so before: it is the memory by which exit code
0 is believed afterwards, though the pod was told to end.
"""

from datetime import datetime, timedelta

from fovea_api.contract import names
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.reconcile import cleanup, progress, report, retry
from fovea_operator.reconcile.decision import Decision
from fovea_operator.reconcile.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.view import SLACK, View, ended, trainer_ended

PATIENCE = timedelta(seconds=10)
"""Many of them end by themselves soon after the program."""


def alive(pod: PodRecord) -> tuple[str, ...]:
    """Names of those that have not ended."""
    return tuple(name for name in pod.foreign if pod.containers.get(name, ContainerRecord()).exit_code is None)


def due(pod: PodRecord) -> datetime | None:
    """When the pod is told to end because of them; None: not at all."""
    finished = trainer_ended(pod)
    return finished + PATIENCE if finished and not ended(pod) and not pod.deleting and alive(pod) else None


def end_pod(view: View) -> Decision | None:
    """End the pod whose program has ended and in which others live on."""
    pod = view.pod
    if pod is None or ended(pod):
        return None
    time = due(pod)
    if not view.ending_pod and (time is None or view.now < time):
        return None
    code = pod.containers.get(names.TRAINER_CONTAINER, ContainerRecord()).exit_code
    which = ", ".join(pod.foreign) or "of others"
    message = (
        f"The program ended with exit code {code}; what it wrote is being published. Fovea did not add container {which} to "
        f"pod {pod.name}, and it had not ended: so the pod is told to end."
    )
    new = report.status(
        view,
        JobState.RUNNING,
        JobReason.ENDING_POD,
        message,
        running=True,
        attempts=view.attempts(view.attempt),
        next_attempt_time=None,
        start_time=retry.start_time(view),
        **progress.fields(view.observed.progress),
    )
    return report.decision(
        view,
        new,
        # With the pod's own grace period: the sidecar publishes in it.
        deletions=() if pod.deleting else (cleanup.deletion(pod),),
        requeue_at=pod.deletion_deadline + SLACK if pod.deletion_deadline else None,
    )
