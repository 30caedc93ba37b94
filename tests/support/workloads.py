"""Workloads of Kueue as an operator may observe them."""

from collections.abc import Mapping
from typing import Any

from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.reconcile.shared.decision import WORKLOAD
from fovea_operator.reconcile.shared.observed import FlavorRecord, JobObserved, PodRecord, WorkloadRecord
from support.observations import observed

FLAVOR = FlavorRecord({"pool": "a100"}, ({"key": "gpu", "operator": "Exists"},))


def condition(kind: str, reason: str = "Whatever", message: str = "", *, true: bool = True) -> dict[str, Any]:
    """One condition."""
    return {
        "type": kind,
        "status": "True" if true else "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-21T10:00:20Z",
    }


RESERVED = condition("QuotaReserved", "QuotaReserved", "Quota reserved in ClusterQueue gpus")
ADMITTED = condition("Admitted", "Admitted", "The workload is admitted")
PREEMPTED = condition("Evicted", "Preempted", "Preempted to accommodate a workload of higher priority")


def workload(
    *conditions: Mapping[str, Any], flavors: Mapping[str, tuple[str, ...]] | None = None, **fields: Any
) -> WorkloadRecord:
    """The Workload of the job `digits`."""
    place: dict[str, Any] = {"namespace": "vision", "name": "trainingjob-digits", "uid": "workload-uid"}
    known = {**place, "version": 7, "generation": 1, "queue": "team-a"}
    return WorkloadRecord(**(known | fields), conditions=conditions, flavors=flavors)


def admitted(*more: Mapping[str, Any], **fields: Any) -> WorkloadRecord:
    """One that holds quota of the flavor `gpus`."""
    return workload(RESERVED, ADMITTED, *more, flavors={"chief": ("gpus",), "worker": ("gpus",)}, **fields)


def in_queue(job: TrainingJob, *pods: PodRecord, workload: WorkloadRecord | None = None, **seen: Any) -> JobObserved:
    """A job where Kueue is served."""
    known = {"served": frozenset({WORKLOAD}), "flavors": {"gpus": FLAVOR}, "priorities": {"high": 1000}}
    return observed(job, *pods, workload=workload, **(known | seen))
