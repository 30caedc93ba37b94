"""The comparator of a rollout: a Deployment that asks both versions what the gateway mirrors to it, and its Service."""

from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.model_deployment_status import Place

from fovea_operator.desired import containers, owner
from fovea_operator.settings import Settings

METRICS_PORT = 9090
CONTAINER = "comparator"


def compares(stable: Place, candidate: Place) -> str:
    """What is compared, as a label's value."""
    return f"{stable.version}-{stable.revision}.{candidate.version}-{candidate.revision}"


def comparator(
    model_deployment: ModelDeployment, stable: Place, candidate: Place, settings: Settings
) -> dict[str, Any]:
    """One pod: what it cannot take is dropped, and a rollout that loses it only waits longer."""
    metadata = model_deployment.metadata
    held = labels.of_comparator(metadata.name, model_deployment.spec.model, compares(stable, candidate))
    addresses = {
        f"--{role}": f"{place.deployment}.{metadata.namespace}.svc"
        for role, place in (("stable", stable), ("candidate", candidate))
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": containers.pod_security(),
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.agent_image,
                "imagePullPolicy": settings.image_pull_policy,
                "command": ["fovea-comparator"],
                "args": [*(f"{flag}={address}" for flag, address in addresses.items())],
                "ports": [
                    {"name": names.GRPC_PORT_NAME, "containerPort": names.GRPC_PORT},
                    {"name": names.REST_PORT_NAME, "containerPort": names.REST_PORT},
                    {"name": "metrics", "containerPort": METRICS_PORT},
                ],
                "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": containers.own_security(),
                "readinessProbe": {"httpGet": {"path": "/metrics", "port": "metrics"}, "periodSeconds": 2},
            }
        ],
    }
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in settings.image_pull_secrets]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.comparator(metadata.name),
            "namespace": metadata.namespace,
            "labels": held,
            "ownerReferences": [owner.reference(model_deployment)],
        },
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": labels.comparator_selector(metadata.name)},
            "template": {"metadata": {"labels": held}, "spec": pod},
        },
    }


def comparator_service(model_deployment: ModelDeployment) -> dict[str, Any]:
    """Where the gateway sends copies of requests."""
    metadata = model_deployment.metadata
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.comparator(metadata.name),
            "namespace": metadata.namespace,
            "labels": labels.of_model_deployment(metadata.name, model_deployment.spec.model),
            "ownerReferences": [owner.reference(model_deployment)],
        },
        "spec": {
            "type": "ClusterIP",
            "selector": labels.comparator_selector(metadata.name),
            "ports": [
                {
                    "name": names.GRPC_PORT_NAME,
                    "port": names.GRPC_PORT,
                    "targetPort": names.GRPC_PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
                {
                    "name": names.REST_PORT_NAME,
                    "port": names.REST_PORT,
                    "targetPort": names.REST_PORT_NAME,
                    "protocol": "TCP",
                },
            ],
        },
    }
