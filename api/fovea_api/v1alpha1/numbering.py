"""Which numbers of a model's versions are taken, beside those of the versions that exist.

A number that another object names stays taken: after digits-v3 is deleted, the next training makes digits-v4. So a deployment of
version 3 never serves other files, and a job's status never names another job's model.
"""

from .batch_prediction import BatchPrediction
from .model_deployment import ModelDeployment
from .training_job import TrainingJob


def of_job(job: TrainingJob) -> int | None:
    """The number that a job's status names as its version of the model that it trains; None when it names none."""
    model = job.spec.model.name if job.spec.model is not None else ""
    prefix, text = f"{model}-v", job.status.model_version or ""
    number = text.removeprefix(prefix)
    return int(number) if model and text.startswith(prefix) and number.isascii() and number.isdigit() else None


def of_model_deployment(served: ModelDeployment) -> tuple[int, ...]:
    """The numbers of its model that the status of a ModelDeployment names."""
    return tuple(place.version for place in served.status.places or ())


def of_prediction(prediction: BatchPrediction) -> tuple[int, ...]:
    """The number of its model that the status of a BatchPrediction names."""
    return () if prediction.status.version is None else (prediction.status.version,)
