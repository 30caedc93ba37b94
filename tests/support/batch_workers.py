"""The workers of a BatchPrediction on an API server with the Job controller: steps them as a node would."""

from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.report import REASON_FETCHED, REASON_NOTHING_TO_PUBLISH, REASON_PUBLISHED, Termination
from fovea_api.v1alpha1 import API_VERSION
from support.kube_apiserver import Cluster
from support.kubelet_player import EVICTED, Kubelet, now, published, terminated

FETCHED = terminated(0, Termination(REASON_FETCHED, "the model is in place").to_json())
NOTHING = Termination(REASON_NOTHING_TO_PUBLISH, "the shards of this pod are answered")
OUTPUT = published("team/predictions/scores/uid/output")


def prediction(name: str = "scores", **spec: Any) -> dict[str, Any]:
    """A prediction of the model digits with two workers."""
    full = {
        "model": "digits",
        "input": {"uri": "s3://fovea/team/datasets/test", "format": "images"},
        "parallelism": 2,
    } | spec
    return {"apiVersion": API_VERSION, "kind": "BatchPrediction", "metadata": {"name": name}, "spec": full}


def all_published(records: int, errors: int = 0, shards: int = 4) -> Termination:
    """What the worker says that has published the output."""
    metrics = {"records": float(records), "errors": float(errors), "shards": float(shards)}
    return Termination(REASON_PUBLISHED, "the output is published", output=OUTPUT, metrics=metrics, complete=True)


class Workers:
    """The workers of one prediction."""

    def __init__(self, cluster: Cluster, prediction: str = "scores") -> None:
        self._cluster, self._name = cluster, prediction
        self._kubelet = Kubelet(cluster)

    @property
    def status(self) -> dict[str, Any]:
        """The prediction's status."""
        found = self._cluster.get("BatchPrediction", self._name) or {}
        return dict(found.get("status") or {})

    def in_state(self, *states: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until the prediction is in one of the states; its status."""
        what = f"prediction {self._name} in {'/'.join(states)}"
        try:
            self._cluster.wait(what, lambda: self.status.get("state") in states, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nstatus: {self.status}") from None
        return self.status

    def jobs(self) -> list[str]:
        """Names of its Jobs."""
        found = self._cluster.list("Job", f"{labels.BATCH_PREDICTION}={self._name}")
        return sorted(job["metadata"]["name"] for job in found)

    def pods(self, index: int | None = None) -> list[dict[str, Any]]:
        """Its pods, the oldest first; those of one number."""
        label = f"{labels.BATCH_PREDICTION}={self._name}"
        if index is not None:
            label += f",{labels.COMPLETION_INDEX}={index}"
        return sorted(self._cluster.list("Pod", label), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def newest(self, index: int, *, but: str = "") -> dict[str, Any]:
        """Wait for the pod of a number that has not ended; `but`: the name of one that is not meant."""

        def found() -> dict[str, Any] | None:
            live = [
                pod
                for pod in self.pods(index)
                if pod["status"].get("phase") in (None, "Pending", "Running")
                and not pod["metadata"].get("deletionTimestamp")
                and pod["metadata"]["name"] != but
            ]
            return live[-1] if live else None

        # A Job waits ten seconds before it replaces a pod that failed.
        return dict(self._cluster.wait(f"the pod of worker {index}", found, seconds=60))

    def run(self, index: int, *, but: str = "") -> dict[str, Any]:
        """The pod of a number gets a node, and its program starts."""
        pod = self.newest(index, but=but)
        name = str(pod["metadata"]["name"])
        self._kubelet.bind(name)
        self.started(name)
        return pod

    def started(self, pod: str) -> None:
        """Sidecar and program of a pod with a node have started."""
        running = {"running": {"startedAt": now()}}
        self._status(pod, "Running", batch=running, predict=running)

    def end(
        self,
        pod: dict[str, Any],
        code: int = 0,
        said: Termination = NOTHING,
        *,
        agent_code: int | None = None,
        reason: str = "",
        words: str = "",
    ) -> None:
        """The program ends with a code, and then the sidecar, which says something. `agent_code`: as the program, unless that failed by itself."""
        if agent_code is None:
            agent_code = 0 if code in (0, 1, 137) else code
        self._status(
            str(pod["metadata"]["name"]),
            "Failed" if code else "Succeeded",
            batch=terminated(agent_code, said.to_json()),
            predict=terminated(code, words, reason),
        )

    def evict(self, pod: dict[str, Any]) -> None:
        """A drain: the pod is deleted, and its containers end."""
        name = str(pod["metadata"]["name"])
        self._cluster.patch("Pod", name, {"status": {"conditions": [EVICTED]}}, "status")
        self._cluster.delete("Pod", name)
        self._kubelet.finish_deletions()

    def finish_deletions(self) -> list[str]:
        """Pods that are being deleted go."""
        return self._kubelet.finish_deletions()

    def _status(self, pod: str, phase: str, *, batch: dict[str, Any], predict: dict[str, Any]) -> None:
        agents = {names.FETCH_MODEL_CONTAINER: FETCHED, names.BATCH_CONTAINER: batch}
        status = {
            "phase": phase,
            "startTime": now(),
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": str(phase == "Running")},
            ],
            "initContainerStatuses": [_container(name, state) for name, state in agents.items()],
            "containerStatuses": [_container(names.PREDICT_CONTAINER, predict)],
        }
        self._cluster.patch("Pod", pod, {"status": status}, "status")


def _container(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "lastState": {},
        "ready": "running" in state,
        "restartCount": 0,
        "image": "test",
        "imageID": "",
    }
