"""How a job ended that is deleted: by the Event of its end, which outlives it for an hour.

The operator marks that Event with the state: a reason would not do, since some reasons are those of jobs that go on
(`Cancelled` when cancelling begins), and others come from a kubelet. A name can be used again: only the uid says that
an Event belongs to this job.
"""

from dataclasses import dataclass
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.training_job import KIND

from .api_errors import Target
from .cluster import Cluster
from .errors import FoveaError, JobGoneError, NotFoundError
from .resources import core_path

_STATES = {state.value: state for state in JobState if state.ended}


@dataclass(frozen=True)
class _End:
    address: str
    state: JobState
    when: str
    reason: str

    def __str__(self) -> str:
        return f"{self.state} at {self.when} ({self.reason})"


def of_uid(cluster: Cluster, namespace: str, name: str, uid: str, *, successor: str = "") -> NotFoundError:
    """The error for this very job, which is not there any more: JobGoneError where it is known how it ended.

    `successor` is the uid of the job that has its name now.
    """
    end = _newest(cluster, namespace, name, f"involvedObject.uid={uid}")
    if end is not None:
        return JobGoneError(
            f"job {name} in namespace {namespace} is deleted: it {end}. "
            f"What it published stays: `fovea jobs download {end.address} -n {namespace}`",
            end.state,
        )
    other = f"; the job of that name is another one ({name}@{successor})" if successor else ""
    return NotFoundError(
        f"job {name}@{uid} in namespace {namespace} is not there any more, and no Event says how it ended{other}. "
        f"`fovea jobs download {name}@{uid} -n {namespace}` brings what it published"
    )


def of_name(cluster: Cluster, namespace: str, name: str, missing: NotFoundError) -> NotFoundError:
    """The error for a job of which the name alone is known: what a deleted one of that name did proves nothing of it."""
    end = _newest(cluster, namespace, name, f"involvedObject.name={name}")
    if end is None:
        return missing
    return NotFoundError(
        f"{missing}. A deleted job of that name {end}. If it is the one that you mean: `fovea jobs wait {end.address} "
        f"-n {namespace}` ends as it did, and `fovea jobs download {end.address} -n {namespace}` brings what it published"
    )


def _newest(cluster: Cluster, namespace: str, name: str, of: str) -> _End | None:
    about = Target("list", "events", "events", namespace, ours=False)
    query = {"fieldSelector": f"involvedObject.kind={KIND.kind},{of}"}
    try:
        events = cluster.get(about, core_path(namespace, "events"), query).get("items", [])
    except FoveaError:
        return None  # The question was about the job, and that it is not there is the answer.
    ends = [event for event in events if _state(event)]
    last = max(ends, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)
    if last is None:
        return None
    uid = str(last.get("involvedObject", {}).get("uid", ""))
    return _End(f"{name}@{uid}", _STATES[_state(last)], str(last.get("lastTimestamp")), str(last.get("reason")))


def _state(event: dict[str, Any]) -> str:
    """The state in which the Event says that its job ended; empty where it says no such thing."""
    said = str((event.get("metadata", {}).get("labels") or {}).get(labels.ENDED_AS, ""))
    return said if said in _STATES else ""
