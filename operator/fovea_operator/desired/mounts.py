"""Volumes that several pods of ours have, and where their containers find them."""

from typing import Any

from fovea_api.contract import environment, names, report

WORK = {"name": "fovea-work", "mountPath": environment.WORK_MOUNT}
AGENT = {"name": "fovea-agent", "mountPath": environment.AGENT_MOUNT}
TMP = {"name": "fovea-tmp", "mountPath": "/tmp"}  # noqa: S108 - a mount path
MODELS = {"name": "fovea-models", "mountPath": environment.MODELS_MOUNT}
MODEL_CACHE = {"name": "fovea-model-cache", "mountPath": environment.MODEL_CACHE_MOUNT}
REPORT = {"name": "fovea-report", "mountPath": environment.REPORT_TOKEN_MOUNT, "readOnly": True}
_TOKEN_SECONDS = 3600


def report_volume() -> dict[str, Any]:
    """The volume with the token by which the operator knows the pod that reports."""
    token = {
        "audience": names.REPORT_TOKEN_AUDIENCE,
        "expirationSeconds": _TOKEN_SECONDS,
        "path": report.REPORT_TOKEN_FILE,
    }
    return {"name": REPORT["name"], "projected": {"sources": [{"serviceAccountToken": token}]}}
