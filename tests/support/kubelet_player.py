"""Plays the kubelet (and the Deployment controller): steps pods as a node would, by the status subresource."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from fovea_api.contract import names
from fovea_api.contract.report import REASON_FETCHED, REASON_PUBLISHED, Published, Termination
from support.kube_apiserver import Cluster

DIGEST = "sha256:" + "a" * 64


def now() -> str:
    """This second, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def published(bucket_path: str, *, digest: str = DIGEST) -> Published:
    """A publication of a megabyte in three files."""
    return Published(uri=f"s3://fovea/{bucket_path}", digest=digest, size=1 << 20, files=3)


def terminated(code: int, message: str = "", reason: str = "") -> dict[str, Any]:
    """State of a container that ended."""
    state = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "startedAt": now()}
    return {"terminated": {**state, "finishedAt": now(), "message": message}}


RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
WAITING = {"waiting": {"reason": "PodInitializing"}}
EVICTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
FETCHED = terminated(0, Termination(REASON_FETCHED, "everything is in place").to_json())


class Kubelet:
    """Steps pods of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def bind(self, pod: str, node: str = "node-1") -> None:
        """Give the pod a node, as the scheduler does."""
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        self._cluster.api.request("POST", self._cluster.path("Pod", pod) + "/binding", binding)

    def unschedulable(self, pod: str, message: str) -> None:
        """The scheduler finds no node."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        self._status(pod, {"phase": "Pending", "conditions": [condition]})

    def preparing(self, pod: str) -> None:
        """The first of the agent's containers runs."""
        sync = WAITING if self._fetches(pod) else _running()
        self._status(pod, self._containers(pod, "Pending", fetch=_running(), sync=sync, trainer=WAITING))

    def running(self, pod: str) -> None:
        """Inputs are there; the sidecar and the trainer run."""
        self._status(pod, self._containers(pod, "Running", sync=_running(), trainer=_running(), ready=True))

    def succeeded(self, pod: str, *, model: bool = True, metrics: dict[str, float] | None = None) -> None:
        """The trainer ended with 0, the sidecar published and ended."""
        job = pod.rsplit("-", 3)[0]
        place = f"{self._cluster.namespace}/jobs/{job}/uid"
        message = Termination(
            REASON_PUBLISHED,
            "output and model are in the store",
            output=published(f"{place}/output"),
            model=published(f"{place}/model") if model else None,
            metrics=metrics or {},
        )
        self.ended(pod, 0, sync=message)

    def ended(
        self,
        pod: str,
        code: int,
        *,
        sync: Termination | None = None,
        reason: str = "",
        last_words: str = "",
        evicted: bool = False,
    ) -> None:
        """The trainer ended with a code and those last words; the sidecar said `sync`. `evicted`: the pod was told to go."""
        said = sync or Termination(REASON_PUBLISHED, "the logs are in the store")
        status = self._containers(
            pod,
            "Succeeded" if code == 0 else "Failed",
            sync=terminated(0, said.to_json()),
            trainer=terminated(code, last_words, reason),
        )
        if evicted:
            status["conditions"].append(EVICTED)
        self._status(pod, status)

    def outlived(self, pod: str, code: int, container: str) -> None:
        """The trainer ended with a code, and a container of others lives on: so does the sidecar."""
        status = self._containers(pod, "Running", sync=_running(), trainer=terminated(code))
        status["containerStatuses"].append(_status_of(container, _running()))
        self._status(pod, status)

    def waiting(self, pod: str, reason: str, message: str) -> None:
        """The trainer's container cannot be started."""
        state = {"waiting": {"reason": reason, "message": message}}
        self._status(pod, self._containers(pod, "Pending", sync=_running(), trainer=state))

    def fetch_failed(self, pod: str, code: int, said: Termination) -> None:
        """`fovea-fetch` ended the pod, or the sidecar that does its part ended and is started again and again."""
        failed = terminated(code, said.to_json())
        if self._fetches(pod):
            status = self._containers(pod, "Failed", fetch=failed, sync=WAITING, trainer=WAITING)
        else:
            crashing = {"waiting": {"reason": "CrashLoopBackOff"}}
            status = self._containers(pod, "Pending", sync=crashing, trainer=WAITING, last=failed)
        self._status(pod, status)

    def stop_at_deadline(self, pod: str, code: int = 143) -> bool:
        """End the pod if its activeDeadlineSeconds are over, as a kubelet looks every second; whether it is ended by that."""
        found = self._cluster.get("Pod", pod)
        assert found is not None
        seconds, status = found["spec"].get("activeDeadlineSeconds"), found["status"]
        if status.get("reason") == "DeadlineExceeded":
            return True
        if seconds is None or "startTime" not in status:
            return False
        time = datetime.now(UTC)
        if time < datetime.fromisoformat(status["startTime"]) + timedelta(seconds=seconds):
            return False
        said = Termination(REASON_PUBLISHED, "the logs are in the store")
        trainer = terminated(code)
        trainer["terminated"]["startedAt"] = status["containerStatuses"][0]["state"]["running"]["startedAt"]
        ended = self._containers(pod, "Failed", sync=terminated(0, said.to_json()), trainer=trainer)
        message = "Pod was active on the node longer than the specified deadline"
        self._status(pod, {**ended, "reason": "DeadlineExceeded", "message": message})
        return True

    def vanish(self, pod: str) -> None:
        """The pod object is deleted at once, as when its node is removed."""
        self._cluster.delete("Pod", pod, grace=0)

    def finish_deletions(self) -> list[str]:
        """Pods with a deletionTimestamp end, as a kubelet would end them; their names.

        The API server itself ends a pod without a node, and may do so between the list and the deletion.
        """
        pods = [pod["metadata"] for pod in self._cluster.list("Pod")]
        ending = [str(pod["name"]) for pod in pods if pod.get("deletionTimestamp")]
        for name in ending:
            self._cluster.api.delete(self._cluster.path("Pod", name) + "?gracePeriodSeconds=0")
        return ending

    def deployment_available(self, name: str) -> None:
        """The Deployment's controller says that all its replicas answer."""
        deployment = self._cluster.get("Deployment", name)
        assert deployment is not None
        replicas = deployment["spec"]["replicas"]
        self._cluster.patch(
            "Deployment",
            name,
            {
                "status": {
                    "observedGeneration": deployment["metadata"]["generation"],
                    "replicas": replicas,
                    "updatedReplicas": replicas,
                    "readyReplicas": replicas,
                    "availableReplicas": replicas,
                }
            },
            "status",
        )

    def _containers(
        self,
        pod: str,
        phase: str,
        *,
        fetch: dict[str, Any] = FETCHED,
        sync: dict[str, Any],
        trainer: dict[str, Any],
        ready: bool = False,
        last: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """`last`: how the sidecar's run before this one ended."""
        agents = [_status_of(names.SYNC_CONTAINER, sync) | {"lastState": last or {}}]
        if self._fetches(pod):
            agents.insert(0, _status_of(names.FETCH_CONTAINER, fetch))
        return {
            "phase": phase,
            "startTime": self._taken(pod),
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True" if ready else "False"},
            ],
            "initContainerStatuses": agents,
            "containerStatuses": [_status_of(names.TRAINER_CONTAINER, trainer)],
        }

    def _taken(self, pod: str) -> str:
        """When this node took the pod."""
        found = self._cluster.get("Pod", pod)
        return str(((found or {}).get("status") or {}).get("startTime") or now())

    def _fetches(self, pod: str) -> bool:
        """Whether the pod has a container of its own that fetches."""
        found = self._cluster.get("Pod", pod)
        assert found is not None
        return names.FETCH_CONTAINER in {container["name"] for container in found["spec"]["initContainers"]}

    def _status(self, pod: str, status: dict[str, Any]) -> None:
        self._cluster.patch("Pod", pod, {"status": status}, "status")


def _running() -> dict[str, Any]:
    return {"running": {"startedAt": now()}}


def _status_of(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "lastState": {},
        "ready": "running" in state,
        "restartCount": 0,
        "image": "test",
        "imageID": "",
    }


def said(text: str) -> dict[str, Any]:
    """A termination message as an object."""
    document: dict[str, Any] = json.loads(text)
    return document
