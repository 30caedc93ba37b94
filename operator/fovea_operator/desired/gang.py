"""Workload and PodGroup: by which a job waits in a queue, and by which its pods get their nodes together."""

from collections.abc import Mapping
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import TrainingJob

from fovea_operator.desired import owner

Manifest = Mapping[str, Any]

_OF_TEMPLATE = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "runtimeClassName",
    "priorityClassName",
    "restartPolicy",
)
"""Fields of a pod that a queue compares with what it has."""


def workload(job: TrainingJob, pods: Mapping[str, tuple[Manifest, int]], priority: int | None) -> dict[str, Any]:
    """The Workload of a job; `pods`: one pod of each role, and how many there are of it. `priority`: value of its class."""
    scheduling = job.spec.scheduling
    spec: dict[str, Any] = {
        "podSets": [
            {"name": role, "count": count, "template": {"spec": _template(pod["spec"])}}
            for role, (pod, count) in pods.items()
        ]
    }
    if scheduling is not None and scheduling.queue is not None:
        spec["queueName"] = scheduling.queue
    if scheduling is not None and scheduling.priority is not None:
        spec["priorityClassRef"] = {
            "group": "kueue.x-k8s.io",
            "kind": "WorkloadPriorityClass",
            "name": scheduling.priority,
        }
        spec["priority"] = priority or 0
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": _metadata(job, names.workload(job.metadata.name)),
        "spec": spec,
    }


def _template(spec: Manifest) -> dict[str, Any]:
    kept = {field: spec[field] for field in _OF_TEMPLATE if field in spec}
    for field in ("initContainers", "containers"):
        kept[field] = [
            {part: one[part] for part in ("name", "image", "resources", "restartPolicy") if part in one}
            for one in spec[field]
        ]
    return kept


def pod_group(job: TrainingJob, count: int, _seconds: int) -> dict[str, Any]:
    """Kubernetes' own PodGroup for this number of pods."""
    return {
        "apiVersion": "scheduling.k8s.io/v1alpha2",
        "kind": "PodGroup",
        "metadata": _metadata(job, names.pod_group(job.metadata.name)),
        "spec": {"schedulingPolicy": {"gang": {"minCount": count}}},
    }


def coscheduling_pod_group(job: TrainingJob, count: int, seconds: int) -> dict[str, Any]:
    """The PodGroup of the scheduler plugins; its pods give their nodes back after this number of seconds."""
    return {
        "apiVersion": "scheduling.x-k8s.io/v1alpha1",
        "kind": "PodGroup",
        "metadata": _metadata(job, names.pod_group(job.metadata.name)),
        "spec": {"minMember": count, "scheduleTimeoutSeconds": seconds},
    }


def volcano_pod_group(job: TrainingJob, count: int, _seconds: int) -> dict[str, Any]:
    """Volcano's PodGroup."""
    return {
        "apiVersion": "scheduling.volcano.sh/v1beta1",
        "kind": "PodGroup",
        "metadata": _metadata(job, names.pod_group(job.metadata.name)),
        "spec": {"minMember": count},
    }


def _metadata(job: TrainingJob, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": labels.of_job(job.metadata.name),
        "ownerReferences": [owner.reference(job)],
    }
