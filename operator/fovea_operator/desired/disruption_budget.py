"""How many pods of a ModelDeployment may be evicted at the same time."""

from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import ModelDeployment

from fovea_operator.desired import owner

MAX_UNAVAILABLE = 1


def disruption_budget(model_deployment: ModelDeployment, version: int, revision: str) -> dict[str, Any]:
    """One pod at a time of the version that clients reach: a drained node waits until the pod is ready elsewhere.

    A single pod is not protected, and one that is not ready never is: a budget that forbids their eviction would hold up
    the drain for good.
    """
    name = model_deployment.metadata.name
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": name,
            "namespace": model_deployment.metadata.namespace,
            "labels": {
                labels.MANAGED: labels.MANAGED_VALUE,
                labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
                labels.MODEL_DEPLOYMENT: name,
            },
            "ownerReferences": [owner.reference(model_deployment)],
        },
        "spec": {
            "maxUnavailable": MAX_UNAVAILABLE,
            "selector": {"matchLabels": labels.serving_selector(name, version, revision)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
