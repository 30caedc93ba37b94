"""What the queue works on: the kind, namespace and name of a resource that is reconciled."""

from typing import NamedTuple

from .resources import MODEL_DEPLOYMENT, TRAINING_JOB


class Key(NamedTuple):
    """One TrainingJob or ModelDeployment."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def job(namespace: str, name: str) -> Key:
    """Key of a TrainingJob."""
    return Key(TRAINING_JOB.kind, namespace, name)


def deployment(namespace: str, name: str) -> Key:
    """Key of a ModelDeployment."""
    return Key(MODEL_DEPLOYMENT.kind, namespace, name)
