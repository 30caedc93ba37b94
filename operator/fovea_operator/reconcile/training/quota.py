"""A job in a queue of Kueue: its Workload, when it has quota, and how it gives quota back.

Fovea writes the Workload, Kueue grants it quota, and only then the job has pods. When Kueue takes the quota back (Evicted), the
pods save a checkpoint and end; then Fovea gives the quota back, and Kueue grants it again when it is the job's turn. Kueue does
not touch the job or its pods: its setting integrations.externalFrameworks names TrainingJob.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason

from fovea_operator.desired.gang import workload
from fovea_operator.desired.members import roles_of
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import WORKLOAD, Child, Deletion, Write
from fovea_operator.reconcile.shared.observed import WorkloadRecord
from fovea_operator.reconcile.shared.pods import alive, trainer_started
from fovea_operator.reconcile.training.preparation import Additions, Manifest, Preparation, Wait
from fovea_operator.reconcile.training.view import View

Condition = Mapping[str, Any]

_ADMITTED, _RESERVED, _EVICTED = "Admitted", "QuotaReserved", "Evicted"
_NOT_READY = "Not all pods are ready or succeeded"
_FINISHED, _PODS_READY, _REQUEUED = "Finished", "PodsReady", "Requeued"
_BACK_IN_THE_QUEUE = ("Preempted", "NodeFailures")
"""Reasons of an eviction after which a Workload queues again at once; after others Kueue itself says when."""
_MAX_MESSAGE = 1024
_EXACT, _TENS = 20, 200


def queue_of(view: View) -> str:
    """Name of the job's queue; empty without one."""
    scheduling = view.spec.scheduling
    return (scheduling.queue if scheduling else None) or ""


