"""TrainingJob manifests and pod names for the cluster tier."""

from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import API_VERSION


def training_job(name: str = "digits", **spec: Any) -> dict[str, Any]:
    """A job that runs a container of the user's own; keywords are fields of the spec (camelCase)."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"trainer": {"container": {"image": "registry.invalid/trainer:1"}}, **spec},
    }


def model_deployment(name: str, model: str, **spec: Any) -> dict[str, Any]:
    """A ModelDeployment."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": model, **spec},
    }


def pod_name(job: str, attempt: int = 0) -> str:
    """Name of a job's chief pod."""
    return names.training_pod(job, names.ROLE_CHIEF, 0, attempt)


def of_job(job: str) -> str:
    """Label selector of a job's pods."""
    return f"{labels.JOB}={job}"


def places_of(resource: dict[str, Any] | None, role: str) -> list[dict[str, Any]]:
    """The places of a role in a ModelDeployment's status."""
    places = (resource or {}).get("status", {}).get("places", [])
    return [place for place in places if place["role"] == role]


def place_of(resource: dict[str, Any] | None, role: str) -> dict[str, Any]:
    """The first place of a role in a ModelDeployment's status, empty when there is none."""
    return next(iter(places_of(resource, role)), {})


def condition(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    """A condition of an object, empty when it is not there."""
    found = [c for c in resource.get("status", {}).get("conditions", []) if c["type"] == kind]
    return dict(found[0]) if found else {}
