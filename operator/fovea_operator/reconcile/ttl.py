"""ttlSecondsAfterFinished: the job is deleted; its model and output stay."""

from datetime import datetime, timedelta

from fovea_api.v1alpha1 import TrainingJob

from fovea_operator.reconcile import times
from fovea_operator.reconcile.decision import Deletion


def expires_at(job: TrainingJob) -> datetime | None:
    """When an ended job is to be deleted; None: never."""
    seconds = job.spec.run_policy.ttl_seconds_after_finished
    end = times.parse(job.status.end_time)
    return None if seconds is None or end is None else end + timedelta(seconds=seconds)


def deletion(job: TrainingJob) -> Deletion:
    """The job's deletion."""
    return Deletion(job.kind, job.metadata.namespace, job.metadata.name, job.metadata.uid)
