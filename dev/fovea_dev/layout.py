"""Where everything of the local cluster lives: folders, addresses, ports and names, each said once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

DEFAULT_NAME = "fovea"
REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
DEV_FOLDER = REPOSITORY_ROOT / "dev"

POD_NETWORK = IPv4Network("10.244.0.0/16")
SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
API_SERVICE_ADDRESS = str(SERVICE_NETWORK[1])
DNS_SERVICE_ADDRESS = str(SERVICE_NETWORK[10])
# A bridge of our own carries the node's address, so that nothing depends on the host's interfaces.
NODE_ADDRESS = "10.245.0.1"
API_PORT = 6443
CLUSTER_DOMAIN = "cluster.local"
DEFAULT_REGISTRY_PORT = 5000

# Every server of the control plane listens on the node's address only: loopback stays free for whatever else runs here.
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380

_NAME = re.compile(r"[a-z][a-z0-9-]{0,9}")


class LayoutError(ValueError):
    """A setting (environment variable) that no cluster can be laid out from."""


@dataclass(frozen=True)
class Cache:
    """The one folder of everything cached or stateful (`FOVEA_CACHE`); an empty one imitates a bare machine."""

    root: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Cache:
        """Read FOVEA_CACHE, else the user's cache folder."""
        chosen = environ.get("FOVEA_CACHE")
        if chosen:
            root = Path(chosen).expanduser()
        else:
            home = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
            root = Path(home) / "fovea"
        return cls(root.absolute())

    @property
    def tools(self) -> Path:
        """Built Go programs; `tools/bin` has a link to the current build of each."""
        return self.root / "tools"

    @property
    def tools_bin(self) -> Path:
        return self.tools / "bin"

    @property
    def go_build(self) -> Path:
        return self.root / "go" / "build"

    @property
    def go_modules(self) -> Path:
        return self.root / "go" / "mod"

    @property
    def uv(self) -> Path:
        return self.root / "uv"

    @property
    def uv_tool(self) -> Path:
        """A virtual environment with uv itself."""
        return self.root / "uv-tool"

    @property
    def uv_program(self) -> Path:
        return self.uv_tool / "bin" / "uv"

    @property
    def peers(self) -> Path:
        """Virtual environments of the model servers that a benchmark compares with."""
        return self.root / "peers"

    @property
    def buildah(self) -> Path:
        """Image layers of the builds (buildah's storage)."""
        return self.root / "buildah"

    @property
    def base(self) -> Path:
        """The Debian root file system that stands in for a base image where no registry is reachable."""
        return self.root / "base"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def locks(self) -> Path:
        """Locks between runs that share this cache."""
        return self.root / "locks"

    @property
    def logs(self) -> Path:
        """Logs of what is not part of one cluster: package installation, Go builds, image builds."""
        return self.root / "logs"


@dataclass(frozen=True)
class Cluster:
    """One embedded cluster. One of another name needs a network namespace of its own: the addresses are the same."""

    cache: Cache
    name: str = DEFAULT_NAME
    registry_port: int = DEFAULT_REGISTRY_PORT

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Cluster:
        """Read FOVEA_CACHE, FOVEA_CLUSTER (name) and FOVEA_REGISTRY_PORT."""
        name = environ.get("FOVEA_CLUSTER") or DEFAULT_NAME
        if not _NAME.fullmatch(name):
            raise LayoutError(
                f"FOVEA_CLUSTER={name!r}: 1 to 10 of a-z, 0-9 and '-', a letter first (interface names are made of it)"
            )
        port = environ.get("FOVEA_REGISTRY_PORT") or str(DEFAULT_REGISTRY_PORT)
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise LayoutError(f"FOVEA_REGISTRY_PORT={port!r}: a TCP port (1 to 65535) is needed")
        return cls(Cache.from_environment(environ), name, int(port))

    @property
    def state(self) -> Path:
        """What `down` removes: keys, etcd's data, kubelet's folder, volumes, logs."""
        return self.cache.root / ("cluster" if self.name == DEFAULT_NAME else f"cluster-{self.name}")

    @property
    def run(self) -> Path:
        """Sockets and mounts: a short path, since a socket's path is limited to 107 bytes."""
        return Path("/run") / ("fovea" if self.name == DEFAULT_NAME else f"fovea-{self.name}")

    @property
    def pids(self) -> Path:
        """Pid files: not in the cache, so that whatever runs is found even by a run with another cache."""
        return self.run / "pids"

    @property
    def lock(self) -> Path:
        """Held by the process that changes the cluster of this name on this machine."""
        return Path("/run/lock") / f"{self.run.name}.lock"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def kubelet_root(self) -> Path:
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        return self.state / "pod-logs"

    @property
    def cni_state(self) -> Path:
        return self.state / "cni-addresses"

    @property
    def volumes(self) -> Path:
        """The folders behind the persistent volumes."""
        return self.state / "volumes"

    @property
    def containerd_root(self) -> Path:
        """Images and snapshots: kept over a clean `down`, so that the next `up` need not pull again."""
        suffix = "" if self.name == DEFAULT_NAME else f"-{self.name}"
        return self.cache.root / f"containerd{suffix}"

    @property
    def containerd_state(self) -> Path:
        return self.run / "containerd"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def runc_root(self) -> Path:
        return self.run / "runc"

    @property
    def cgroup(self) -> str:
        """Name of the top cgroup that holds every pod of this cluster."""
        return "fovea" if self.name == DEFAULT_NAME else f"fovea-{self.name}"

    @property
    def node_name(self) -> str:
        return self.name

    @property
    def node_link(self) -> str:
        return f"{self.name}0"

    @property
    def pod_bridge(self) -> str:
        return f"{self.name}-pods"

    @property
    def nft_table(self) -> str:
        return self.name

    @property
    def policy_table(self) -> str:
        """The nft table that enforces NetworkPolicies."""
        return f"{self.name}-policies"

    @property
    def api_url(self) -> str:
        return f"https://{NODE_ADDRESS}:{API_PORT}"

    @property
    def registry(self) -> str:
        """`host:port` of the local image registry; containerd speaks plain http to loopback."""
        return f"127.0.0.1:{self.registry_port}"
