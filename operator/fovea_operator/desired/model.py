"""What a job leaves of its model: the ModelVersion that records it, and the ModelDeployment that `model.deploy: true` asks for.

The job owns neither: a model outlives its job, and a ModelDeployment is its users' from its first moment on.
"""

from collections.abc import Mapping
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.report import Published
from fovea_api.v1alpha1 import API_VERSION, ModelDeployment, ModelVersion, TrainingJob

from fovea_operator.settings import Settings


def model_version(
    job: TrainingJob,
    model: str,
    number: int,
    attempt: int | None,
    published: Published,
    metrics: Mapping[str, float],
    *,
    main_metric: str = "",
    servable: bool = True,
) -> dict[str, Any]:
    """Version `number` of the model: where an attempt (None: not known which) published it, and its evaluation.

    `main_metric`: the one of the metrics that stands for it. `servable`: whether it is a SavedModel.
    """
    spec: dict[str, Any] = {
        "model": model,
        "version": number,
        "uri": published.uri,
        "digest": published.digest,
        "bytes": published.size,
        "lineage": {"job": job.metadata.name, "jobUid": job.metadata.uid},
        "approval": "Approved",
    }
    if attempt is not None:
        spec["lineage"]["attempt"] = attempt
    if not servable:
        spec["format"] = "Other"
    if metrics:
        spec["metrics"] = dict(metrics)
    if main_metric in metrics:
        spec["mainMetric"] = {"name": main_metric, "value": metrics[main_metric]}
    return {
        "apiVersion": API_VERSION,
        "kind": ModelVersion.KIND,
        "metadata": {
            "name": names.model_version(model, number),
            "namespace": job.metadata.namespace,
            "labels": {
                labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
                labels.MODEL: model,
                labels.VERSION: str(number),
                labels.JOB: job.metadata.name,
            },
        },
        "spec": spec,
    }


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
