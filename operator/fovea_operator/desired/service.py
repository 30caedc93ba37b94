"""The Service of a ModelDeployment: its selector reaches the pods of exactly one version."""

from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment

from fovea_operator.desired import owner

BALANCER_FIELDS = ("loadBalancerClass", "loadBalancerSourceRanges")
"""Fields of a Service's spec that are spec.service's, as they are."""


def service(deployment: ModelDeployment, version: int, revision: str) -> dict[str, Any]:
    """Named like the ModelDeployment: gRPC and REST of the given version."""
    name = deployment.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(deployment),
        "spec": {
            "type": deployment.spec.service.type,
            "selector": labels.serving_selector(name, version, revision),
            "ports": [
                _port(names.GRPC_PORT_NAME, names.GRPC_PORT, "kubernetes.io/h2c"),
                _port(names.REST_PORT_NAME, names.REST_PORT, "http"),
            ],
            **_balancer(deployment),
        },
    }


def _metadata(deployment: ModelDeployment) -> dict[str, Any]:
    passed = labels.passed_on(deployment.metadata.labels)
    annotations = dict(deployment.spec.service.annotations or {})
    # Whoever compares a Service with this one sees by the list that something was taken away since.
    users = [*(f"label {key}" for key in passed), *(f"annotation {key}" for key in annotations), *_balancer(deployment)]
    if users:
        annotations[labels.PASSED_ON] = ", ".join(sorted(users))
    own = {
        labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
        labels.DEPLOYMENT: deployment.metadata.name,
        labels.MODEL: deployment.spec.model,
    }
    metadata: dict[str, Any] = {
        "name": deployment.metadata.name,
        "namespace": deployment.metadata.namespace,
        "labels": passed | own,
        "ownerReferences": [owner.reference(deployment)],
    }
    return metadata | ({"annotations": annotations} if annotations else {})


def _balancer(deployment: ModelDeployment) -> dict[str, Any]:
    given = deployment.spec.service.dump()
    return {field: given[field] for field in BALANCER_FIELDS if given.get(field)}


def _port(name: str, number: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": protocol}
