"""The node: containerd, kubelet, kube-proxy and the pods' network plugin, and healing after everything was killed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from fovea_dev import cgroups, network
from fovea_dev.control_plane import ControlPlane
from fovea_dev.layout import (
    CLUSTER_DOMAIN,
    DNS_SERVICE_ADDRESS,
    NODE_ADDRESS,
    POD_NETWORK,
    Cluster,
)
from fovea_dev.pki import Subject, write_private
from fovea_dev.processes import Processes, Program
from fovea_dev.remains import clear_pods, shims
from fovea_dev.tools import Tools

CNI_PLUGINS = Path("/usr/lib/cni")
MAX_PODS = 300


def containerd_configuration(cluster: Cluster, pause_image: str) -> str:
    """Configuration of containerd (TOML)."""
    return f"""\
version = 2
root = "{cluster.containerd_root}"
state = "{cluster.containerd_state}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{cluster.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{cluster.containerd_root}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Root without CAP_SYS_RESOURCE (as in many containers and CI machines) may not lower a process's oom score.
  restrict_oom_score_adj = true
  # So that every network namespace of ours lies below a folder of ours.
  netns_mounts_under_state_dir = true
  max_concurrent_downloads = 10

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    discard_unpacked_layers = true

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{cluster.runc_root}"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{cluster.config}/cni"
"""


def cni_configuration(cluster: Cluster) -> dict[str, Any]:
    """The pods' network: one bridge, addresses handed out locally. Masquerading is done by our own nft table."""
    return {
        "cniVersion": "0.4.0",
        "name": cluster.name,
        "plugins": [
            {
                "type": "bridge",
                "bridge": cluster.pod_bridge,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(cluster.cni_state),
                    "ranges": [[{"subnet": str(POD_NETWORK)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def kubelet_configuration(cluster: Cluster, plane: ControlPlane) -> dict[str, Any]:
    """KubeletConfiguration, tuned for pods that start quickly on a small machine."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.pki.certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(plane.pki.certificate("kubelet")),
        "tlsPrivateKeyFile": str(plane.pki.key("kubelet")),
        "containerRuntimeEndpoint": f"unix://{cluster.containerd_socket}",
        "podLogsDir": str(cluster.pod_logs),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "resolvConf": "",
        "maxPods": MAX_PODS,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "syncFrequency": "10s",
        "volumeStatsAggPeriod": "5m0s",
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def proxy_configuration(cluster: Cluster) -> dict[str, Any]:
    """KubeProxyConfiguration: nftables, and no kernel setting of the host touched."""
    untouched = {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": f"{NODE_ADDRESS}:10256",
        "metricsBindAddress": f"{NODE_ADDRESS}:10249",
        "clusterCIDR": str(POD_NETWORK),
        "hostnameOverride": cluster.node_name,
        "oomScoreAdj": 0,
        "conntrack": untouched,
        "nftables": {"minSyncPeriod": "100ms"},
        "clientConnection": {"kubeconfig": str(cluster.config / "kube-proxy.kubeconfig"), "qps": 100, "burst": 200},
    }


class Node:
    """Writes the node's configuration and runs its three programs."""

    def __init__(self, cluster: Cluster, plane: ControlPlane, processes: Processes, tools: Tools) -> None:
        self._cluster = cluster
        self._plane = plane
        self._processes = processes
        self._tools = tools

    def make_keys(self) -> None:
        """The node's certificates: kubelet (client and server) and kube-proxy."""
        name = self._cluster.node_name
        kubelet = Subject("kubelet", f"system:node:{name}", "system:nodes", (NODE_ADDRESS,), (name,))
        self._plane.pki.issue("ca", [kubelet, Subject("kube-proxy", "system:kube-proxy")])

    def bring_up(self, pause_image: str, notes: list[str]) -> None:
        """Start what does not run; clear what a killed node left behind first."""
        cluster = self._cluster
        if self._was_killed():
            self._processes.stop("kubelet")
            if clear_pods(cluster):
                notes.append("cleared the remains of a killed node")
        if self._processes.identity("kube-proxy") and not network.proxy_tables_exist():
            self._processes.stop("kube-proxy")
            notes.append("kube-proxy's tables were gone")
        cgroups.make(cluster.cgroup)
        for folder in (cluster.run, cluster.cni_state, cluster.pod_logs, cluster.kubelet_root, cluster.containerd_root):
            folder.mkdir(parents=True, exist_ok=True)
        self._plane.kubeconfig(cluster.config / "kubelet.kubeconfig", client="kubelet")
        self._plane.kubeconfig(cluster.config / "kube-proxy.kubeconfig", client="kube-proxy")
        started = [name for name in ("containerd", "kubelet", "kube-proxy") if self._ensure(name, pause_image)]
        notes.append("started " + " ".join(started) if started else "already running")

    def _was_killed(self) -> bool:
        # With containerd or a shim alive, containers go on: containerd finds them again. With neither, only processes,
        # mounts and addresses without an owner can be left.
        return self._processes.identity("containerd") is None and not shims(self._cluster.containerd_socket)

    def _ensure(self, name: str, pause_image: str) -> bool:
        cluster = self._cluster
        if name == "containerd":
            network = json.dumps(cni_configuration(cluster), indent=2)
            write_private(cluster.config / "cni" / "10-pods.conflist", network)
            text = containerd_configuration(cluster, pause_image)
            file = cluster.config / "containerd.toml"
            command = ["containerd", "--config", str(file)]
        elif name == "kubelet":
            text = json.dumps(kubelet_configuration(cluster, self._plane), indent=2)
            file = cluster.config / "kubelet.json"
            command = [str(self._tools.path("kubelet")), *self._kubelet_flags(file)]
        else:
            text = json.dumps(proxy_configuration(cluster), indent=2)
            file = cluster.config / "kube-proxy.json"
            command = [str(self._tools.path("kube-proxy")), f"--config={file}"]
        write_private(file, text)
        keys = "" if name == "containerd" else self._plane.pki.fingerprint()
        restarted = self._processes.ensure(Program(name, command), configuration=text + keys)
        if name == "containerd":
            self._processes.wait(name, lambda: cri_answers(cluster.containerd_socket), 60, "an answer of CRI")
        return restarted

    def _kubelet_flags(self, configuration: Path) -> list[str]:
        cluster = self._cluster
        return [
            f"--config={configuration}",
            f"--kubeconfig={cluster.config / 'kubelet.kubeconfig'}",
            f"--root-dir={cluster.kubelet_root}",
            f"--hostname-override={cluster.node_name}",
            f"--node-ip={NODE_ADDRESS}",
        ]


def cri_answers(path: Path) -> bool:
    """Whether the container runtime behind this socket answers the first question of kubelet.

    An open socket is not enough: containerd listens before its CRI service is initialized, and kubelet ends at the error
    that it gets then.
    """
    command = ["curl", "--silent", "--max-time", "2", "--http2-prior-knowledge", "--unix-socket", str(path)]
    headers = ["--header", "content-type: application/grpc", "--header", "te: trailers"]
    empty_message = bytes(5)  # gRPC's frame: not compressed, length 0
    done = subprocess.run(
        [*command, *headers, "--data-binary", "@-", "http://localhost/runtime.v1.RuntimeService/Version"],
        input=empty_message,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0 and bool(done.stdout)  # an error has trailers only
