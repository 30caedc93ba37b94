"""How a job ended that is deleted: by its Events, which outlive it for an hour."""

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job import KIND

from .api_errors import Target
from .cluster import Cluster
from .errors import FoveaError, JobGoneError
from .resources import core_path

_ENDS = {
    JobReason.PUBLISHED: JobState.SUCCEEDED,
    JobReason.ALREADY_COMPLETE: JobState.SUCCEEDED,
    JobReason.CANCELLED: JobState.CANCELLED,
    JobReason.PROGRAM_FAILED: JobState.FAILED,
    JobReason.BACKOFF_LIMIT_EXCEEDED: JobState.FAILED,
    JobReason.INPUT_MISSING: JobState.FAILED,
    JobReason.MAX_RUNNING_SECONDS: JobState.FAILED,
    JobReason.MAX_WAIT_SECONDS: JobState.FAILED,
    JobReason.OUTPUT_MISSING: JobState.FAILED,
}
"""Reasons of Events by which a job has ended, whatever came before."""


def of(cluster: Cluster, namespace: str, name: str) -> JobGoneError | None:
    """The error for a job that is not there any more; None where nothing tells how it ended, or may be read."""
    about = Target("list", "events", "events", namespace, ours=False)
    query = {"fieldSelector": f"involvedObject.kind={KIND.kind},involvedObject.name={name}"}
    try:
        events = cluster.get(about, core_path(namespace, "events"), query).get("items", [])
    except FoveaError:
        return None  # The question was about the job, and that it is not there is the answer.
    ends = [event for event in events if event.get("reason") in _ENDS]
    if not ends:
        return None
    last = max(ends, key=lambda event: str(event.get("lastTimestamp") or ""))
    state, when = _ENDS[JobReason(last["reason"])], last.get("lastTimestamp")
    uid = str(last.get("involvedObject", {}).get("uid", ""))
    return JobGoneError(
        f"job {name} in namespace {namespace} is deleted: it {state} at {when} ({last['reason']}). "
        f"What it published stays: `fovea jobs download {name}@{uid} -n {namespace}`",
        state,
    )
