"""Plays Kueue against its real definitions: steps Workloads of one namespace as its controllers would, by the status subresource."""

from pathlib import Path
from typing import Any

import yaml
from fovea_dev.api import ApiError
from fovea_dev.apiserver import ApiServer
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools, module_of
from support.kube_apiserver import KUEUE, Cluster, path_of
from support.kubelet_player import now
from support.polling import until

KINDS = ("workloads", "resourceflavors", "workloadpriorityclasses")


def definitions() -> Path:
    """Folder with Kueue's CustomResourceDefinitions, as its module brings them."""
    return Tools(Cache.from_environment()).source(module_of("kueue")) / "config/components/crd/bases"


def install(server: ApiServer) -> None:
    """Define the kinds of Kueue that Fovea uses."""
    for plural in KINDS:
        manifest = yaml.safe_load((definitions() / f"kueue.x-k8s.io_{plural}.yaml").read_text())
        server.client.apply(path_of(manifest), manifest)

    def served() -> bool:
        try:
            return {item["name"] for item in server.client.get(f"/apis/{KUEUE}")["resources"]} >= set(KINDS)
        except ApiError:
            return False

    until(served, seconds=30, what="Kueue's kinds are served")


class Kueue:
    """Steps Workloads of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def workload(self, job: str) -> dict[str, Any]:
        """The Workload of a job, once it is there."""
        name = f"trainingjob-{job}"
        found: dict[str, Any] = self._cluster.wait(f"Workload {name}", lambda: self._cluster.get("Workload", name))
        return found

    def flavor(self, name: str, **spec: Any) -> None:
        """Make a ResourceFlavor."""
        manifest = {"apiVersion": KUEUE, "kind": "ResourceFlavor", "metadata": {"name": name}, "spec": spec}
        self._cluster.api.apply(path_of(manifest), manifest)

    def priority(self, name: str, value: int) -> None:
        """Make a WorkloadPriorityClass."""
        manifest = {"apiVersion": KUEUE, "kind": "WorkloadPriorityClass", "metadata": {"name": name}, "value": value}
        self._cluster.api.apply(path_of(manifest), manifest)

    def pending(self, job: str, message: str) -> None:
        """There is no quota."""
        self._conditions(job, QuotaReserved=("False", "Pending", message))

    def admit(self, job: str, flavor: str) -> None:
        """Reserve quota and admit; as Kueue does, an eviction is over by that."""
        sets = self.workload(job)["spec"]["podSets"]
        assigned = [{"name": one["name"], "count": one["count"], "flavors": {"cpu": flavor}} for one in sets]
        self._conditions(
            job,
            {"admission": {"clusterQueue": "gpus", "podSetAssignments": assigned}},
            QuotaReserved=("True", "QuotaReserved", "Quota reserved in ClusterQueue gpus"),
            Admitted=("True", "Admitted", "The workload is admitted"),
            Evicted=("False", "QuotaReserved", "Previously: Preempted"),
        )

    def preempt(self, job: str, message: str = "Preempted to accommodate a workload of higher priority") -> None:
        """Take the quota back. The Workload holds it until the job's controller gives it back."""
        self._conditions(job, Evicted=("True", "Preempted", message))

    def says(self, job: str, kind: str) -> str:
        """Status of a condition; empty without it."""
        conditions = self.workload(job).get("status", {}).get("conditions", ())
        return next((str(one["status"]) for one in conditions if one["type"] == kind), "")

    def _conditions(self, job: str, status: dict[str, Any] | None = None, **changes: tuple[str, str, str]) -> None:
        held = {one["type"]: one for one in self.workload(job).get("status", {}).get("conditions", ())}
        for kind, (value, reason, message) in changes.items():
            held[kind] = {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastTransitionTime": now(),
            }
        patch = {"status": {**(status or {}), "conditions": list(held.values())}}
        self._cluster.patch("Workload", f"trainingjob-{job}", patch, "status")
