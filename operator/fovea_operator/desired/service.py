"""The Service of a ModelDeployment: its selector reaches the pods of exactly one version."""

from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment

from fovea_operator.desired import owner


def service(deployment: ModelDeployment, version: int, revision: str) -> dict[str, Any]:
    """Named like the ModelDeployment: gRPC and REST of the given version."""
    name = deployment.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": deployment.metadata.namespace,
            "labels": {
                labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
                labels.DEPLOYMENT: name,
                labels.MODEL: deployment.spec.model,
            },
            "ownerReferences": [owner.reference(deployment)],
        },
        "spec": {
            "type": deployment.spec.service.type,
            "selector": labels.serving_selector(name, version, revision),
            "ports": [
                _port(names.GRPC_PORT_NAME, names.GRPC_PORT, "kubernetes.io/h2c"),
                _port(names.REST_PORT_NAME, names.REST_PORT, "http"),
            ],
        },
    }


def _port(name: str, number: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": protocol}
