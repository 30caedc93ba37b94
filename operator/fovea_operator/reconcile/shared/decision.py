"""What a reconciler answers: children to make, one status, deletions, events, and when to look again. Data only.

An object is named with its kind, and that with its API: three API groups have a PodGroup.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NamedTuple

from fovea_api.v1alpha1 import API_VERSION, BatchPrediction, TrainingJob


class GroupKind(NamedTuple):
    """A kind whatever its version: what an owner reference is compared by, since it keeps the version it was written with."""

    group: str
    """API group, empty for the core group."""
    kind: str


class GroupVersionKind(NamedTuple):
    """A kind of object in one version of its API, as each manifest names it."""

    api_version: str
    kind: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "GroupVersionKind":
        """What a manifest says that it is; empty strings where it does not say it."""
        return cls(manifest.get("apiVersion") or "", manifest.get("kind") or "")

    @property
    def group_kind(self) -> GroupKind:
        """The kind without its version."""
        return GroupKind(self.api_version.rpartition("/")[0], self.kind)


POD = GroupVersionKind("v1", "Pod")
SERVICE = GroupVersionKind("v1", "Service")
DEPLOYMENT = GroupVersionKind("apps/v1", "Deployment")
DISRUPTION_BUDGET = GroupVersionKind("policy/v1", "PodDisruptionBudget")
TRAINING_JOB = GroupVersionKind(API_VERSION, TrainingJob.KIND)
BATCH_PREDICTION = GroupVersionKind(API_VERSION, BatchPrediction.KIND)
BATCH_JOB = GroupVersionKind("batch/v1", "Job")
"""Kubernetes' own."""
WORKLOAD = GroupVersionKind("kueue.x-k8s.io/v1beta2", "Workload")
"""Of Kueue."""
POD_GROUP = GroupVersionKind("scheduling.k8s.io/v1alpha2", "PodGroup")
"""Kubernetes' own."""
COSCHEDULING_POD_GROUP = GroupVersionKind("scheduling.x-k8s.io/v1alpha1", "PodGroup")
"""Of the scheduler plugins."""
GRPC_ROUTE = GroupVersionKind("gateway.networking.k8s.io/v1", "GRPCRoute")
HTTP_ROUTE = GroupVersionKind("gateway.networking.k8s.io/v1", "HTTPRoute")
VOLCANO_POD_GROUP = GroupVersionKind("scheduling.volcano.sh/v1beta1", "PodGroup")


class Write(Enum):
    """How a child is written."""

    CREATE = "create"
    """POST; 409 AlreadyExists means that it is there.

    For what is never edited (pods, ModelVersions, NetworkPolicies of jobs), for the Deployment of a model version, whose template is never
    edited, for a new Service of a model version, and for a job's ModelDeployment, which is its users' from then on.
    """
    APPLY = "apply"
    """Server-side apply with our field manager, by force: whole Services, and the replicas of version Deployments."""
    PATCH = "patch"
    """Merge patch of the object with the uid of the manifest, for a field that may change after its creation. One that is gone is left alone.

    What the server refuses to change is not tried again for a while.
    """
    STATUS = "status"
    """Merge patch of the status of an object that others own the rest of; its resourceVersion is the one that was decided on."""


@dataclass(frozen=True)
class Child:
    """One object to write; `manifest` has apiVersion, kind, metadata.name, metadata.namespace and ownerReferences."""

    write: Write
    manifest: dict[str, Any]
    plainer: dict[str, Any] | None = None
    """What is written instead where the API server refuses the manifest for its content: without what a user gave it."""
    is_optional: bool = False
    """A refusal of it is logged, and changes nothing else: what others made in its place is theirs to decide on."""
    is_needed: bool = True
    """Whether those after it wait for it: they are not written when it is refused."""


@dataclass(frozen=True)
class Deletion:
    """One object to delete, with its uid as precondition, so that a successor of the same name is never hit."""

    gvk: GroupVersionKind
    namespace: str
    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the reconciled object, sent only after the status write went through."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    ended_as: str = ""
    """The state in which a job ended, where this Event reports its end."""


class Deadline(NamedTuple):
    """A time by which an object has to end."""

    field: str
    """The field of its spec that sets it."""
    due: datetime


@dataclass(frozen=True)
class Decision:
    """Carried out in this order: children, one status write if it changed, deletions, events."""

    children: tuple[Child, ...] = ()
    status: dict[str, Any] | None = None
    """The whole wanted status as JSON (camelCase); None: leave it alone.

    The edge compares it with the current one and writes only a change.
    """
    deletions: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_at: datetime | None = None
    """Earliest time at which the answer may differ without a new event (deadline, back-off, TTL, drain).

    A refused child is tried again after the queue's back-off, or at this time if that is sooner.
    """
    riders: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the status as JSON that are written together with a change of it, and never alone; None takes a field away."""
    deadline: Deadline | None = None
    """The deadline for which the object ends by this status."""
