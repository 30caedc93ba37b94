"""What is inside the cluster from the start: DNS, the storage class, the API server's right to use kubelet."""

from __future__ import annotations

import hashlib
import http
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from fovea_dev.api import Api, ApiError
from fovea_dev.diagnosis import diagnosis
from fovea_dev.dns_query import resolves
from fovea_dev.layout import CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, Cluster
from fovea_dev.processes import Processes
from fovea_dev.volumes import PROVISIONER, STORAGE_CLASS

Object = dict[str, Any]
DNS_PORT = 5353
API_SERVER_NAME = f"kubernetes.default.svc.{CLUSTER_DOMAIN}"
_LABELS = {"k8s-app": "kube-dns"}
# What has to run until DNS answers: where one of them has ended, no waiting helps.
_NEEDED = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
)
_SYSTEM = "/api/v1/namespaces/kube-system"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def host_name_servers(resolv_conf: str) -> list[str]:
    """The host's IPv4 name servers that a pod can reach too (those on loopback it can't)."""
    words = [line.split() for line in resolv_conf.splitlines()]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [server for server in servers if "." in server and not server.startswith("127.")]


def corefile(name_servers: list[str]) -> str:
    """CoreDNS's configuration: the cluster's names, and the host's name servers (or nothing) for all others."""
    cluster = f"""\
{CLUSTER_DOMAIN}:{DNS_PORT} in-addr.arpa:{DNS_PORT} ip6.arpa:{DNS_PORT} {{
    errors
    health :8080
    ready :8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
}}
"""
    # In the cluster's own server block a catch-all would answer before the cluster's names are looked up.
    if name_servers:
        answer = f"    forward . {' '.join(name_servers)}\n    cache 30"
    else:
        answer = "    template ANY ANY . {\n        rcode NXDOMAIN\n    }"
    return f"{cluster}.:{DNS_PORT} {{\n    errors\n{answer}\n}}\n"


def dns_objects(image: str, configuration: str) -> list[tuple[str, Object]]:
    """CoreDNS as (API path, object) pairs."""
    return [
        (f"{_SYSTEM}/serviceaccounts/coredns", _object("v1", "ServiceAccount", "coredns")),
        (f"{_RBAC}/clusterroles/system:coredns", _dns_role()),
        (f"{_RBAC}/clusterrolebindings/system:coredns", _dns_binding()),
        (
            f"{_SYSTEM}/configmaps/coredns",
            {**_object("v1", "ConfigMap", "coredns"), "data": {"Corefile": configuration}},
        ),
        ("/apis/apps/v1/namespaces/kube-system/deployments/coredns", _dns_deployment(image, configuration)),
        (f"{_SYSTEM}/services/kube-dns", _dns_service()),
    ]


def node_access_objects() -> list[tuple[str, Object]]:
    """The API server's right to use kubelet's API (logs, exec, port-forward)."""
    name = "fovea:apiserver-kubelet"
    user = {"kind": "User", "name": "kube-apiserver-kubelet-client"}
    return [(f"{_RBAC}/clusterrolebindings/{name}", _binding(name, "system:kubelet-api-admin", user))]


