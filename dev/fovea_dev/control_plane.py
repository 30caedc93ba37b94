"""etcd, API server, controller manager and scheduler: their certificates and command lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fovea_dev.api import Api
from fovea_dev.layout import (
    API_PORT,
    API_SERVICE_ADDRESS,
    CLUSTER_DOMAIN,
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    NODE_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
    Cluster,
)
from fovea_dev.pki import Pki, Subject
from fovea_dev.processes import Processes, Program

API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
)
# The API server's name inside the cluster: an object store there can fetch the keys and check a pod's token.
SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc"

_GANGS = "GenericWorkload=true,GangScheduling=true"


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


@dataclass(frozen=True)
class ControlPlane:
    """Addresses, keys and data folder of one etcd and API server."""

    pki: Pki
    data: Path
    api: Address
    etcd_client: Address
    etcd_peer: Address
    program: Callable[[str], Path]

    def make_keys(self) -> None:
        """Make what is missing of the authorities, certificates and the ServiceAccount key."""
        for authority in ("ca", "front-proxy-ca", "etcd-ca"):
            self.pki.authority(authority)
        host = self.api.host
        etcd = Subject("etcd", "etcd", addresses=("127.0.0.1", self.etcd_client.host), names=("localhost",))
        self.pki.issue("etcd-ca", [etcd, Subject("apiserver-etcd-client", "kube-apiserver")])
        self.pki.issue("front-proxy-ca", [Subject("front-proxy-client", "front-proxy-client")])
        addresses = tuple(dict.fromkeys(("127.0.0.1", host, API_SERVICE_ADDRESS)))
        self.pki.issue(
            "ca",
            [
                Subject("apiserver", "kube-apiserver", addresses=addresses, names=API_SERVER_NAMES),
                Subject("apiserver-kubelet-client", "kube-apiserver-kubelet-client"),
                Subject("admin", "kubernetes-admin", "system:masters"),
                Subject("controller-manager", "system:kube-controller-manager", addresses=(host,)),
                Subject("scheduler", "system:kube-scheduler", addresses=(host,)),
            ],
        )
        self.pki.service_account_key()

    def client(self) -> Api:
        """An administrator's client of the API server."""
        return Api(
            self.api.host,
            self.api.port,
            authority=self.pki.certificate("ca"),
            certificate=self.pki.certificate("admin"),
            key=self.pki.key("admin"),
        )

    def kubeconfig(self, path: Path, client: str = "admin") -> None:
        """Write a kubeconfig for the holder of one of the client certificates."""
        self.pki.kubeconfig(path, server=f"https://{self.api.host}:{self.api.port}", authority="ca", client=client)

    def etcd(self) -> Program:
        """One etcd. It never waits for the disk: a crash of the machine may cost the cluster, not more."""
        client = f"https://{self.etcd_client.host}:{self.etcd_client.port}"
        peer = f"https://{self.etcd_peer.host}:{self.etcd_peer.port}"
        flags = {
            "name": "default",
            "data-dir": self.data,
            "unsafe-no-fsync": "true",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "client-cert-auth": "true",
            "trusted-ca-file": self.pki.certificate("etcd-ca"),
            "cert-file": self.pki.certificate("etcd"),
            "key-file": self.pki.key("etcd"),
            "peer-client-cert-auth": "true",
            "peer-trusted-ca-file": self.pki.certificate("etcd-ca"),
            "peer-cert-file": self.pki.certificate("etcd"),
            "peer-key-file": self.pki.key("etcd"),
            "auto-compaction-retention": "10m",
            "quota-backend-bytes": str(4 << 30),
            "log-level": "warn",
        }
        return Program("etcd", [str(self.program("etcd")), *_flags(flags)])

    def api_server(self, extra: dict[str, str] | None = None) -> Program:
        """kube-apiserver with RBAC, Node authorization and NodeRestriction, TLS on every connection."""
        flags = {
            **self._listening(),
            **self._authentication(),
            "service-cluster-ip-range": SERVICE_NETWORK,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            # Pods that get their nodes together (PodGroup).
            "feature-gates": _GANGS,
            "runtime-config": "scheduling.k8s.io/v1alpha2=true",
            "etcd-servers": f"https://{self.etcd_client.host}:{self.etcd_client.port}",
            "etcd-cafile": self.pki.certificate("etcd-ca"),
            "etcd-certfile": self.pki.certificate("apiserver-etcd-client"),
            "etcd-keyfile": self.pki.key("apiserver-etcd-client"),
            "kubelet-certificate-authority": self.pki.certificate("ca"),
            "kubelet-client-certificate": self.pki.certificate("apiserver-kubelet-client"),
            "kubelet-client-key": self.pki.key("apiserver-kubelet-client"),
            "kubelet-preferred-address-types": "InternalIP",
            **(extra or {}),
        }
        return Program("kube-apiserver", [str(self.program("kube-apiserver")), *_flags(flags)])

    def _listening(self) -> dict[str, object]:
        return {
            "bind-address": self.api.host,
            "advertise-address": self.api.host,
            "secure-port": self.api.port,
            "cert-dir": self.pki.folder,
            "tls-cert-file": self.pki.certificate("apiserver"),
            "tls-private-key-file": self.pki.key("apiserver"),
        }

    def _authentication(self) -> dict[str, object]:
        return {
            "client-ca-file": self.pki.certificate("ca"),
            "service-account-issuer": SERVICE_ACCOUNT_ISSUER,
            "service-account-jwks-uri": f"{SERVICE_ACCOUNT_ISSUER}/openid/v1/jwks",
            "service-account-key-file": self.pki.key("service-account"),
            "service-account-signing-key-file": self.pki.key("service-account"),
            # The aggregation layer (metrics-server needs it).
            "requestheader-client-ca-file": self.pki.certificate("front-proxy-ca"),
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-username-headers": "X-Remote-User",
            "proxy-client-cert-file": self.pki.certificate("front-proxy-client"),
            "proxy-client-key-file": self.pki.key("front-proxy-client"),
        }

    def controller_manager(self, kubeconfig: Path) -> Program:
        """kube-controller-manager; alone, so without leader election (which costs seconds at every start)."""
        flags = {
            **self._serving("controller-manager", kubeconfig),
            "use-service-account-credentials": "true",
            "root-ca-file": self.pki.certificate("ca"),
            "service-account-private-key-file": self.pki.key("service-account"),
            "cluster-signing-cert-file": self.pki.certificate("ca"),
            "cluster-signing-key-file": self.pki.key("ca"),
            "cluster-cidr": POD_NETWORK,
            "service-cluster-ip-range": SERVICE_NETWORK,
            # Node-local addresses come from the CNI plugin's own range.
            "allocate-node-cidrs": "false",
            # Without it, the finalizer of a PodGroup is never removed.
            "feature-gates": "GenericWorkload=true",
            "kube-api-qps": "200",
            "kube-api-burst": "400",
        }
        name = "kube-controller-manager"
        return Program(name, [str(self.program(name)), *_flags(flags)])

    def scheduler(self, kubeconfig: Path) -> Program:
        """kube-scheduler, without leader election."""
        flags = {
            **self._serving("scheduler", kubeconfig),
            "kube-api-qps": "500",
            "kube-api-burst": "1000",
            "feature-gates": _GANGS,
        }
        return Program("kube-scheduler", [str(self.program("kube-scheduler")), *_flags(flags)])

    def _serving(self, certificate: str, kubeconfig: Path) -> dict[str, object]:
        return {
            "kubeconfig": kubeconfig,
            "authentication-kubeconfig": kubeconfig,
            "authorization-kubeconfig": kubeconfig,
            "client-ca-file": self.pki.certificate("ca"),
            "requestheader-client-ca-file": self.pki.certificate("front-proxy-ca"),
            "bind-address": self.api.host,
            "tls-cert-file": self.pki.certificate(certificate),
            "tls-private-key-file": self.pki.key(certificate),
            "leader-elect": "false",
        }


