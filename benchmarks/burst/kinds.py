"""What a job of each operator looks like: how it is asked for, what its pod reports, when it has succeeded."""

import time
from typing import Any, Protocol

from fovea_api.contract import labels
from fovea_api.contract.report import REASON_PUBLISHED, Published, Termination
from fovea_api.v1alpha1 import API_VERSION
from support.kubelet_player import terminated

IMAGE = "registry.invalid/trainer:1"


class JobKind(Protocol):
    """A kind of job, and the operator that takes care of it."""

    kind: str
    plural: str
    api_version: str
    agent: str
    """The operator's user agent, up to the first slash."""
    pod_selector: str

    def spec(self) -> dict[str, Any]:
        """A job of one pod with one container."""

    def job_of(self, pod: str) -> str:
        """Name of the job that a pod belongs to."""

    def running(self) -> dict[str, Any]:
        """Status of a pod that runs."""

    def succeeded(self) -> dict[str, Any]:
        """Status of a pod that has ended well."""

    def has_succeeded(self, job: dict[str, Any]) -> bool:
        """Whether the operator says so."""


class TrainingJobs:
    """Fovea's."""

    kind = "TrainingJob"
    plural = "trainingjobs"
    api_version = API_VERSION
    agent = "fovea-operator"
    pod_selector = labels.MANAGED_SELECTOR

    def spec(self) -> dict[str, Any]:
        return {"trainer": {"container": {"image": IMAGE}}}

    def job_of(self, pod: str) -> str:
        return pod.rsplit("-", 3)[0]  # role, index, attempt

    def running(self) -> dict[str, Any]:
        return self._status("Running", _running(), _running())

    def succeeded(self) -> dict[str, Any]:
        output = Published("s3://fovea/bench/output", "sha256:" + "b" * 64, 1 << 20, 3)
        said = Termination(REASON_PUBLISHED, "output is in the store", output=output).to_json()
        return self._status("Succeeded", terminated(0, said), terminated(0))

    def _status(self, phase: str, sync: Any, trainer: Any) -> dict[str, Any]:
        return {
            "phase": phase,
            "initContainerStatuses": [_container("fovea-sync", sync)],
            "containerStatuses": [_container("trainer", trainer)],
        }

    def has_succeeded(self, job: dict[str, Any]) -> bool:
        return bool(job.get("status", {}).get("state") == "SUCCEEDED")


class TFJobs:
    """Those of Kubeflow's training operator."""

    kind = "TFJob"
    plural = "tfjobs"
    api_version = "kubeflow.org/v1"
    agent = "training-operator"
    pod_selector = "training.kubeflow.org/operator-name=tfjob-controller"

    def spec(self) -> dict[str, Any]:
        # It finds the container that decides by this name.
        container = {"name": "tensorflow", "image": IMAGE}
        return {"tfReplicaSpecs": {"Worker": {"replicas": 1, "template": {"spec": {"containers": [container]}}}}}

    def job_of(self, pod: str) -> str:
        return pod.rsplit("-", 2)[0]  # replica type, index

    def running(self) -> dict[str, Any]:
        return {"phase": "Running", "containerStatuses": [_container("tensorflow", _running())]}

    def succeeded(self) -> dict[str, Any]:
        return {"phase": "Succeeded", "containerStatuses": [_container("tensorflow", terminated(0))]}

    def has_succeeded(self, job: dict[str, Any]) -> bool:
        conditions = job.get("status", {}).get("conditions") or []
        return any(one["type"] == "Succeeded" and one["status"] == "True" for one in conditions)


JOB_KINDS: dict[str, JobKind] = {kind.plural: kind for kind in (TrainingJobs(), TFJobs())}


def _running() -> dict[str, Any]:
    return {"running": {"startedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}


def _container(name: str, state: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "ready": False, "restartCount": 0, "image": "x", "imageID": ""}
