"""Services: of a ModelDeployment one for its clients, whose selector moves, and one for each version; and of the pods of a job."""

from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment, TrainingJob

from fovea_operator.desired import owner

BALANCER_FIELDS = ("loadBalancerClass", "loadBalancerSourceRanges")
"""Fields of a Service's spec that are spec.service's, as they are."""


def service(model_deployment: ModelDeployment, version: int, revision: str) -> dict[str, Any]:
    """The Service for clients, named like the ModelDeployment: gRPC and REST of the given version."""
    name = model_deployment.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(model_deployment),
        "spec": {
            "type": model_deployment.spec.service.type,
            "selector": labels.serving_selector(name, version, revision),
            "ports": _ports(),
            **_balancer(model_deployment),
        },
    }


def gateway_service(model_deployment: ModelDeployment, address: str) -> dict[str, Any]:
    """The Service for clients whose name stands for a gateway: they keep the host that they asked for, by which it knows the model."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(model_deployment),
        "spec": {"type": "ExternalName", "externalName": address, "ports": _ports()},
    }


def version_service(model_deployment: ModelDeployment, version: int, revision: str) -> dict[str, Any]:
    """The Service of one version, named like its Deployment. What users set for the clients' Service is not repeated on it.

    A monitor that selects Services by a user's label would read the same pods twice.
    """
    name = model_deployment.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.version_deployment(name, version, revision),
            "namespace": model_deployment.metadata.namespace,
            "labels": labels.of_model_server(name, model_deployment.spec.model, version, revision),
            "ownerReferences": [owner.reference(model_deployment)],
        },
        "spec": {
            "type": "ClusterIP",
            "selector": labels.serving_selector(name, version, revision),
            "ports": _ports(),
        },
    }


def pods_service(job: TrainingJob) -> dict[str, Any]:
    """Gives every pod of a job the name <host>.<job>-pods, ready or not, so that they find each other."""
    name = job.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.pods_service(name),
            "namespace": job.metadata.namespace,
            "labels": labels.of_job(name),
            "ownerReferences": [owner.reference(job)],
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": labels.training_selector(name),
        },
    }


def _metadata(model_deployment: ModelDeployment) -> dict[str, Any]:
    passed = labels.passed_on(model_deployment.metadata.labels)
    annotations = dict(model_deployment.spec.service.annotations or {})
    # The list shows, when a Service is compared with this one, what was taken away since.
    users = [
        *(f"label {key}" for key in passed),
        *(f"annotation {key}" for key in annotations),
        *_balancer(model_deployment),
    ]
    if users:
        annotations[labels.PASSED_ON] = ", ".join(sorted(users))
    own = labels.of_model_deployment(model_deployment.metadata.name, model_deployment.spec.model)
    metadata: dict[str, Any] = {
        "name": model_deployment.metadata.name,
        "namespace": model_deployment.metadata.namespace,
        "labels": passed | own,
        "ownerReferences": [owner.reference(model_deployment)],
    }
    return metadata | ({"annotations": annotations} if annotations else {})


def _balancer(model_deployment: ModelDeployment) -> dict[str, Any]:
    given = model_deployment.spec.service.dump()
    return {field: given[field] for field in BALANCER_FIELDS if given.get(field)}


def _ports() -> list[dict[str, Any]]:
    return [
        _port(names.GRPC_PORT_NAME, names.GRPC_PORT, "kubernetes.io/h2c"),
        _port(names.REST_PORT_NAME, names.REST_PORT, "http"),
    ]


def _port(name: str, number: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": protocol}