def rounded(position: int) -> int:
    """A place in a queue as a status has it: a job far from its turn costs no write at each step."""
    if position <= _EXACT:
        return position
    step = 10 if position <= _TENS else 100
    return -(-position // step) * step


def prepare(view: View, templates: Callable[[], Mapping[str, Manifest]]) -> Preparation:
    """The Workload of a job, what its pods get from it, or why they have to wait for it."""
    queue = queue_of(view)
    if not queue:
        return Preparation()
    if WORKLOAD not in view.observed.served:
        message = (
            f"spec.scheduling.queue is {queue!r}, and this cluster has no Kueue that Fovea can use ({WORKLOAD.api_version}): install Kueue, "
            "or submit the job without scheduling.queue."
        )
        return Preparation(wait=Wait(JobReason.QUEUE_MISSING, message))
    priority = view.spec.scheduling.priority if view.spec.scheduling else None
    if priority is not None and priority not in view.observed.priorities:
        message = (
            f"spec.scheduling.priority is {priority!r}, and there is no WorkloadPriorityClass of this name; there are: "
            f"{', '.join(sorted(view.observed.priorities)[:20]) or 'none'}."
        )
        return Preparation(wait=Wait(JobReason.QUEUE_MISSING, message))
    record = view.observed.workload
    if record is None or record.condition(_RESERVED) is None:
        # Kueue takes changes until it has reserved quota: a machine type may be edited while the job waits.
        counts = {role: pods.count for role, pods in roles_of(view.job).items()}
        value = view.observed.priorities.get(priority) if priority else None
        pods = {role: (pod, counts[role]) for role, pod in templates().items()}
        wanted = Child(Write.APPLY, workload(view.job, pods, value))
        return Preparation(children=(wanted,), wait=_waiting(view, record))
    admitted = record.condition(_ADMITTED) is not None and record.condition(_FINISHED) is None
    if not admitted or eviction(view) is not None or record.deleting:
        return Preparation(wait=_waiting(view, record))
    return _admitted(view, record)


def _waiting(view: View, record: WorkloadRecord | None) -> Wait:
    queue = queue_of(view)
    said = _said(record)
    place = f" Place {view.observed.queue_position} in the queue." if view.observed.queue_position else ""
    evicted = record.condition(_EVICTED) if record else None
    if evicted is not None:
        why = str(evicted.get("message") or evicted.get("reason")).rstrip(".")
        message = f"Queue {queue} took the job's quota back: {why}. The job goes on from its newest checkpoint when it has quota again."
        if said and said.rstrip(".") != why:
            message += f" {said}"
        return Wait(JobReason.QUEUE_STOPPED_JOB, message + place)
    message = f"Waiting for quota of queue {queue}. {said or 'Kueue has not answered yet.'}"
    return Wait(JobReason.WAITING_FOR_QUOTA, message + place)


def _said(record: WorkloadRecord | None) -> str:
    """Why Kueue has not admitted the Workload, as a sentence; empty while it says nothing."""
    if record is not None and record.condition(_FINISHED) is not None:
        return f"Somebody has marked Workload {record.name} as finished: delete it, and Fovea makes another one."
    for condition in record.conditions if record else ():
        if condition["type"] in (_RESERVED, _ADMITTED) and condition["status"] != "True" and condition.get("message"):
            return str(condition["message"]).rstrip(".") + "."
    if record is not None and record.condition(_RESERVED) is not None:
        return "Quota is reserved; admission checks have not ended."
    return ""


def _admitted(view: View, record: WorkloadRecord) -> Preparation:
    """What the flavors and checks of an admission bring to the pods of each role."""
    additions: dict[str, tuple[Additions, ...]] = {}
    for role, flavors in (record.flavors or {}).items():
        missing = [name for name in flavors if name not in view.observed.flavors]
        if missing:
            message = f"Kueue admitted the job to ResourceFlavor {missing[0]!r}, which does not exist or which Fovea may not read."
            return Preparation(wait=Wait(JobReason.QUEUE_MISSING, message))
        found = [view.observed.flavors[name] for name in flavors]
        additions[role] = tuple(
            Additions(spec={"nodeSelector": dict(each.node_labels), "tolerations": list(each.tolerations)})
            for each in found
        )
    for role, updates in record.updates.items():
        additions[role] = additions.get(role, ()) + tuple(
            Additions(
                labels=each.labels,
                annotations=each.annotations,
                spec={"nodeSelector": dict(each.node_selector), "tolerations": list(each.tolerations)},
            )
            for each in updates
        )
    return Preparation(additions={role: tuple(map(_plain, found)) for role, found in additions.items()})


def _plain(more: Additions) -> Additions:
    """Without fields that add nothing: a pod would differ from one without a queue."""
    return Additions(more.labels, more.annotations, {name: value for name, value in more.spec.items() if value})


def eviction(view: View) -> Condition | None:
    """Why the quota that the job holds is taken back; None: it is not, or the job holds none."""
    record = view.observed.workload
    if record is None or record.condition(_RESERVED) is None or record.condition(_FINISHED) is not None:
        return None
    return record.condition(_EVICTED)


def release(view: View) -> tuple[Child, ...]:
    """Give the quota back: no pod of the job runs any more."""
    record, evicted = view.observed.workload, eviction(view)
    if record is None or evicted is None:
        return ()
    reason, message = str(evicted.get("reason") or "Evicted"), str(evicted.get("message") or "")
    again = "True" if reason in _BACK_IN_THE_QUEUE else "False"
    changed = _with(
        view,
        record,
        (_RESERVED, "False", "Pending", message),
        (_ADMITTED, "False", "NoReservation", "The workload has no reservation"),
        (_REQUEUED, again, reason, message),
        *(((_PODS_READY, "False", "WaitForStart", _NOT_READY),) if record.condition(_PODS_READY) else ()),
    )
    return (_patch(record, {"admission": None, "conditions": changed}),)


def finish(view: View) -> tuple[Child, ...]:
    """Tell the queue that the job has ended, once none of its pods runs: the quota is free then."""
    record = view.observed.workload
    if (
        record is None
        or record.deleting
        or record.condition(_FINISHED) is not None
        or alive(view.observed.pods, view.now)
    ):
        return ()
    reason = "Succeeded" if view.status.state == JobState.SUCCEEDED else "Failed"
    return (
        _patch(record, {"conditions": _with(view, record, (_FINISHED, "True", reason, view.status.message or ""))}),
    )


def tell_whether_pods_run(view: View) -> tuple[Child, ...]:
    """Tell the queue when all pods of the job run, and when one of them does not any more.

    Where Kueue is set so, it takes the quota of jobs back whose pods do not start in time, or do not come back in time.
    """
    record = view.observed.workload
    if record is None or record.condition(_ADMITTED) is None:
        return ()
    run = all(each.done or (each.pod is not None and trainer_started(each.pod)) for each in view.pods.needed)
    if run == (record.condition(_PODS_READY) is not None):
        return ()
    said = (_PODS_READY, "False", "WaitForRecovery", _NOT_READY)
    if run:
        said = (_PODS_READY, "True", "Started", "All pods reached readiness and the workload is running")
    return (_patch(record, {"conditions": _with(view, record, said)}),)


def leave(view: View) -> tuple[Deletion, ...]:
    """Leave the queue: a suspended job keeps no quota and no place."""
    record = view.observed.workload
    if record is None or record.deleting:
        return ()
    return (Deletion(WORKLOAD, record.namespace, record.name, record.uid),)


def _with(view: View, record: WorkloadRecord, *changes: tuple[str, str, str, str]) -> list[dict[str, Any]]:
    """The conditions of a Workload with these (type, status, reason, message) changed."""
    held = {one["type"]: dict(one) for one in record.conditions}
    for kind, status, reason, message in changes:
        before = held.get(kind, {})
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        held[kind] = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message[:_MAX_MESSAGE],
            "lastTransitionTime": since or times.text(view.now),
            "observedGeneration": record.generation,
        }
    return list(held.values())


def _patch(record: WorkloadRecord, status: Mapping[str, Any]) -> Child:
    metadata = {"name": record.name, "namespace": record.namespace, "resourceVersion": str(record.version)}
    manifest = {**WORKLOAD._asdict(), "metadata": metadata, "status": dict(status)}
    manifest["apiVersion"] = manifest.pop("api_version")
    return Child(Write.STATUS, manifest)
