"""TrainingJobs as the API server keeps them when they have ended: the manifest, the status, and who wrote which field."""

import hashlib
from typing import Any

TIME = "2026-01-01T00:00:00Z"


def ended_job(name: str, *, namespace: str = "team", uid: str = "", version: int = 1) -> dict[str, Any]:
    """A job that has published its model; digests and addresses are its own, as far as they would be."""
    uid = uid or f"uid-{name}"
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": TIME,
            "managedFields": [_managed("fovea", "status"), _managed("kubectl-create", "")],
        },
        "spec": {
            "trainer": {"recipe": "image-classifier"},
            "args": {"epochs": 10, "image-size": 64, "learning-rate": 0.01, "optimizer": "sgd"},
            "inputs": {"data": "s3://fovea/vision/datasets/digits"},
            "checkpoint": {"everySteps": 100, "keep": 3},
            "model": {"name": "digits"},
            "runPolicy": {"backoffLimit": 3, "cleanPodPolicy": "Running", "maxRunningSeconds": 3600},
        },
        "status": status(name, namespace, uid),
    }


def status(name: str, namespace: str, uid: str) -> dict[str, Any]:
    """The status of a job that has published output and model."""
    return {
        "state": "SUCCEEDED",
        "reason": "JobSucceeded",
        "message": f"Succeeded: model digits is registered as version {len(name)}.",
        "observedGeneration": 1,
        "startTime": TIME,
        "endTime": TIME,
        "runningSeconds": 61,
        "conditions": [
            _condition("Admitted", "True", "Admitted", "The job was admitted."),
            _condition("Running", "False", "JobSucceeded", "The program has ended."),
            _condition("Succeeded", "True", "JobSucceeded", "Succeeded: the model is registered."),
        ],
        "roles": {"chief": {"active": 0, "pending": 0, "succeeded": 1, "failed": 0}},
        "progress": {"step": 1000, "steps": 1000, "epoch": 10, "epochs": 10, "metrics": {"loss": 0.0132}},
        "output": _published(name, namespace, uid, "output"),
        "model": _published(name, namespace, uid, "model"),
    }


def _published(name: str, namespace: str, uid: str, what: str) -> dict[str, Any]:
    digest = "sha256:" + hashlib.sha256(f"{uid}{what}".encode()).hexdigest()
    return {
        "uri": f"s3://fovea/{namespace}/jobs/{name}/{uid}/{what}/0",
        "digest": digest,
        "bytes": 1048576 + len(name),
        "files": 3,
    }


def _condition(kind: str, value: str, reason: str, message: str) -> dict[str, Any]:
    told = {"type": kind, "status": value, "reason": reason, "message": message}
    return {**told, "lastTransitionTime": TIME, "observedGeneration": 1}


def _managed(manager: str, subresource: str) -> dict[str, Any]:
    fields = {"f:status": {f"f:{field}": {} for field in ("conditions", "message", "progress", "state")}}
    return {"manager": manager, "operation": "Apply", "time": TIME, "fieldsV1": fields, "subresource": subresource}