def storage_objects() -> list[tuple[str, Object]]:
    """The default StorageClass, served by `fovea_dev.volumes`."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }
    return [(f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", storage_class)]


def apply_with_address(client: Api, path: str, body: Object) -> None:
    """Apply an object, a Service of a fixed address among them.

    An API server that was killed while it made the Service may have left the address taken, for about a minute.
    """
    try:
        client.apply(path, body)
    except ApiError as error:
        address = (body.get("spec") or {}).get("clusterIP")
        if error.code != http.HTTPStatus.UNPROCESSABLE_ENTITY or not address or client.exists(path):
            raise
        client.delete(f"/apis/networking.k8s.io/v1/ipaddresses/{address}")
        client.apply(path, body)


def bring_up(cluster: Cluster, client: Api, dns_image: str, processes: Processes, notes: list[str]) -> None:
    """Apply the objects and wait until pods can be created, scheduled and resolve names.

    Raises StepFailed when that takes too long or a process that it needs ends: with what was seen.
    """
    for path, body in node_access_objects() + storage_objects():
        client.apply(path, body)
    name_servers = host_name_servers(Path("/etc/resolv.conf").read_text())
    for path, body in dns_objects(dns_image, corefile(name_servers)):
        apply_with_address(client, path, body)

    def wait(name: str, ready: Callable[[], bool], seconds: float, what: str) -> None:
        def seen() -> str:
            return diagnosis(client, processes, _NEEDED)

        processes.wait(name, ready, seconds, what, needs=_NEEDED, diagnosis=seen)

    account = "/api/v1/namespaces/default/serviceaccounts/default"
    wait("kube-controller-manager", lambda: client.exists(account), 90, "the default ServiceAccount")
    wait("kubelet", lambda: _node_is_ready(cluster, client, processes), 120, "the node being Ready")
    # Asked in earnest: after a kill the objects still say that all is well.
    wait("kubelet", _dns_answers, 180, f"an answer of DNS for {API_SERVER_NAME}")
    notes.append("node Ready, DNS answers")


def is_healthy(cluster: Cluster, client: Api, processes: Processes) -> bool:
    """Whether the node reports itself Ready and DNS answers."""
    return _node_is_ready(cluster, client, processes) and _dns_answers()


def node_is_ready(node: Object, lease: Object, since: datetime) -> bool:
    """Whether a node is Ready and its kubelet has renewed the node's lease since a moment (that of its start)."""
    conditions = node.get("status", {}).get("conditions", [])
    renewed = lease.get("spec", {}).get("renewTime")
    if renewed is None or not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
        return False
    return datetime.fromisoformat(renewed) >= since


def _node_is_ready(cluster: Cluster, client: Api, processes: Processes) -> bool:
    node = f"/api/v1/nodes/{cluster.node_name}"
    lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{cluster.node_name}"
    since = processes.started("kubelet")
    if since is None or not client.exists(node) or not client.exists(lease):
        return False
    return node_is_ready(client.get(node), client.get(lease), since)


def _dns_answers() -> bool:
    return resolves(DNS_SERVICE_ADDRESS, API_SERVER_NAME)


def _object(api: str, kind: str, name: str) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "kube-system", "labels": _LABELS}}


def _binding(name: str, role: str, subject: Object) -> Object:
    group = "rbac.authorization.k8s.io"
    if subject["kind"] == "User":
        subject = {**subject, "apiGroup": group}
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def _dns_role() -> Object:
    def rule(group: str, *resources: str) -> Object:
        return {"apiGroups": [group], "resources": list(resources), "verbs": ["list", "watch"]}

    rules = [rule("", "services", "pods", "namespaces"), rule("discovery.k8s.io", "endpointslices")]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": rules,
    }


def _dns_binding() -> Object:
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}
    return _binding("system:coredns", "system:coredns", account)


def _dns_deployment(image: str, configuration: str) -> Object:
    container = {
        "name": "coredns",
        "image": image,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"name": "dns", "containerPort": DNS_PORT, "protocol": "UDP"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "configuration", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "configuration", "configMap": {"name": "coredns"}}],
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        # The annotation changes with the configuration, so that a new one is rolled out.
        "template": {"metadata": {"labels": _LABELS, "annotations": {"corefile": _digest(configuration)}}, "spec": pod},
    }
    return {**_object("apps/v1", "Deployment", "coredns"), "spec": spec}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _dns_service() -> Object:
    ports = [
        {"name": f"dns-{protocol.lower()}", "port": 53, "targetPort": DNS_PORT, "protocol": protocol}
        for protocol in ("UDP", "TCP")
    ]
    spec = {"clusterIP": DNS_SERVICE_ADDRESS, "selector": _LABELS, "ports": ports}
    return {**_object("v1", "Service", "kube-dns"), "spec": spec}
