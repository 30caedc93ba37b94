"""Raw JSON of watch events and answers → slim records. Pure: bodies are dropped here, nothing else keeps them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from fovea_api.contract import environment, expansion, labels, names
from fovea_api.contract.plan import INPUT_PUBLICATION, TrainingPlan
from fovea_api.v1alpha1 import BatchPrediction, MachineType, ModelDeployment, ModelVersion, Resource, TrainingJob
from pydantic import ValidationError

from fovea_operator.desired.service import BALANCER_FIELDS
from fovea_operator.errors import InvalidSpec
from fovea_operator.reconcile.shared.decision import GroupKind, GroupVersionKind
from fovea_operator.reconcile.shared.observed import (
    BatchJobRecord,
    BudgetRecord,
    ContainerRecord,
    DeploymentRecord,
    FlavorRecord,
    NetworkPolicyRecord,
    NodeRecord,
    PodGroupRecord,
    PodRecord,
    PodSetUpdate,
    RouteRecord,
    ServiceRecord,
    WorkloadRecord,
)

Raw = Mapping[str, Any]
R = TypeVar("R", bound=Resource)

_NOT_DECIDED_ON: dict[str, Any] = {"annotations": {}, "resourceVersion": ""}
"""Of an object of ours: what others write on it, kubectl's copy of the whole manifest too, and what every write changes."""
_PASSING_ON = (TrainingJob, ModelDeployment, BatchPrediction)
"""Kinds whose labels reach what is made of them."""


def version(raw: Raw) -> int:
    """The resourceVersion as the ordered number that it is (Kubernetes ≥ 1.35 guarantees the order)."""
    return int(raw["metadata"].get("resourceVersion") or 0)


def uid(raw: Raw) -> str:
    """The object's uid."""
    return str(raw["metadata"].get("uid") or "")


class Owner(NamedTuple):
    """An object's controlling owner; all of it empty when there is none."""

    group_kind: GroupKind
    name: str
    uid: str


_NO_OWNER = Owner(GroupKind("", ""), "", "")


