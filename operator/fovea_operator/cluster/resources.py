"""The resources that the operator reads and writes: where the API server keeps each kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fovea_api.v1alpha1 import API_VERSION, KINDS

from fovea_operator.reconcile.shared import decision
from fovea_operator.reconcile.shared.decision import GroupVersionKind


@dataclass(frozen=True)
class Resource:
    """One kind of object and its place in the API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    labelled: bool = False
    """Watched by label only: those of ours."""
    field_selector: str = ""
    """Watched by this field selector only."""
    optional: bool = False
    """An API server may do without it, or not let the operator read it: it is watched while it can be, and never waited for."""

    @cached_property
    def gvk(self) -> GroupVersionKind:
        """What manifests, deletions, stores and keys name it by."""
        return GroupVersionKind(self.api_version, self.kind)

    @property
    def group(self) -> str:
        """API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """API version without the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def root(self) -> str:
        """URL path of its API version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, the object or its subresource."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


OURS: dict[str, Resource] = {
    kind.kind: Resource(API_VERSION, kind.kind, kind.plural, kind.scope == "Namespaced") for kind in KINDS
}
POD = Resource("v1", "Pod", "pods", labelled=True)
SERVICE = Resource("v1", "Service", "services", labelled=True)
EVENT = Resource("v1", "Event", "events")
DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments", labelled=True)
BATCH_JOB = Resource(*decision.BATCH_JOB, "jobs", labelled=True)
DISRUPTION_BUDGET = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", labelled=True)
NETWORK_POLICY = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", labelled=True)
NODE = Resource("v1", "Node", "nodes", namespaced=False, field_selector="spec.unschedulable=true", optional=True)
"""Cordoned nodes only: of thousands that take pods, none costs anything."""
WORKLOAD = Resource(*decision.WORKLOAD, "workloads", labelled=True, optional=True)
RESOURCE_FLAVOR = Resource(
    "kueue.x-k8s.io/v1beta2", "ResourceFlavor", "resourceflavors", namespaced=False, optional=True
)
WORKLOAD_PRIORITY = Resource(
    "kueue.x-k8s.io/v1beta2", "WorkloadPriorityClass", "workloadpriorityclasses", namespaced=False, optional=True
)
VISIBLE_QUEUE = Resource("visibility.kueue.x-k8s.io/v1beta2", "LocalQueue", "localqueues")
"""Where Kueue says in which order Workloads wait."""
POD_GROUPS = tuple(
    Resource(*gvk, "podgroups", labelled=True, optional=True)
    for gvk in (decision.POD_GROUP, decision.COSCHEDULING_POD_GROUP, decision.VOLCANO_POD_GROUP)
)
ROUTES = tuple(
    Resource(*gvk, plural, labelled=True, optional=True)
    for gvk, plural in ((decision.GRPC_ROUTE, "grpcroutes"), (decision.HTTP_ROUTE, "httproutes"))
)
"""Of the Gateway API."""
REFERENCE_GRANT = Resource("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "referencegrants")
"""Lets routes of a namespace name the activator's Service. It is created, never watched."""
ENDPOINT_SLICE = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
"""Of the gateway's Service: the addresses of its proxies."""
LEASE = Resource("coordination.k8s.io/v1", "Lease", "leases")
TOKEN_REVIEW = Resource("authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False)

TRAINING_JOB = OURS["TrainingJob"]
MODEL_VERSION = OURS["ModelVersion"]
MODEL_DEPLOYMENT = OURS["ModelDeployment"]
MACHINE_TYPE = OURS["MachineType"]
BATCH_PREDICTION = OURS["BatchPrediction"]

WATCHED = (
    *(MACHINE_TYPE, MODEL_VERSION, MODEL_DEPLOYMENT, TRAINING_JOB, BATCH_PREDICTION, BATCH_JOB),
    *(POD, DEPLOYMENT, SERVICE, DISRUPTION_BUDGET, NETWORK_POLICY),
)
"""In every cluster, owners before what they own. Optional kinds are those with a store in the cache."""

_KNOWN = {
    item.gvk: item
    for item in (
        *(*OURS.values(), POD, SERVICE, EVENT, DEPLOYMENT, DISRUPTION_BUDGET, LEASE, TOKEN_REVIEW),
        *(WORKLOAD, *POD_GROUPS, *ROUTES, REFERENCE_GRANT, NETWORK_POLICY, BATCH_JOB),
    )
}


def of(gvk: GroupVersionKind) -> Resource:
    """The resource of a kind; KeyError for one that the operator has nothing to do with."""
    return _KNOWN[gvk]


def of_manifest(manifest: Mapping[str, Any]) -> Resource:
    """The resource that a manifest is of; KeyError as above."""
    return of(GroupVersionKind.of(manifest))
