"""What the operator asks of the API server, in one place: the chart's roles are compared with it, and an audit log too."""

import ast
from pathlib import Path
from typing import Any, NamedTuple

import fovea_operator.desired
import fovea_operator.reconcile
from fovea_api.v1alpha1 import API_VERSION
from fovea_operator.cluster import resources
from fovea_operator.cluster.resources import Resource
from fovea_operator.reconcile.shared import decision
from fovea_operator.reconcile.shared.decision import GroupVersionKind


class Access(NamedTuple):
    """One right: API group, resource (with subresource), verb."""

    group: str
    resource: str
    verb: str


_WATCH = {"list", "watch"}
NEEDS: dict[Resource, set[str]] = {
    # `get`: an object that cannot be read is fetched raw; one whose name is taken, or that seems to be lost, is looked at.
    # `patch` of pods: one whose label was taken away gets it again.
    resources.TRAINING_JOB: {*_WATCH, "get", "delete"},
    resources.MODEL_VERSION: {*_WATCH, "get", "create"},
    resources.MODEL_DEPLOYMENT: {*_WATCH, "get", "create"},
    resources.BATCH_PREDICTION: {*_WATCH, "get", "delete"},
    resources.BATCH_JOB: {*_WATCH, "get", "create", "patch", "delete"},
    resources.POD: {*_WATCH, "get", "create", "patch", "delete"},
    resources.SERVICE: {*_WATCH, "get", "create", "patch", "delete"},
    resources.DEPLOYMENT: {*_WATCH, "get", "create", "patch", "delete"},
    resources.DISRUPTION_BUDGET: {*_WATCH, "get", "create", "patch", "delete"},
    resources.NETWORK_POLICY: {*_WATCH, "get", "create", "patch"},
    resources.EVENT: {"create"},
    resources.WORKLOAD: {*_WATCH, "get", "create", "patch", "delete"},
    **{group: {*_WATCH, "get", "create", "patch"} for group in resources.POD_GROUPS},
    **{route: {*_WATCH, "get", "create", "patch", "delete"} for route in resources.ROUTES},
}
"""Where jobs and models live."""
SUBRESOURCES: dict[Resource, dict[str, str]] = {
    # An owner reference that blocks deletion asks for `update` of finalizers where that is enforced.
    resources.TRAINING_JOB: {"status": "patch", "finalizers": "update"},
    resources.MODEL_DEPLOYMENT: {"status": "patch", "finalizers": "update"},
    resources.BATCH_PREDICTION: {"status": "patch", "finalizers": "update"},
    resources.WORKLOAD: {"status": "patch"},
    resources.VISIBLE_QUEUE: {"pendingworkloads": "get"},
    resources.POD: {"log": "get"},
}
CLUSTER_NEEDS: dict[Resource, set[str]] = {
    resources.MACHINE_TYPE: _WATCH,
    resources.NODE: _WATCH,
    resources.TOKEN_REVIEW: {"create"},
    resources.RESOURCE_FLAVOR: _WATCH,
    resources.WORKLOAD_PRIORITY: _WATCH,
}
"""What belongs to no namespace."""
PROXY_NEEDS: dict[Resource, set[str]] = {resources.ENDPOINT_SLICE: {"list"}}
"""In the namespace of a gateway's proxies, where they show their counters."""
ACTIVATOR_NEEDS: dict[Resource, set[str]] = {resources.REFERENCE_GRANT: {"get", "create", "patch"}}
"""In the operator's own namespace, where the activator is: routes of other namespaces may name it."""
LEASE_NEEDS: dict[str, set[str]] = {"": {"create"}, "named": {"get", "update"}}
"""In the operator's own namespace: create cannot be bound to a name, the rest is."""


def accesses(needs: dict[Resource, set[str]]) -> set[Access]:
    """Flat."""
    return {Access(resource.group, resource.plural, verb) for resource, verbs in needs.items() for verb in verbs}


def namespaced() -> set[Access]:
    """Everything in a namespace with jobs and models."""
    status = {
        Access(resource.group, f"{resource.plural}/{name}", verb)
        for resource, verbs in SUBRESOURCES.items()
        for name, verb in verbs.items()
    }
    return accesses(NEEDS) | status


def emitted_kinds() -> set[GroupVersionKind]:
    """Kinds that the builders write: every literal of the package with apiVersion, kind and metadata."""
    found = set()
    for tree in _trees(fovea_operator.desired):
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                entries = {
                    key.value: value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant)
                }
                if {"apiVersion", "kind", "metadata"} <= entries.keys():
                    found.add(GroupVersionKind(_api_version(entries["apiVersion"]), _kind(entries["kind"])))
    return found


def deleted_kinds() -> set[GroupVersionKind]:
    """Kinds that decisions delete: the first argument of every Deletion, a constant of `decision`."""
    found = set()
    for tree in _trees(fovea_operator.reconcile):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Deletion":
                assert isinstance(node.args[0], ast.Name), ast.dump(node)
                found.add(getattr(decision, node.args[0].id))
    return found


def _trees(package: Any) -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in sorted(Path(package.__path__[0]).rglob("*.py"))]


def _api_version(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.Name), ast.dump(node)
    assert node.id == "API_VERSION", ast.dump(node)
    return API_VERSION


def _kind(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    # `ModelVersion.KIND`.
    assert isinstance(node, ast.Attribute), ast.dump(node)
    assert isinstance(node.value, ast.Name), ast.dump(node)
    return node.value.id