def owner(raw: Raw) -> Owner:
    """The controlling owner."""
    for reference in raw["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return Owner(GroupVersionKind.of(reference).group_kind, reference["name"], reference["uid"])
    return _NO_OWNER


@lru_cache(maxsize=4096)
def moment(text: str) -> datetime:
    """A Kubernetes timestamp, aware, UTC."""
    return datetime.fromisoformat(text)


def job(raw: Raw) -> TrainingJob:
    """A TrainingJob; raises InvalidSpec."""
    return _read(TrainingJob, raw)


def model_version(raw: Raw) -> ModelVersion:
    """A ModelVersion; raises InvalidSpec."""
    return _read(ModelVersion, raw)


def model_deployment(raw: Raw) -> ModelDeployment:
    """A ModelDeployment; raises InvalidSpec."""
    return _read(ModelDeployment, raw)


def prediction(raw: Raw) -> BatchPrediction:
    """A BatchPrediction; raises InvalidSpec."""
    return _read(BatchPrediction, raw)


def machine_type(raw: Raw) -> MachineType:
    """A MachineType; raises InvalidSpec."""
    return _read(MachineType, raw)


def _read(model: type[R], raw: Raw) -> R:
    metadata = {**raw["metadata"], **_NOT_DECIDED_ON}
    metadata["labels"] = labels.passed_on(raw["metadata"].get("labels") or {}) if model in _PASSING_ON else {}
    document = {**raw, "metadata": metadata}
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidSpec(
            f"{field}: {first['msg']} (found {str(first['input'])[:200]!r}); correct the field, "
            f"or submit the {model.KIND} again if the field cannot be changed",
            in_status=first["loc"][:1] == ("status",),
        ) from error


def pod(raw: Raw) -> PodRecord:
    """A pod."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    plan = _plan(raw)
    unschedulable = disrupted = ""
    scheduled: datetime | None = None
    initialized: datetime | None = None
    ready = False
    deadline = _optional(metadata.get("deletionTimestamp"))
    for condition in status.get("conditions") or ():
        kind, value = condition["type"], condition["status"]
        if kind == "PodScheduled" and value == "False" and condition.get("reason") == "Unschedulable":
            unschedulable = condition.get("message") or "Unschedulable"
        elif kind == "PodScheduled" and value == "True":
            scheduled = _optional(condition.get("lastTransitionTime"))
        elif kind == "Initialized" and value == "True":
            initialized = _optional(condition.get("lastTransitionTime"))
        elif kind == "DisruptionTarget" and value == "True":
            disrupted = condition.get("message") or condition.get("reason") or "DisruptionTarget"
        elif kind == "Ready":
            ready = value == "True"
    return PodRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid(raw),
        labels=metadata.get("labels") or {},
        phase=status.get("phase") or "Pending",
        created=moment(metadata["creationTimestamp"]),
        deleting=bool(metadata.get("deletionTimestamp")),
        deletion_deadline=deadline,
        told_to_end=_told_to_end(deadline, int(metadata.get("deletionGracePeriodSeconds") or 0)),
        node=(raw.get("spec") or {}).get("nodeName") or "",
        ip=status.get("podIP") or "",
        scheduled=scheduled,
        initialized=initialized,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        ready=ready,
        unschedulable=unschedulable,
        disrupted=disrupted,
        containers=_containers(status),
        foreign=tuple(n for i in status.get("containerStatuses") or () if (n := i["name"]) not in names.OWN_CONTAINERS),
        publications=tuple(i for i in plan.inputs if i.kind == INPUT_PUBLICATION) if plan else (),
        checkpoint_from=plan.checkpoint_from if plan else "",
        **_deadline(raw),
    )


def _deadline(raw: Raw) -> dict[str, Any]:
    """What a pod's record says of its activeDeadlineSeconds."""
    since = _optional((raw.get("status") or {}).get("startTime"))
    seconds = (raw.get("spec") or {}).get("activeDeadlineSeconds")
    if seconds is None:
        return {"active_since": since}
    said = (raw["metadata"].get("annotations") or {}).get(labels.POD_DEADLINE)
    try:
        deadline = None if since is None else since + timedelta(seconds=seconds)
    except OverflowError:
        deadline = None  # no calendar holds it
    return {"active_since": since, "active_deadline": deadline, "deadline_is_own": said == str(seconds)}


def _told_to_end(deadline: datetime | None, grace_seconds: int) -> datetime | None:
    """When a pod was deleted; None: it was not, or with a grace period that no calendar holds (Kubernetes takes any)."""
    try:
        return deadline - timedelta(seconds=grace_seconds) if deadline else None
    except OverflowError:
        return None


def _plan(raw: Raw) -> TrainingPlan | None:
    """The plan of a training pod that fetches something; None for other pods, and where it cannot be read."""
    for container in (raw.get("spec") or {}).get("initContainers") or ():
        if container["name"] != names.FETCH_CONTAINER:
            continue
        for variable in container.get("env") or ():
            if variable["name"] == environment.PLAN:
                try:
                    return TrainingPlan.from_json(expansion.unescaped(variable.get("value") or ""), obey=False)
                except ValueError:
                    return None
    return None


def _containers(status: Raw) -> dict[str, ContainerRecord]:
    return {
        item["name"]: _container(item)
        for part in ("initContainerStatuses", "containerStatuses")
        for item in status.get(part) or ()
    }


def _container(item: Raw) -> ContainerRecord:
    state = item.get("state") or {}
    waiting, running, terminated = state.get("waiting"), state.get("running"), state.get("terminated")
    last = (item.get("lastState") or {}).get("terminated") or {}
    past: dict[str, Any] = {}
    if last:
        past["last_exit_code"] = int(last["exitCode"])
        past["last_reason"] = last.get("reason") or ""
        past["last_message"] = last.get("message") or ""
        past["last_finished"] = _optional(last.get("finishedAt"))
    if terminated is not None:
        return ContainerRecord(
            exit_code=int(terminated["exitCode"]),
            terminated_reason=terminated.get("reason") or "",
            termination_message=terminated.get("message") or "",
            started=_optional(terminated.get("startedAt")),
            finished=_optional(terminated.get("finishedAt")),
            **past,
        )
    if running is not None:
        return ContainerRecord(running_since=_optional(running.get("startedAt")), **past)
    waiting = waiting or {}
    return ContainerRecord(
        waiting_reason=waiting.get("reason") or "", waiting_message=waiting.get("message") or "", **past
    )


def _optional(text: str | None) -> datetime | None:
    return moment(text) if text else None


def workload(raw: Raw) -> DeploymentRecord:
    """A Deployment."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    failure = ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            failure = condition.get("message") or condition.get("reason") or "ReplicaFailure"
    return DeploymentRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid(raw),
        labels=metadata.get("labels") or {},
        generation=int(metadata.get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        replicas=int((raw.get("spec") or {}).get("replicas") or 0),
        ready_replicas=int(status.get("readyReplicas") or 0),
        available_replicas=int(status.get("availableReplicas") or 0),
        deleting=bool(metadata.get("deletionTimestamp")),
        replica_failure=failure,
    )


def batch_job(raw: Raw) -> BatchJobRecord:
    """An Indexed Job."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    holding = {item["type"]: item for item in status.get("conditions") or () if item["status"] == "True"}
    failed = holding.get("Failed") or {}
    return BatchJobRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid(raw),
        labels=metadata.get("labels") or {},
        generation=int(metadata.get("generation") or 0),
        complete="Complete" in holding,
        failed=(failed.get("reason") or "Failed") if failed else "",
        failure=failed.get("message") or "",
        suspended=bool(spec.get("suspend")),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def budget(raw: Raw) -> BudgetRecord:
    """A PodDisruptionBudget."""
    metadata = raw["metadata"]
    return BudgetRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid(raw),
        spec=raw.get("spec") or {},
    )