def of_cluster(cluster: Cluster, program: Callable[[str], Path]) -> ControlPlane:
    """The control plane of the embedded cluster."""
    return ControlPlane(
        pki=Pki(cluster.pki),
        data=cluster.state / "etcd",
        api=Address(NODE_ADDRESS, API_PORT),
        etcd_client=Address(NODE_ADDRESS, ETCD_CLIENT_PORT),
        etcd_peer=Address(NODE_ADDRESS, ETCD_PEER_PORT),
        program=program,
    )


def bring_up(cluster: Cluster, plane: ControlPlane, processes: Processes, notes: list[str]) -> None:
    """Start what does not run and wait until the API server is ready."""
    plane.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    plane.kubeconfig(cluster.kubeconfig)
    configs = {name: cluster.config / f"{name}.kubeconfig" for name in ("controller-manager", "scheduler")}
    for name, path in configs.items():
        plane.kubeconfig(path, client=name)
    keys = plane.pki.fingerprint()
    servers = (plane.etcd(), plane.api_server())
    started = [program.name for program in servers if processes.ensure(program, configuration=keys)]
    client = plane.client()
    where = f"ready on {plane.api.host}:{plane.api.port}"
    processes.wait("kube-apiserver", client.is_ready, 120, where, needs=["etcd"])
    # Not before: the controller manager ends when the API server is not healthy ten seconds after its start, so beside a
    # slow one it could end just after it was seen to run (ADR 161).
    clients = (plane.controller_manager(configs["controller-manager"]), plane.scheduler(configs["scheduler"]))
    started += [program.name for program in clients if processes.ensure(program, configuration=keys)]
    notes.append("started " + " ".join(started) if started else "already running")


def _flags(flags: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]
