"""The ModelDeployment that `model.deploy: true` keeps for a model. Not owned by the job; its users' from then on."""

from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1 import API_VERSION, ModelDeployment, TrainingJob

from fovea_operator.settings import Settings


def model_deployment(job: TrainingJob, model: str, settings: Settings) -> dict[str, Any]:
    """Serves the newest approved version of the model, with the defaults of the kind."""
    return {
        "apiVersion": API_VERSION,
        "kind": ModelDeployment.KIND,
        "metadata": {
            "name": model,
            "namespace": job.metadata.namespace,
            "labels": {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.MODEL: model},
        },
        "spec": {"model": model, "version": "Latest", "service": {"type": settings.model_service_type}},
    }
