"""What users and the platform say of a pod beyond its containers: labels, annotations, account, priority and place.

Of several words on one thing Fovea's own wins, then the MachineType's, then that of spec.pod, then the object's own labels.
"""

from collections.abc import Mapping
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import BatchPrediction, MachineType, ModelDeployment, TrainingJob
from fovea_api.v1alpha1.affinity import Affinity
from fovea_api.v1alpha1.pod import PodOptions

Owner = TrainingJob | ModelDeployment | BatchPrediction
"""Kinds whose pods have options."""
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_ACCOUNT = {
    "name": "fovea-service-account",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}
_TOKEN_SECONDS = 3607
"""What Kubernetes itself asks for: it then makes tokens that outlive a late renewal."""


def metadata(
    owner: Owner, machine: MachineType, own: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    """Labels and annotations of a pod; `own` and `annotations` are Fovea's."""
    options, spec = of(owner), machine.spec
    return {
        "labels": labels.passed_on(owner.metadata.labels)
        | (options.labels or {})
        | (spec.pod_labels or {})
        | dict(own),
        "annotations": (options.annotations or {}) | (spec.pod_annotations or {}) | dict(annotations),
    }


def of(owner: Owner) -> PodOptions:
    """The object's options."""
    return owner.spec.pod or PodOptions()


def placement(owner: Owner, machine: MachineType) -> dict[str, Any]:
    """The part of a pod's spec that says which nodes it may run on, as whom, how urgent, and in which runtime."""
    options, spec = of(owner), machine.spec
    placed: dict[str, Any] = {}
    if spec.node_selector:
        placed["nodeSelector"] = dict(spec.node_selector)
    if spec.tolerations:
        # Empty fields are left out: `key: ""` with operator Equal would be refused.
        placed["tolerations"] = [
            {name: value for name, value in toleration.dump().items() if value != ""} for toleration in spec.tolerations
        ]
    if wanted := both_affinities(spec.affinity, options.affinity):
        placed["affinity"] = wanted
    if spec.runtime_class_name:
        placed["runtimeClassName"] = spec.runtime_class_name
    if priority := spec.priority_class_name or options.priority_class_name:
        placed["priorityClassName"] = priority
    if options.service_account_name:
        placed["serviceAccountName"] = options.service_account_name
    return placed


def account_mounts(owner: Owner) -> list[dict[str, Any]]:
    """Where the program finds its account's token. Not by automountServiceAccountToken: the agents would get it as well."""
    return [dict(_ACCOUNT)] if _has_token(owner) else []


def account_volumes(owner: Owner) -> list[dict[str, Any]]:
    """The volume that Kubernetes itself would mount into all containers."""
    if not _has_token(owner):
        return []
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return [{"name": _ACCOUNT["name"], "projected": {"sources": sources}}]


def _has_token(owner: Owner) -> bool:
    options = of(owner)
    return options.service_account_name is not None and options.automount_service_account_token is not False


def both_affinities(first: Affinity | None, second: Affinity | None) -> dict[str, Any]:
    """The affinity that asks for what the machine type's and the object's own ask for; empty without any."""
    one, other = (affinity.dump() if affinity else {} for affinity in (first, second))
    found = {"nodeAffinity": _nodes(one.get("nodeAffinity") or {}, other.get("nodeAffinity") or {})}
    for kind in ("podAffinity", "podAntiAffinity"):
        # Every entry of these lists holds by itself.
        a, b = one.get(kind) or {}, other.get(kind) or {}
        found[kind] = {
            key: [*a.get(key, ()), *b.get(key, ())] for key in (_REQUIRED, _PREFERRED) if key in a or key in b
        }
    return {kind: said for kind, said in found.items() if said}


def _nodes(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    if preferred := [*one.get(_PREFERRED, ()), *other.get(_PREFERRED, ())]:
        merged[_PREFERRED] = preferred
    terms = [
        required["nodeSelectorTerms"] for required in (one.get(_REQUIRED), other.get(_REQUIRED)) if required is not None
    ]
    if len(terms) == 2:
        # A node needs one of several terms: one of each side means one of all pairs.
        terms = [[_joined(a, b) for a in terms[0] for b in terms[1]]]
    if terms:
        merged[_REQUIRED] = {"nodeSelectorTerms": terms[0]}
    return merged


def _joined(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """A term that asks for what both ask for."""
    return {
        key: [*a.get(key, ()), *b.get(key, ())] for key in ("matchExpressions", "matchFields") if key in a or key in b
    }
