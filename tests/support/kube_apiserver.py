"""A real API server with Fovea's CRDs for the cluster tier: one per session, a namespace per test."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from fovea_api.v1alpha1 import API_VERSION, KINDS
from fovea_dev.api import Api, ApiError
from fovea_dev.apiserver import ApiServer, build_tools
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools
from support.polling import until

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
MACHINE = "standard"

KUEUE = "kueue.x-k8s.io/v1beta2"
GATEWAY_API = "gateway.networking.k8s.io/v1"

_PLURALS = {
    "Pod": "pods",
    "Service": "services",
    "Event": "events",
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ResourceQuota": "resourcequotas",
    "LimitRange": "limitranges",
    "Deployment": "deployments",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "NetworkPolicy": "networkpolicies",
    "Lease": "leases",
    "TrainingJob": "trainingjobs",
    "ModelVersion": "modelversions",
    "ModelDeployment": "modeldeployments",
    "BatchPrediction": "batchpredictions",
    "MachineType": "machinetypes",
    "Job": "jobs",
    "Workload": "workloads",
    "GRPCRoute": "grpcroutes",
    "HTTPRoute": "httproutes",
    "PodGroup": "podgroups",
    "ResourceFlavor": "resourceflavors",
    "WorkloadPriorityClass": "workloadpriorityclasses",
    "CustomResourceDefinition": "customresourcedefinitions",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}

_GROUPS = {
    "Deployment": "apps/v1",
    "Lease": "coordination.k8s.io/v1",
    "Job": "batch/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "Workload": KUEUE,
    "GRPCRoute": GATEWAY_API,
    "HTTPRoute": GATEWAY_API,
    "PodGroup": "scheduling.k8s.io/v1alpha2",
}


def path_of(manifest: dict[str, Any], *, name: bool = True) -> str:
    """URL path of an object, or of its collection."""
    version, metadata = manifest["apiVersion"], manifest["metadata"]
    parts = [f"/apis/{version}" if "/" in version else f"/api/{version}"]
    if "namespace" in metadata:
        parts.append(f"namespaces/{metadata['namespace']}")
    parts.append(_PLURALS[manifest["kind"]])
    if name:
        parts.append(metadata["name"])
    return "/".join(parts)


class Cluster:
    """What tests do with the API server, in one namespace."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.api: Api = server.client

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """POST an object; its namespace is the test's."""
        manifest = {**manifest, "metadata": {"namespace": self.namespace, **manifest["metadata"]}}
        return self.api.request("POST", path_of(manifest, name=False), manifest)

    def path(self, kind: str, name: str = "") -> str:
        """Path of a kind or an object in the test's namespace."""
        version = _GROUPS.get(kind, "v1")
        if kind in ("TrainingJob", "ModelVersion", "ModelDeployment", "BatchPrediction"):
            version = API_VERSION
        path = path_of({"apiVersion": version, "kind": kind, "metadata": {"namespace": self.namespace, "name": name}})
        return path.rstrip("/")

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object, None when it is not there."""
        try:
            return self.api.get(self.path(kind, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, kind: str, label: str = "") -> list[dict[str, Any]]:
        """Objects of a kind."""
        query = f"?labelSelector={label}" if label else ""
        return list(self.api.get(self.path(kind) + query)["items"])

    def patch(self, kind: str, name: str, patch: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        """Merge-patch an object."""
        path = self.path(kind, name) + (f"/{subresource}" if subresource else "")
        return self.api.request("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, kind: str, name: str, grace: int | None = None) -> None:
        """Delete an object."""
        query = "" if grace is None else f"?gracePeriodSeconds={grace}"
        self.api.request("DELETE", self.path(kind, name) + query)

    def wait(self, what: str, probe: Any, *, seconds: float = 30, every: float = 0.1) -> Any:
        """Wait until `probe()` is true; says what was in the namespace when it does not become so."""
        try:
            return until(probe, seconds=seconds, what=what, every=every)
        except AssertionError as error:
            jobs = {job["metadata"]["name"]: job.get("status") for job in self.list("TrainingJob")}
            pods = {pod["metadata"]["name"]: pod["status"].get("phase") for pod in self.list("Pod")}
            raise AssertionError(f"{error}\njobs: {json.dumps(jobs, indent=1)}\npods: {pods}") from None

    def job_in(self, name: str, *states: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until a job is in one of the states; the job."""

        def probe() -> dict[str, Any] | None:
            job = self.get("TrainingJob", name)
            return job if job is not None and job.get("status", {}).get("state") in states else None

        found: dict[str, Any] = self.wait(f"job {name} in {'/'.join(states)}", probe, seconds=seconds)
        return found


@contextmanager
def api_server(folder: Path, *, audit: bool = True) -> Iterator[ApiServer]:
    """An API server with the CRDs, a default MachineType and the system namespace of the operator."""
    tools = Tools(Cache.from_environment())
    build_tools(tools)
    with ApiServer(folder, tools=tools, audit=audit) as server:
        for path in sorted(CRDS.glob("*.yaml")):
            for manifest in yaml.safe_load_all(path.read_text()):
                server.client.apply(path_of(manifest), manifest)
        until(lambda: _is_served(server), seconds=30, what="Fovea's kinds are served")
        server.client.apply(f"/apis/{API_VERSION}/machinetypes/{MACHINE}", machine_type(MACHINE, default=True))
        yield server


def _is_served(server: ApiServer) -> bool:
    try:
        return len([r for r in server.client.get(f"/apis/{API_VERSION}")["resources"] if "/" not in r["name"]]) == len(
            KINDS
        )
    except ApiError:
        return False


def machine_type(name: str, *, default: bool = False, **spec: Any) -> dict[str, Any]:
    """A MachineType."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MachineType",
        "metadata": {"name": name},
        "spec": {"cpu": "100m", "memory": "128Mi", "default": default, **spec},
    }


def make_namespace(server: ApiServer, prefix: str = "test") -> Cluster:
    """A new namespace with its default ServiceAccount (no controller manager makes one here)."""
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    client = server.client
    client.request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    client.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
    return Cluster(server, name)
