"""Small TFJobs and training inputs, as their authors would write them."""

from copy import deepcopy
from typing import Any

POD = {"spec": {"containers": [{"name": "tensorflow", "image": "registry.example.com/train:1"}]}}
INPUT = {"scaleTier": "BASIC", "masterConfig": {"imageUri": "registry.example.com/train:1"}}


def tfjob(roles: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A TFJob; each role has the replicas that are given, or the fields."""
    given = {"Worker": 1} if roles is None else roles
    specs = {
        name: {"template": deepcopy(POD), **(one if isinstance(one, dict) else {"replicas": one})}
        for name, one in given.items()
    }
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": "mnist"},
        "spec": {"tfReplicaSpecs": specs, **spec},
    }


def of_pod(container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    """A TFJob of one worker whose pod, or the program's container in it, has more fields."""
    job = tfjob()
    spec = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    spec["containers"][0] |= container or {}
    spec |= pod
    return job


def hosted(**fields: Any) -> dict[str, Any]:
    return {"jobId": "census", "trainingInput": {**deepcopy(INPUT), **fields}}


def custom(**fields: Any) -> dict[str, Any]:
    return hosted(scaleTier="CUSTOM", **{"masterType": "n1-standard-4", **fields})
