"""A pod that sees the node's processes: for SIGKILL of a container's first process, which nothing inside of it can send."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMESPACE = "default"

KILL = """
import os, pathlib, signal, sys
wanted, killed = sys.argv[1], 0
for process in pathlib.Path("/proc").iterdir():
    if not process.name.isdecimal():
        continue
    try:
        first = next(l for l in (process / "status").read_text().splitlines() if l.startswith("NSpid:")).split()[-1]
        if first == "1" and wanted in (process / "cgroup").read_text():
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        continue
sys.exit(0 if killed == 1 else f"{killed} processes are the first of container {wanted}")
"""


class NodeShell:
    """What an operator of the node could do by hand."""

    def __init__(self, cluster: Any, pod: str) -> None:
        self._cluster, self._pod = cluster, pod

    def kill(self, pod: dict[str, Any], container: str) -> None:
        """SIGKILL to the first process of a running container of a pod."""
        status = pod["status"]
        everyone = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
        identity = next(one["containerID"] for one in everyone if one["name"] == container).rpartition("/")[2]
        self._cluster.kubectl("exec", self._pod, "-n", NAMESPACE, "--", "python3", "-c", KILL, identity)


@contextmanager
def node_shell(cluster: Any, name: str, image: str) -> Iterator[NodeShell]:
    """Such a pod while inside."""
    container = {
        "name": "shell",
        "image": image,
        "command": ["sleep", "infinity"],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    spec = {"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container], "restartPolicy": "Never"}
    metadata = {"name": name, "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    try:
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", NAMESPACE, "--timeout=180s")
        yield NodeShell(cluster, name)
    finally:
        cluster.kubectl("delete", "pod", name, "-n", NAMESPACE, "--now", "--wait=false", "--ignore-not-found")