def network_policy(raw: Raw) -> NetworkPolicyRecord:
    """A NetworkPolicy."""
    metadata = raw["metadata"]
    return NetworkPolicyRecord(metadata["namespace"], metadata["name"])


def node(raw: Raw) -> NodeRecord:
    """A node."""
    return NodeRecord(raw["metadata"]["name"])


def flavor(raw: Raw) -> FlavorRecord:
    """A ResourceFlavor."""
    spec = raw.get("spec") or {}
    return FlavorRecord(node_labels=spec.get("nodeLabels") or {}, tolerations=tuple(spec.get("tolerations") or ()))


def priority(raw: Raw) -> int:
    """The value of a WorkloadPriorityClass."""
    return int(raw.get("value") or 0)


def queued(raw: Raw) -> WorkloadRecord:
    """A Workload."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    admission = status.get("admission")
    updates: dict[str, tuple[PodSetUpdate, ...]] = {}
    for check in status.get("admissionChecks") or ():
        for wanted in check.get("podSetUpdates") or ():
            updates[wanted["name"]] = (*updates.get(wanted["name"], ()), _update(wanted))
    return WorkloadRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid(raw),
        version=version(raw),
        generation=int(metadata.get("generation") or 0),
        queue=spec.get("queueName") or "",
        conditions=tuple(status.get("conditions") or ()),
        flavors=None
        if admission is None
        else {item["name"]: _flavors(item) for item in admission["podSetAssignments"]},
        updates=updates,
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def _flavors(assigned: Raw) -> tuple[str, ...]:
    return tuple(dict.fromkeys((assigned.get("flavors") or {}).values()))


def _update(wanted: Raw) -> PodSetUpdate:
    return PodSetUpdate(
        labels=wanted.get("labels") or {},
        annotations=wanted.get("annotations") or {},
        node_selector=wanted.get("nodeSelector") or {},
        tolerations=tuple(wanted.get("tolerations") or ()),
    )


def pod_group(raw: Raw) -> PodGroupRecord:
    """A PodGroup."""
    metadata = raw["metadata"]
    return PodGroupRecord(metadata["namespace"], metadata["name"], uid(raw))


def route(raw: Raw) -> RouteRecord:
    """A GRPCRoute or an HTTPRoute."""
    metadata = raw["metadata"]
    return RouteRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid(raw),
        kind=raw["kind"],
        generation=int(metadata.get("generation") or 0),
        spec=raw.get("spec") or {},
        labels=metadata.get("labels") or {},
        parents=tuple((raw.get("status") or {}).get("parents") or ()),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def service(raw: Raw) -> ServiceRecord:
    """A Service."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    ports: list[dict[str, Any]] = spec.get("ports") or []
    return ServiceRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid(raw),
        type=spec.get("type") or "ClusterIP",
        selector=spec.get("selector") or {},
        node_ports={port.get("name") or "": int(port["nodePort"]) for port in ports if port.get("nodePort")},
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        balancer={field: spec[field] for field in BALANCER_FIELDS if field in spec},
        ports={port.get("name") or "": {k: v for k, v in port.items() if k != "nodePort"} for port in ports},
        external_name=spec.get("externalName") or "",
        deleting=bool(metadata.get("deletionTimestamp")),
    )
