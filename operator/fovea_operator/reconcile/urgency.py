"""Which jobs are looked at before others when there are more than can be looked at at once."""

from collections.abc import Collection

from fovea_api.v1alpha1 import TrainingJob

from fovea_operator.reconcile.observed import PodRecord
from fovea_operator.reconcile.view import attempt_of, ended, is_over


def of_job(job: TrainingJob, pods: Collection[PodRecord]) -> bool:
    """Whether the next decision makes the job's first pod, or says how its pod ended.

    Everything else either bears a delay, or is outdated by the end that comes after it.
    """
    if job.metadata.deletion_timestamp is not None or is_over(job.status):
        return False
    if not pods:
        return job.status.state is None
    newest = max(pods, key=lambda pod: attempt_of(pod) or 0)
    return ended(newest) and job.status.next_attempt_time is None
