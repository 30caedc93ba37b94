"""Which kind of object is meant. A kind's name alone does not say it: three API groups have a PodGroup."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fovea_api.v1alpha1 import API_VERSION, TrainingJob


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
