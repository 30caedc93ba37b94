"""An embedded cluster beside the one the other tests use: another name, and a network namespace of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fovea_dev.builder import Buildah
from fovea_dev.images import Images, named
from fovea_dev.layout import Cluster
from fovea_dev.processes import Processes, end
from fovea_dev.remains import pod_processes
from fovea_dev.tools import Tools

ROOT = Path(__file__).parents[2]
NAME = "e2e"
NETWORK = f"fovea-{NAME}"


class SecondCluster:
    """Runs `fovea_dev` for the second cluster, and kills what runs of it, by pid only."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        # Always the embedded cluster, whatever the other tests run against.
        outer = {name: value for name, value in os.environ.items() if name != "FOVEA_KUBECONFIG"}
        own = {"FOVEA_CLUSTER": NAME, "FOVEA_TARGET": "embedded", "PYTHONPATH": str(ROOT / "dev")}
        self.environment = outer | own | (settings or {})
        self.layout = Cluster.from_environment(self.environment)
        self.processes = Processes(self.layout.pids, self.layout.logs)
        self._kubectl = str(Tools(self.layout.cache).path("kubectl"))

    def command(self, *arguments: str) -> list[str]:
        """A command line inside the cluster's network namespace."""
        return ["nsenter", f"--net=/run/netns/{NETWORK}", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a `fovea_dev` command."""
        return subprocess.Popen(
            self.command(sys.executable, "-m", "fovea_dev", *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, seconds: float = 600) -> str:
        """Run a `fovea_dev` command to its end; its output."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=seconds)
        assert process.returncode == 0, f"fovea_dev {' '.join(arguments)}: exit code {process.returncode}\n{output}"
        return output

    def image(self, name: str) -> str:
        """Reference of an image that the `up` of the other cluster has pushed: both registries keep one store."""
        tools = Tools(self.layout.cache)
        made = Images(self.layout.cache, tools, Buildah(self.layout.cache), self.layout.registry)
        return made.pushed(named(name)).reference

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output of kubectl."""
        command = self.command(self._kubectl, "--kubeconfig", str(self.layout.kubeconfig), *arguments)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """An object or a list."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def daemons(self) -> dict[str, int]:
        """Pid of each process of the cluster that runs."""
        found = {name: self.processes.identity(name) for name in self.processes.names()}
        return {name: identity.pid for name, identity in found.items() if identity is not None}

    def everything(self) -> set[int]:
        """Every pid of the cluster: its own processes, its shims, and all that runs in its pods."""
        return {*self.daemons().values(), *pod_processes(self.layout)}

    def kill_everything(self) -> None:
        """SIGKILL to every process of the cluster at once."""
        while pids := self.everything():  # more than once: some were about to start another
            end(pids, grace=0)


@contextmanager
def second_cluster() -> Iterator[SecondCluster]:
    """The second cluster, taken down before (an earlier run may have been killed) and after."""
    cluster = SecondCluster()
    namespace = Path("/run/netns") / NETWORK
    if not namespace.exists():
        subprocess.run(["ip", "netns", "add", NETWORK], check=True)
    subprocess.run(cluster.command("ip", "link", "set", "lo", "up"), check=True)
    cluster.run("down", "--images")
    # As on a machine that never forwarded a packet; a new namespace copies what the first one has.
    subprocess.run(cluster.command("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"), check=True)
    try:
        yield cluster
    finally:
        cluster.run("down", "--images")
        subprocess.run(["ip", "netns", "delete", NETWORK], check=True)
