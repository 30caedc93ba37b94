"""A pod that was told to end and has not: after a while it is said, with the container and the time of its end by force."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from fovea_api.contract import names

from fovea_operator.reconcile import times
from fovea_operator.reconcile.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.view import View, ended

PATIENCE = timedelta(seconds=30)
"""A program that handles SIGTERM has saved its checkpoint by then, or is about to."""


def due(pods: Iterable[PodRecord]) -> datetime | None:
    """When the first of the pods that are ending has taken so long that it is said."""
    return times.earliest(*(pod.told_to_end + PATIENCE for pod in pods if pod.told_to_end and not ended(pod)))


def wake(view: View, pods: Iterable[PodRecord]) -> datetime | None:
    """The same, as long as that time lies ahead."""
    time = due(pods)
    return time if time is not None and time > view.now else None


def sentence(view: View, pods: Iterable[PodRecord]) -> str:
    """Which pod takes long to end, and what becomes of it; empty before that."""
    for pod in pods:
        if not ended(pod) and pod.told_to_end and view.now >= pod.told_to_end + PATIENCE:
            return _of(view, pod)
    return ""


def _of(view: View, pod: PodRecord) -> str:
    until = times.text(pod.deletion_deadline) if pod.deletion_deadline else "the end of its grace period"
    trainer = pod.containers.get(names.TRAINER_CONTAINER, ContainerRecord())
    report = view.observed.progress
    if trainer.exit_code is not None or (report is not None and report.publishing):
        return f" The program has ended; what it left is being published, until {until} at the latest."
    if trainer.running_since is None:
        return f" What still runs in pod {pod.name} at {until} is killed."
    # The kubelet does not say which of a pod's containers have ended before all have.
    return (
        f" Pod {pod.name} is being deleted since {times.text(pod.told_to_end or view.now)} and has not ended: container "
        f"{names.TRAINER_CONTAINER} does not end at SIGTERM, or its files are still being published. What still runs at "
        f"{until} is killed. To end sooner, a program handles SIGTERM: see docs/how-to/own-program.md"
    )
