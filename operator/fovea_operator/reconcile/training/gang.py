"""Pods that get their nodes together or not at all: the PodGroup of the scheduler that is there.

Without one, pods of two jobs may each hold half of the nodes for good. Then the deadline holds by which a job that is only partly
placed gives its nodes back (`giving_back`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import TrainingJob
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.scheduling import Scheduling

from fovea_operator.desired.gang import coscheduling_pod_group, pod_group, volcano_pod_group
from fovea_operator.reconcile.shared.decision import (
    COSCHEDULING_POD_GROUP,
    POD_GROUP,
    VOLCANO_POD_GROUP,
    Child,
    GroupVersionKind,
    Write,
)
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import ended
from fovea_operator.reconcile.training.preparation import Additions, Preparation, Wait
from fovea_operator.reconcile.training.view import View

TOGETHER = timedelta(seconds=60)
"""Pods that were made within this time were made together. A pod that replaces another one later does not make its gang incomplete."""


@dataclass(frozen=True)
class _Scheduler:
    """One API of gangs."""

    gvk: GroupVersionKind
    group: Callable[[TrainingJob, int, int], dict[str, Any]]
    """Its PodGroup, of a number of pods and the seconds that they may wait for each other."""
    mark: Callable[[str, str], Additions]
    """How a pod names its PodGroup, and the scheduler that the platform team set for this API."""
    name: Callable[[View], str] = lambda _view: ""
    """That scheduler."""


def _native(group: str, _scheduler: str) -> Additions:
    return Additions(spec={"schedulingGroup": {"podGroupName": group}})


def _coscheduling(group: str, scheduler: str) -> Additions:
    return Additions(labels={"scheduling.x-k8s.io/pod-group": group}, spec={"schedulerName": scheduler})


def _volcano(group: str, scheduler: str) -> Additions:
    return Additions(annotations={"scheduling.k8s.io/group-name": group}, spec={"schedulerName": scheduler})


_SCHEDULERS = (
    _Scheduler(POD_GROUP, pod_group, _native),
    _Scheduler(
        COSCHEDULING_POD_GROUP,
        coscheduling_pod_group,
        _coscheduling,
        lambda view: view.settings.coscheduling_scheduler,
    ),
    _Scheduler(VOLCANO_POD_GROUP, volcano_pod_group, _volcano, lambda view: view.settings.volcano_scheduler),
)
"""In the order of preference: what is Kubernetes' own comes first."""


def prepare(view: View) -> Preparation:
    """The PodGroup of a job and the mark of its pods, where a scheduler of gangs is there."""
    wanted, roles = _scheduling(view), [each.member.role for each in view.pods.needed]
    count = len(roles)
    if wanted.gang == "Never" or (wanted.gang == "Auto" and count == 1):
        return Preparation()
    scheduler = next((each for each in _SCHEDULERS if each.gvk in view.observed.served), None)
    if scheduler is None:
        return Preparation() if wanted.gang == "Auto" else Preparation(wait=_no_scheduler())
    if any(each.done for each in view.pods.needed):
        # All had their nodes together. A gang counts pods that are there, so one that is done would be waited for in vain.
        name = scheduler.name(view)
        return Preparation(additions=dict.fromkeys(roles, (Additions(spec={"schedulerName": name} if name else {}),)))
    group = Child(Write.CREATE, scheduler.group(view.job, count, wanted.gang_timeout_seconds))
    mark = scheduler.mark(names.pod_group(view.job.metadata.name), scheduler.name(view))
    return Preparation(children=(group,), additions=dict.fromkeys(roles, (mark,)))


def _no_scheduler() -> Wait:
    known = ", ".join(each.gvk.api_version for each in _SCHEDULERS)
    message = (
        f"spec.scheduling.gang is Always, and this cluster serves no PodGroup that Fovea knows and may use ({known}): install such a "
        "scheduler, or submit the job with scheduling.gang: Auto."
    )
    return Wait(JobReason.GANG_UNAVAILABLE, message)


def deadline(view: View) -> datetime | None:
    """When a job that is only partly placed gives its nodes back; None: all of its pods have nodes, or none has, or it never does."""
    wanted = _scheduling(view)
    pods = [pod for pod in _pods(view) if not ended(pod) and not pod.deleting]
    without = [pod.created for pod in pods if not pod.node]
    placed = [pod.created for pod in pods if pod.node]
    if wanted.gang == "Never" or not without or not placed or min(without) > min(placed) + TOGETHER:
        return None
    return min(without) + timedelta(seconds=wanted.gang_timeout_seconds)


def placed(view: View) -> Mapping[str, int]:
    """How many pods have a node, and how many there are."""
    return {"placed": sum(bool(pod.node) for pod in _pods(view)), "all": len(view.pods.needed)}


def _pods(view: View) -> list[PodRecord]:
    """Those of the gang; the evaluator starts when it can."""
    return [each.pod for each in view.pods.needed if each.pod is not None]


def _scheduling(view: View) -> Scheduling:
    return view.spec.scheduling or Scheduling()
