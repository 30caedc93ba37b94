"""Pods of deleted jobs of the same name: they are waited for while they end, and never block a name."""

from collections.abc import Sequence
from datetime import datetime

from fovea_api.contract import names

from fovea_operator.reconcile import times
from fovea_operator.reconcile.observed import PodRecord
from fovea_operator.reconcile.view import CHIEF, SLACK, View, ended, lost


def ending(view: View) -> tuple[PodRecord, ...]:
    """Those whose programs may still run; one whose node does not answer is not waited for."""
    return tuple(pod for pod in view.observed.predecessors if not ended(pod) and not lost(pod, view.now))


def lost_at(pods: Sequence[PodRecord]) -> datetime | None:
    """When the first of them counts as lost."""
    deadline = times.earliest(*(pod.deletion_deadline for pod in pods))
    return deadline + SLACK if deadline else None


def free_attempt(view: View) -> int:
    """The current attempt, or the first one after it whose pod's name is not taken."""
    taken = {pod.name for pod in view.observed.predecessors}
    attempt = view.attempt
    while names.training_pod(view.job.metadata.name, CHIEF.role, CHIEF.index, attempt) in taken:
        attempt += 1
    return attempt


def message(pods: Sequence[PodRecord]) -> str:
    """What a job says that waits for them."""
    which = " and ".join(sorted(pod.name for pod in pods))
    begins = max((pod.deletion_deadline for pod in pods if pod.deletion_deadline), default=None)
    until = (
        f" If its node does not answer, this job begins without it at {times.text(begins + SLACK)}." if begins else ""
    )
    return f"Waiting for pod {which} of the deleted job of this name to end.{until}"
