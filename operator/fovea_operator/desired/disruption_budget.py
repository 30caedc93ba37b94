"""How many pods of a ModelDeployment an eviction has to leave."""

from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import ModelDeployment

from fovea_operator.desired import owner


def disruption_budget(
    model_deployment: ModelDeployment, version: int, revision: str, min_available: int, *, named: str = ""
) -> dict[str, Any]:
    """So many pods of a version stay ready: the drain of a node waits until they are.

    A pod that is not ready is always evicted: it would hold up the drain for good. `named`: as the ModelDeployment unless given,
    which is the budget of the version that is served.
    """
    name = model_deployment.metadata.name
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": named or name,
            "namespace": model_deployment.metadata.namespace,
            "labels": {
                labels.MANAGED: labels.MANAGED_VALUE,
                labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
                labels.MODEL_DEPLOYMENT: name,
            },
            "ownerReferences": [owner.reference(model_deployment)],
        },
        "spec": {
            "minAvailable": min_available,
            "selector": {"matchLabels": labels.serving_selector(name, version, revision)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
