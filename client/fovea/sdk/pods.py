"""The pods of a job or of a batch prediction as the client shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import TrainingJob
from fovea_api.v1alpha1.roles import pods_by_role

from .api_errors import Target
from .cluster import Cluster
from .resources import core_path

CONTAINERS = (names.TRAINER_CONTAINER, names.FETCH_CONTAINER, names.SYNC_CONTAINER)
"""Containers of a member of a job."""
WORKER_CONTAINERS = (names.PREDICT_CONTAINER, names.BATCH_CONTAINER, names.FETCH_MODEL_CONTAINER)
"""Containers of a worker of a prediction."""
_WORKER = "worker"


def tasks(job: TrainingJob) -> tuple[str, ...]:
    """Members of a job by role and index, the chief first."""
    spec = job.spec
    roles = pods_by_role(spec.distribution, spec.scale_tier, spec.roles)
    return tuple(f"{role}-{index}" for role, pods in roles.items() for index in range(pods.count))


@dataclass(frozen=True)
class ContainerState:
    """Where a container stands: waiting, running or terminated; the reason and, when it ended, the exit code."""

    state: str
    reason: str = ""
    message: str = ""
    exit_code: int | None = None

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> "ContainerState":
        """From an entry of containerStatuses."""
        for state in ("running", "terminated", "waiting"):
            detail = status.get("state", {}).get(state)
            if detail is not None:
                code = detail.get("exitCode")
                return cls(state, str(detail.get("reason", "")), str(detail.get("message", "")), code)
        return cls("waiting")


@dataclass(frozen=True)
class Pod:
    """One attempt of one member of a job, or of one worker of a prediction."""

    name: str
    role: str
    index: int
    attempt: int
    phase: str
    node: str
    created: str
    containers: Mapping[str, ContainerState]

    @property
    def task(self) -> str:
        """Role and index, for example chief-0."""
        return f"{self.role}-{self.index}"

    @property
    def summary(self) -> str:
        """The phase, and what the trainer or a container that holds it up says."""
        trainer = self.containers.get(names.TRAINER_CONTAINER)
        if trainer and trainer.state == "terminated":
            return f"{self.phase} (exit code {trainer.exit_code})"
        held = [c for c in self.containers.values() if c.state == "waiting" and c.reason not in ("", "PodInitializing")]
        return f"{self.phase} ({held[0].reason})" if held else self.phase

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Pod":
        """From a pod's JSON."""
        metadata, status = document.get("metadata", {}), document.get("status", {})
        marks = metadata.get("labels", {})
        statuses = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        return cls(
            name=metadata.get("name", ""),
            role=marks.get(labels.ROLE, names.ROLE_CHIEF),
            index=int(marks.get(labels.INDEX, 0)),
            attempt=int(marks.get(labels.ATTEMPT, 0)),
            phase=status.get("phase", "Pending"),
            node=document.get("spec", {}).get("nodeName", ""),
            created=metadata.get("creationTimestamp", ""),
            containers={entry["name"]: ContainerState.read(entry) for entry in statuses},
        )


def of_job(cluster: Cluster, namespace: str, job: str, uid: str = "") -> list[Pod]:
    """The job's pods, oldest attempt first; with `uid` without those of an earlier job of the same name."""
    target = Target("list", f"pods of job {job}", "pods", namespace, ours=False)
    query = {"labelSelector": f"{labels.JOB}={job}"}
    items = cluster.get(target, core_path(namespace, "pods"), query).get("items", [])
    pods = [Pod.read(item) for item in items if _owned(item, uid)]
    return sorted(pods, key=lambda pod: (pod.role, pod.index, pod.attempt))


def of_prediction(cluster: Cluster, namespace: str, prediction: str, uid: str) -> list[Pod]:
    """The workers of the very prediction with that uid, oldest attempt first."""
    target = Target("list", f"pods of prediction {prediction}", "pods", namespace, ours=False)
    query = {"labelSelector": f"{labels.BATCH_PREDICTION}={prediction},{labels.BATCH_PREDICTION_UID}={uid}"}
    items = cluster.get(target, core_path(namespace, "pods"), query).get("items", [])
    return sorted(map(_worker, items), key=lambda pod: (pod.index, pod.attempt, pod.created))


def _worker(document: Mapping[str, Any]) -> Pod:
    metadata = document.get("metadata", {})
    index = metadata.get("labels", {}).get(labels.COMPLETION_INDEX, 0)
    attempt = metadata.get("annotations", {}).get(labels.INDEX_FAILURES, 0)
    return replace(Pod.read(document), role=_WORKER, index=int(index), attempt=int(attempt))


def workers(count: int) -> tuple[str, ...]:
    """Tasks of a prediction with so many workers."""
    return tuple(f"{_WORKER}-{index}" for index in range(count))


def _owned(document: Mapping[str, Any], uid: str) -> bool:
    owners = document.get("metadata", {}).get("ownerReferences") or []
    return not uid or not owners or any(owner.get("uid") == uid for owner in owners)
