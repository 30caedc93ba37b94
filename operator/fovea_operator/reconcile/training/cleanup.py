"""What goes, and when: pods of ended jobs, of earlier attempts and of deleted namesakes, and the job itself at its TTL."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from fovea_api.contract import names
from fovea_api.v1alpha1 import TrainingJob

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import POD, TRAINING_JOB, Deletion
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import SLACK, MemberPods, alive, attempt_of, ended
from fovea_operator.reconcile.training.view import View

KEPT_ATTEMPTS = 3
"""Pods of failed attempts kept for their logs while the job goes on; older ones go, unless cleanPodPolicy is None."""


def deletion(pod: PodRecord, grace_seconds: int | None = None) -> Deletion:
    """One pod's deletion."""
    return Deletion(POD, pod.namespace, pod.name, pod.uid, grace_seconds)


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
    return stop(known, now, grace_seconds) + tuple(deletion(pod) for pod in known if _is_left(pod))


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


def of_earlier_attempts(view: View, recorded: Mapping[str, int]) -> tuple[Deletion, ...]:
    """Pods of attempts before those that the status records: running ones stop, all but the last failed ones go."""
    return tuple(gone for each in view.pods for gone in _of_member(view, each, recorded.get(each.member.key, 0)))


def _of_member(view: View, each: MemberPods, recorded: int) -> tuple[Deletion, ...]:
    old = [pod for pod in each.earlier if (attempt := attempt_of(pod)) is not None and attempt < recorded]
    # The pod of this attempt runs on where another member failed and all begin the next one.
    current = [each.pod] if each.pod is not None and each.attempt < recorded else []
    stopped = tuple(deletion(pod) for pod in (*old, *current) if not ended(pod) and not pod.deleting)
    if view.spec.run_policy.clean_pod_policy == "None":
        return stopped
    return stopped + tuple(_surplus(old))


def _surplus(pods: Iterable[PodRecord]) -> Iterator[Deletion]:
    failed = sorted((pod for pod in pods if ended(pod)), key=lambda pod: attempt_of(pod) or 0)
    for pod in failed[:-KEPT_ATTEMPTS]:
        if _is_left(pod):
            yield deletion(pod)


def _is_left(pod: PodRecord) -> bool:
    """Whether an ended pod is there, and would stay."""
    return ended(pod) and not pod.deleting and not pod.gone


def predecessors_ending(view: View) -> tuple[PodRecord, ...]:
    """Those whose programs may still run; one whose node does not answer is not waited for."""
    return alive(view.observed.predecessors, view.now)


def predecessors_lost_at(pods: Sequence[PodRecord]) -> datetime | None:
    """When the first of them counts as lost."""
    deadline = times.earliest(*(pod.deletion_deadline for pod in pods))
    return deadline + SLACK if deadline else None


def free_attempt(view: View, each: MemberPods) -> int:
    """The current attempt of a member, or the first one after it whose pod's name is not taken."""
    taken = {pod.name for pod in view.observed.predecessors}
    attempt = each.attempt
    while names.training_pod(view.job.metadata.name, each.member.role, each.member.index, attempt) in taken:
        attempt += 1
    return attempt


def predecessors_message(pods: Sequence[PodRecord]) -> str:
    """What a job says that waits for them."""
    which = " and ".join(sorted(pod.name for pod in pods))
    begins = max((pod.deletion_deadline for pod in pods if pod.deletion_deadline), default=None)
    until = (
        f" If its node does not answer, this job begins without it at {times.text(begins + SLACK)}." if begins else ""
    )
    return f"Waiting for pod {which} of the deleted job of this name to end.{until}"


def expires_at(job: TrainingJob, ttl_seconds: float | None) -> datetime | None:
    """When an ended job is to be deleted; None: never. `ttl_seconds` holds where its spec says nothing."""
    own = job.spec.run_policy.ttl_seconds_after_finished
    seconds = ttl_seconds if own is None else own
    end = times.parse(job.status.end_time)
    return None if seconds is None or end is None else end + timedelta(seconds=seconds)


def of_job(job: TrainingJob) -> Deletion:
    """The job's deletion."""
    return Deletion(TRAINING_JOB, job.metadata.namespace, job.metadata.name, job.metadata.uid)
