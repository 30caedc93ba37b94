"""What a job of each operator looks like: how it is asked for, what its pod reports, when it has succeeded."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

from fovea_api.contract import labels, names
from fovea_api.contract.report import REASON_NOTHING_TO_PUBLISH, REASON_PUBLISHED, Published, Termination
from fovea_api.v1alpha1 import API_VERSION
from support.kubelet_player import terminated

IMAGE = "registry.invalid/trainer:1"
ROLES = {"worker": {"count": 2}, "ps": {"count": 1}}


class JobKind(Protocol):
    """A kind of job, and the operator that takes care of it."""

    kind: str
    plural: str
    api_version: str
    agent: str
    """The operator's user agent, up to the first slash."""
    pod_selector: str
    distributed: bool
    """Whether its jobs have four pods: a chief, two workers, a parameter server. Else one."""

    def spec(self) -> dict[str, Any]:
        """A job; its pods have one container."""

    def job_of(self, pod: str) -> str:
        """Name of the job that a pod belongs to."""

    def leads(self, pod: str) -> bool:
        """Whether the job ends with this pod: its chief, or its only one."""

    def running(self) -> dict[str, Any]:
        """Status of a pod that runs."""

    def ended(self, pod: str, code: int) -> dict[str, Any]:
        """Status of a pod whose program has ended."""

    def has_succeeded(self, job: dict[str, Any]) -> bool:
        """Whether the operator says so."""


@dataclass(frozen=True)
class TrainingJobs:
    """Fovea's."""

    distributed: bool = False
    kind: str = "TrainingJob"
    plural: str = "trainingjobs"
    api_version: str = API_VERSION
    agent: str = "fovea-operator"
    pod_selector: str = labels.MANAGED_SELECTOR

    def spec(self) -> dict[str, Any]:
        shape = {"distribution": "ParameterServer", "roles": ROLES} if self.distributed else {}
        return {"trainer": {"container": {"image": IMAGE}}, **shape}

    def job_of(self, pod: str) -> str:
        return pod.rsplit("-", 3)[0]  # role, index, attempt

    def leads(self, pod: str) -> bool:
        return pod.rsplit("-", 3)[1] == names.ROLE_CHIEF

    def running(self) -> dict[str, Any]:
        return self._status("Running", _running(), _running())

    def ended(self, pod: str, code: int) -> dict[str, Any]:
        output = Published("s3://fovea/bench/output", "sha256:" + "b" * 64, 1 << 20, 3)
        if not self.leads(pod):
            said = Termination(REASON_NOTHING_TO_PUBLISH, "this pod publishes nothing: the chief does")
        elif code:
            said = Termination(REASON_PUBLISHED, "the logs are in the store")
        else:
            said = Termination(REASON_PUBLISHED, "output is in the store", output=output)
        return self._status("Failed" if code else "Succeeded", terminated(0, said.to_json()), terminated(code))

    def _status(self, phase: str, sync: Any, trainer: Any) -> dict[str, Any]:
        return {
            "phase": phase,
            "initContainerStatuses": [_container("fovea-sync", sync)],
            "containerStatuses": [_container("trainer", trainer)],
        }

    def has_succeeded(self, job: dict[str, Any]) -> bool:
        return bool(job.get("status", {}).get("state") == "SUCCEEDED")


@dataclass(frozen=True)
class TFJobs:
    """Those of Kubeflow's training operator."""

    distributed: bool = False
    kind: str = "TFJob"
    plural: str = "tfjobs"
    api_version: str = "kubeflow.org/v1"
    agent: str = "training-operator"
    pod_selector: str = "training.kubeflow.org/operator-name=tfjob-controller"

    def spec(self) -> dict[str, Any]:
        # It finds the container that decides by this name.
        template = {"spec": {"containers": [{"name": "tensorflow", "image": IMAGE}]}}
        counts = {"Chief": 1, "Worker": 2, "PS": 1} if self.distributed else {"Worker": 1}
        return {"tfReplicaSpecs": {role: {"replicas": count, "template": template} for role, count in counts.items()}}

    def job_of(self, pod: str) -> str:
        return pod.rsplit("-", 2)[0]  # replica type, index

    def leads(self, pod: str) -> bool:
        return pod.rsplit("-", 2)[1] == ("chief" if self.distributed else "worker")

    def running(self) -> dict[str, Any]:
        return {"phase": "Running", "containerStatuses": [_container("tensorflow", _running())]}

    def ended(self, pod: str, code: int) -> dict[str, Any]:
        del pod  # those of all replicas look the same
        phase = "Failed" if code else "Succeeded"
        return {"phase": phase, "containerStatuses": [_container("tensorflow", terminated(code))]}

    def has_succeeded(self, job: dict[str, Any]) -> bool:
        conditions = job.get("status", {}).get("conditions") or []
        return any(one["type"] == "Succeeded" and one["status"] == "True" for one in conditions)


def kind_of(plural: str, *, distributed: bool) -> JobKind:
    """The kind by its plural name."""
    return {kind.plural: kind for kind in (TrainingJobs(distributed), TFJobs(distributed))}[plural]


def _running() -> dict[str, Any]:
    return {"running": {"startedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}


def _container(name: str, state: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "ready": False, "restartCount": 0, "image": "x", "imageID": ""}
