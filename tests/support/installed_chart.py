"""The chart on an API server without controllers: Helm makes the release, tests carry out the installer's hook with its own rights alone."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from fovea_api.v1alpha1 import API_VERSION
from fovea_dev.apiserver import ApiServer
from support import helm

TEAM = "vision"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MACHINE_TYPES = f"/apis/{API_VERSION}/machinetypes"
VALUES = {"objectStore": {"namespaces": [TEAM]}}


class Chart:
    """The chart and one API server."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def kubectl(
        self, *arguments: str, manifests: list[helm.Manifest] | None = None, kubeconfig: Path | None = None
    ) -> Any:
        """Run kubectl; the finished process."""
        program = self.server.plane.program("kubectl")
        return subprocess.run(
            [str(program), *arguments],
            env={**os.environ, "KUBECONFIG": str(kubeconfig or self.server.kubeconfig)},
            input=yaml.safe_dump_all(manifests or []),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def apply(self, manifests: list[helm.Manifest], *arguments: str, kubeconfig: Path | None = None) -> None:
        """Server-side apply with strict validation; fails with what kubectl said."""
        command = ("apply", "--server-side", "--validate=strict", *arguments, "-f", "-")
        done = self.kubectl(*command, manifests=manifests, kubeconfig=kubeconfig)
        assert done.returncode == 0, done.stderr

    def namespace(self, name: str, **label: str) -> None:
        """Make a namespace."""
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}}])

    def hook(self, manifests: list[helm.Manifest], account: str) -> Path:
        """Make a hook's ServiceAccount and rights; a kubeconfig that has nothing else."""
        kinds = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
        self.apply([item for item in manifests if item["kind"] in kinds and item["metadata"]["name"] == account])
        return self.server.service_account_kubeconfig(helm.NAMESPACE, account)

    def install_crds(self, values: dict[str, Any] | None = None, kubeconfig: Path | None = None) -> Any:
        """What the hook's Job does; the finished process."""
        manifests = helm.template({**VALUES, **(values or {})})
        account = kubeconfig or self.hook(manifests, "fovea-installer")
        return run_installer(manifests, self.folder, account)


def run_installer(manifests: list[helm.Manifest], folder: Path, kubeconfig: Path) -> Any:
    """Run the command of the installer's Job on the files of its ConfigMap."""
    mounted = folder / "manifests"
    mounted.mkdir(exist_ok=True)
    for name, text in helm.one(manifests, "ConfigMap", "fovea-installer")["data"].items():
        (mounted / name).write_text(text)
    container = helm.one(manifests, "Job", "fovea-installer")["spec"]["template"]["spec"]["containers"][0]
    words = [word.replace("/manifests", str(mounted)) for word in (*container["command"], *container["args"])]
    assert words[0] == "python"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    return subprocess.run(
        [sys.executable, *words[1:]], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def versions(chart: Chart, path: str) -> dict[str, str]:
    items = chart.server.client.get(path)["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}
