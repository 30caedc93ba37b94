"""What kubelets know of a job's deadline in played histories, and how they stop pods at it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fovea_api.contract import labels, names
from fovea_operator.reconcile.shared.decision import Child, Write
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.pods import ended

STOPPED = 143
"""Exit code of a program that ends at SIGTERM."""
LATE = timedelta(seconds=2)
"""So much later than at the deadline a kubelet has stopped a program that ends at SIGTERM."""


def told(pod: PodRecord, children: Iterable[Child]) -> PodRecord:
    """The pod after the writes of a decision."""
    for child in children:
        manifest = child.manifest
        if child.write is Write.PATCH and manifest["metadata"]["uid"] == pod.uid:
            pod = with_deadline(pod, manifest)
    return pod


def with_deadline(pod: PodRecord, patch: dict[str, Any]) -> PodRecord:
    """The pod after a write, as the API server takes it: a deadline is set or lowered, and never raised."""
    seconds = patch["spec"]["activeDeadlineSeconds"]
    assert patch["metadata"]["annotations"] == {labels.POD_DEADLINE: str(seconds)}
    assert pod.active_since is not None, "a kubelet counts from when it took the pod"
    deadline = pod.active_since + timedelta(seconds=seconds)
    assert pod.active_deadline is None or deadline < pod.active_deadline, "a write that changes nothing, or is refused"
    return replace(pod, active_deadline=deadline, deadline_is_own=True)


def stopped(pod: PodRecord, now: datetime, code: int = STOPPED) -> PodRecord:
    """The pod after its kubelet has looked at its deadline: the same, or ended by it, the program with that exit code."""
    if ended(pod) or pod.active_deadline is None or now < pod.active_deadline:
        return pod
    containers = dict(pod.containers)
    program = containers.get(names.TRAINER_CONTAINER)
    if program is not None and program.exit_code is None:
        containers[names.TRAINER_CONTAINER] = ContainerRecord(
            exit_code=code,
            terminated_reason="Error",
            started=program.running_since,
            finished=min(now, pod.active_deadline + LATE),
        )
    return replace(pod, phase="Failed", reason="DeadlineExceeded", ready=False, containers=containers)
