"""Which numbers of a model's versions are spoken for beside the versions that exist.

A number is a promise: who deleted digits-v3 and trains again gets digits-v4, so that a deployment of version 3 never
serves other files unasked, and a job's status never names a stranger's model.
"""

from collections.abc import Iterable

from .model_deployment import ModelDeployment
from .training_job import TrainingJob


def highest_taken(model: str, jobs: Iterable[TrainingJob], deployments: Iterable[ModelDeployment]) -> int:
    """The highest number of the model that a status of these names; 0 when none does."""
    prefix = f"{model}-v"
    named = (job.status.model_version or "" for job in jobs)
    texts = (name.removeprefix(prefix) for name in named if name.startswith(prefix))
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit()]
    for deployment in deployments:
        if deployment.spec.model == model:
            status = deployment.status
            places = (status.stable, status.candidate, status.failed, *(status.draining or ()))
            numbers += [place.version for place in places if place is not None]
    return max(numbers, default=0)
