"""Fovea's kinds, version v1alpha1."""

from . import batch_prediction, machine_type, model_deployment, model_version, training_job
from .batch_prediction import BatchPrediction
from .common import API_VERSION, GROUP, VERSION, Condition, Kind, Metadata, Model, Resource
from .machine_type import MachineType
from .model_deployment import ModelDeployment
from .model_version import ModelVersion
from .training_job import TrainingJob
from .training_job_status import JobState

KINDS: tuple[Kind, ...] = (
    training_job.KIND,
    model_version.KIND,
    model_deployment.KIND,
    batch_prediction.KIND,
    machine_type.KIND,
)
"""Every kind, in the order in which a newcomer needs them."""

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "BatchPrediction",
    "Condition",
    "JobState",
    "Kind",
    "MachineType",
    "Metadata",
    "Model",
    "ModelDeployment",
    "ModelVersion",
    "Resource",
    "TrainingJob",
]
