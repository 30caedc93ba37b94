"""Which pods go: those still running when their job has ended, all of them if the policy says so, and old attempts'."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from fovea_operator.reconcile.decision import Deletion
from fovea_operator.reconcile.observed import PodRecord
from fovea_operator.reconcile.view import View, attempt_of, ended

KEPT_ATTEMPTS = 3
"""Pods of failed attempts kept for their logs while the job goes on; older ones go, unless cleanPodPolicy is None."""


def deletion(pod: PodRecord, grace_seconds: int | None = None) -> Deletion:
    """One pod's deletion."""
    return Deletion("Pod", pod.namespace, pod.name, pod.uid, grace_seconds)


def stop(pods: Iterable[PodRecord], now: datetime, grace_seconds: int) -> tuple[Deletion, ...]:
    """Delete what runs. One that is ending already is hurried when its grace period is longer than this."""
    return tuple(
        deletion(pod, grace_seconds)
        for pod in pods
        if not ended(pod) and (not pod.deleting or _has_longer(pod, now, grace_seconds))
    )


def remove(pods: Iterable[PodRecord], now: datetime, grace_seconds: int) -> tuple[Deletion, ...]:
    """Delete all of them, those that run with this grace period."""
    known = tuple(pods)
    return stop(known, now, grace_seconds) + tuple(deletion(pod) for pod in known if ended(pod) and not pod.deleting)


def _has_longer(pod: PodRecord, now: datetime, grace_seconds: int) -> bool:
    if pod.deletion_deadline is None:
        return False
    # A margin, so that our own deletion is not repeated when the clocks differ a little.
    return (pod.deletion_deadline - now).total_seconds() > grace_seconds + 5


def at_end(view: View) -> tuple[Deletion, ...]:
    """Pods to delete once the job has ended (and its status says so)."""
    # Whatever the policy, nothing may go on running for a job that has ended: a deadline would be none.
    clean = remove if view.spec.run_policy.clean_pod_policy == "All" else stop
    return clean(view.observed.pods, view.now, view.settings.cancel_grace_seconds)


def of_earlier_attempts(view: View, recorded_attempt: int) -> tuple[Deletion, ...]:
    """Pods of attempts before the one that the status records: running ones stop, all but the last failed ones go."""
    old = [pod for pod in view.earlier if (attempt := attempt_of(pod)) is not None and attempt < recorded_attempt]
    stopped = tuple(deletion(pod) for pod in old if not ended(pod) and not pod.deleting)
    if view.spec.run_policy.clean_pod_policy == "None":
        return stopped
    return stopped + tuple(_surplus(old))


def _surplus(pods: Iterable[PodRecord]) -> Iterator[Deletion]:
    failed = sorted((pod for pod in pods if ended(pod)), key=lambda pod: attempt_of(pod) or 0)
    for pod in failed[:-KEPT_ATTEMPTS]:
        if not pod.deleting:
            yield deletion(pod)
