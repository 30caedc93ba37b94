"""runPolicy.maxRunningSeconds while no operator leads: the kubelets know the deadline, and hold it by themselves (ADR 216).

An operator that leads ends the job at its deadline. Should none lead then, each kubelet stops its pod at most two seconds later:
it looks every second, and counts from when it took the pod. When that was is known only once the pod has a node, and how long the
program may run only once it has started, so the pods get their deadline when both are known.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from fovea_api.contract import labels

from fovea_operator.reconcile.shared.decision import POD, Child, Write
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.training import run_policy
from fovea_operator.reconcile.training.answer import Answer, Ends
from fovea_operator.reconcile.training.view import View, is_over


def told_to_kubelets(view: View, answer: Answer) -> Answer:
    """The answer, and the deadline for each pod that goes on and has none yet, or a later one."""
    if isinstance(answer, Ends) or is_over(view.status):
        return answer
    deadline = run_policy.running_deadline(view)
    if deadline is None:
        return answer
    ending = {each.name for each in answer.deletions}
    going_on = (pod for pod in view.pods.alive(view.now) if not pod.deleting and pod.name not in ending)
    # Before all else: what a quota refuses must not keep a deadline from the pods that run.
    return replace(answer, children=(*_writes(going_on, deadline), *answer.children))


def _writes(pods: Iterator[PodRecord], deadline: datetime) -> Iterator[Child]:
    for pod in pods:
        if pod.active_since is None:
            continue
        # Whole seconds, rounded up: the kubelet is never earlier than the operator. Kubernetes takes no 0.
        seconds = max(1, math.ceil((deadline - pod.active_since).total_seconds()))
        if pod.active_deadline is None or (pod.active_deadline - pod.active_since).total_seconds() > seconds:
            yield Child(Write.PATCH, _patch(pod, seconds), is_optional=True)


def _patch(pod: PodRecord, seconds: int) -> dict[str, Any]:
    metadata = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid}
    return {
        "apiVersion": POD.api_version,
        "kind": POD.kind,
        "metadata": {**metadata, "annotations": {labels.POD_DEADLINE: str(seconds)}},
        "spec": {"activeDeadlineSeconds": seconds},
    }
