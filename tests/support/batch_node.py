"""A node for workers of a BatchPrediction: what the Job's pods say is run as processes, the agent's and the program's."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fovea_api.contract import environment, expansion, labels, names
from fovea_api.contract.plan import BatchPlan
from fovea_api.contract.report import REPORT_TOKEN_FILE
from support.batch_pod import BatchPod
from support.batch_workers import Workers
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.progress_reports import pod_token


@dataclass
class Node:
    """Takes each pod of one prediction, and runs it until it ends."""

    cluster: Cluster
    workers: Workers
    keys: Path
    """The key of the object store, as the namespace's Secret has it."""
    model: Path
    """What `fetch-model` would bring."""
    folder: Path
    runs: dict[str, BatchPod] = field(default_factory=dict)
    """By the name of the pod."""
    over: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Start pods that are new, and say of those whose program has ended how it did."""
        for pod in self.workers.pods():
            name = str(pod["metadata"]["name"])
            if name not in self.runs and not pod["metadata"].get("deletionTimestamp"):
                self.runs[name] = self._start(pod)
            run = self.runs.get(name)
            if run is not None and name not in self.over and run.program is not None and run.program.poll() is not None:
                self.over.add(name)
                code, ended = run.ended()
                words = (run.folder / "program.log").read_text()[-2000:]
                self.workers.end(pod, code, ended.termination, agent_code=ended.code, words=words if code else "")

    def lose(self, name: str) -> None:
        """All processes of a pod are killed at once, and the pod is deleted: its node is gone."""
        self.over.add(name)
        self.runs[name].kill()
        self.cluster.delete("Pod", name)
        self.workers.finish_deletions()

    def stop(self) -> None:
        """End what is left."""
        for run in self.runs.values():
            run.kill()

    def _start(self, pod: dict[str, Any]) -> BatchPod:
        name, spec = str(pod["metadata"]["name"]), pod["spec"]
        [batch] = [each for each in spec["initContainers"] if each["name"] == names.BATCH_CONTAINER]
        [plan] = [each["value"] for each in batch["env"] if each["name"] == environment.PLAN]
        folder = self.folder / name
        folder.mkdir()
        Kubelet(self.cluster).bind(name)
        (folder / REPORT_TOKEN_FILE).write_text(pod_token(self.cluster, pod))
        index = int(pod["metadata"]["labels"][labels.COMPLETION_INDEX])
        read = BatchPlan.from_json(expansion.unescaped(plan))
        run = BatchPod(read, folder, self.keys, self.model, index).start()
        self.workers.started(name)
        return run
