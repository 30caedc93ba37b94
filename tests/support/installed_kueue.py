"""Kueue itself in the local cluster: built from its module, installed by its own chart, with one queue for a team."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools, module_of
from support.kube_apiserver import KUEUE

ROOT = Path(__file__).parents[2]
NAMESPACE = "kueue-system"
QUEUE, CLUSTER_QUEUE, FLAVOR = "team", "team", "any-node"
PRIORITIES = {"low": 10, "high": 1000}
CONFIGURATION = {
    "apiVersion": "config.kueue.x-k8s.io/v1beta2",
    "kind": "Configuration",
    "health": {"healthProbeBindAddress": ":8081"},
    "metrics": {"bindAddress": ":8443"},
    "webhook": {"port": 9443},
    # Its webhooks would stand before every pod of the cluster.
    "managedJobsNamespaceSelector": {"matchLabels": {"kueue.x-k8s.io/managed-namespace": "true"}},
    "integrations": {"frameworks": ["batch/job"], "externalFrameworks": ["TrainingJob.v1alpha1.fovea.dev"]},
}


@contextmanager
def kueue(cluster: Any, namespace: str, cpu: str) -> Iterator[None]:
    """Kueue with one queue of so much CPU in a namespace."""
    module, tools = module_of("kueue"), Tools(Cache.from_environment())
    tools.build(module)
    chart = tools.source(module) / "charts" / "kueue"
    values = {
        "controllerManager": {"manager": {"image": _image(cluster), "resources": {"requests": {"cpu": "50m"}}}},
        "managerConfig": {"controllerManagerConfigYaml": yaml.safe_dump(CONFIGURATION)},
    }
    install = ("helm", "upgrade", "--install", "kueue", str(chart), "-n", NAMESPACE, "--create-namespace", "--wait")
    cluster.run(*install, "--timeout", "5m", "-f", "-", stdin=json.dumps(values))
    try:
        _set_up(cluster, namespace, cpu)
        # The operator looks for kinds that it does not know at its start, and then every ten minutes.
        restart = ("rollout", "restart", "deployment/fovea-operator", "-n", "fovea-system")
        cluster.kubectl(*restart)
        cluster.kubectl("rollout", "status", "deployment/fovea-operator", "-n", "fovea-system", "--timeout=120s")
        yield
    finally:
        # What bears Kueue's finalizers goes while Kueue is there to remove them.
        cluster.kubectl("delete", "workloads", "--all", "-n", namespace, "--timeout=60s", check=False)
        for kind, name, *where in (
            ("localqueue", QUEUE, "-n", namespace),
            ("clusterqueue", CLUSTER_QUEUE),
            ("resourceflavor", FLAVOR),
        ):
            cluster.kubectl("delete", kind, name, *where, "--timeout=60s", check=False)
        cluster.run("helm", "uninstall", "kueue", "-n", NAMESPACE, "--wait", check=False)
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", check=False)


def _image(cluster: Any) -> dict[str, str]:
    built = subprocess.run(
        [sys.executable, "-m", "fovea_dev", "images", "kueue", "--json"],
        env={**cluster.environment, "PYTHONPATH": str(ROOT / "dev")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    image = json.loads(built.stdout)["kueue"]
    return {"repository": image["repository"], "tag": image["tag"], "pullPolicy": "IfNotPresent"}


def _set_up(cluster: Any, namespace: str, cpu: str) -> None:
    quota = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "64Gi"}]
    cluster.apply(_of("ResourceFlavor", FLAVOR, {}))
    cluster.apply(
        _of(
            "ClusterQueue",
            CLUSTER_QUEUE,
            {
                "namespaceSelector": {},
                "preemption": {"withinClusterQueue": "LowerPriority"},
                "resourceGroups": [
                    {"coveredResources": ["cpu", "memory"], "flavors": [{"name": FLAVOR, "resources": quota}]}
                ],
            },
        )
    )
    queue = _of("LocalQueue", QUEUE, {"clusterQueue": CLUSTER_QUEUE})
    cluster.apply({**queue, "metadata": {**queue["metadata"], "namespace": namespace}})
    for name, value in PRIORITIES.items():
        cluster.apply(
            {"apiVersion": KUEUE, "kind": "WorkloadPriorityClass", "metadata": {"name": name}, "value": value}
        )


def _of(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": KUEUE, "kind": kind, "metadata": {"name": name}, "spec": spec}
