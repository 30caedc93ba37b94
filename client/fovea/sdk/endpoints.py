"""Where a model answers: an address given, the Service inside the cluster, the gateway, a node port, or a port-forward."""

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.model_deployment import KIND

from . import rollout
from .api_errors import Target
from .cluster import Cluster, in_pod
from .errors import ForbiddenError, NotFoundError
from .port_forward import PortForward, to_pods
from .resources import Kinds

Protocol = Literal["grpc", "rest"]
_PROBE_SECONDS = 1.5
_SERVICE_HOST = re.compile(r"\.svc(\.|:|$)")


@dataclass
class Endpoint:
    """host:port of a model server and how it was found. Close it when done: it may hold a port-forward."""

    address: str
    how: str
    forward: PortForward | None = None
    host: str = ""
    """The name by which a gateway knows the model; empty: the address says it."""

    def close(self) -> None:
        """End the port-forward, if there is one."""
        if self.forward:
            self.forward.close()


def resolve(
    cluster: Cluster,
    model: str,
    *,
    protocol: Protocol = "grpc",
    version: int | None = None,
    gateway: str = "",
    rollout_timeout: float = rollout.SECONDS,
    notice: Callable[[str], None] = lambda _: None,
) -> Endpoint:
    """Find the model's server through its ModelDeployment; NotFoundError and UnreachableError say the next step.

    `gateway`: HOST or HOST:PORT of the gateway of all models (gRPC also grpcs://, REST a URL): then it is the model's name there
    that is found.

    Waits for a first version that is starting, `rollout_timeout` seconds at most, and calls `notice` with a message.
    """
    deployment = rollout.await_first(cluster, find(cluster, model), seconds=rollout_timeout, notice=notice)
    if gateway:
        host = f"{deployment.metadata.name}.{cluster.namespace}.svc"
        return Endpoint(_at_gateway(gateway, protocol), "the gateway", host=host)
    if version is not None and not _stable(deployment, version):
        return _forward(cluster, deployment, protocol, version)
    for address, how in _addresses(cluster, deployment, protocol):
        if _reachable(address):
            return Endpoint(address, how)
    return _forward(cluster, deployment, protocol, None)


def _at_gateway(gateway: str, protocol: Protocol) -> str:
    parts = urlsplit(gateway if "://" in gateway else f"//{gateway}")
    port = names.GRPC_PORT if protocol == "grpc" else names.REST_PORT
    has_port = parts.port is not None or (protocol == "rest" and parts.scheme)
    return gateway if has_port else f"{gateway.rstrip('/')}:{port}"


def find(cluster: Cluster, model: str) -> ModelDeployment:
    """The ModelDeployment of the model's own name, else the first that serves it; raises NotFoundError."""
    kinds: Kinds[ModelDeployment] = Kinds(cluster, KIND, ModelDeployment)
    found = [kinds.read(item) for item in kinds.list() if item.get("spec", {}).get("model") == model]
    found.sort(key=lambda deployment: (deployment.metadata.name != model, deployment.metadata.name))
    if not found:
        raise NotFoundError(
            f"model {model} has no ModelDeployment in namespace {cluster.namespace}: serve it with "
            f"`fovea jobs submit … --model {model} --deploy -n {cluster.namespace}` or a ModelDeployment with "
            f"spec.model: {model}; `fovea models list -n {cluster.namespace}` shows what there is"
        )
    return found[0]


def _stable(deployment: ModelDeployment, version: int) -> bool:
    return deployment.status.stable is not None and deployment.status.stable.version == version


def _addresses(cluster: Cluster, deployment: ModelDeployment, protocol: Protocol) -> Iterator[tuple[str, str]]:
    endpoint = deployment.status.endpoint
    assert endpoint is not None  # noqa: S101 - resolve() has looked
    inside = endpoint.grpc if protocol == "grpc" else urlsplit(endpoint.rest).netloc
    if inside and (in_pod() or not _SERVICE_HOST.search(inside)):
        yield inside, "the Service"
    if protocol == "grpc":
        safe, outside = f"grpcs://{endpoint.external_grpc_tls or ''}", endpoint.external_grpc
    else:
        safe, outside = endpoint.external_rest_tls or "", urlsplit(endpoint.external_rest or "").netloc
    if urlsplit(safe).netloc:
        yield f"{urlsplit(safe).scheme}://{urlsplit(safe).netloc}", "the gateway, over TLS"
    if outside:
        yield outside, "the gateway"
    port = endpoint.node_port_grpc if protocol == "grpc" else endpoint.node_port_rest
    if port:
        for host in _node_hosts(cluster):
            yield f"{host}:{port}", "a node port"


def _node_hosts(cluster: Cluster) -> list[str]:
    hosts: list[str] = []
    try:
        nodes = cluster.get(Target("list", "nodes", "nodes", ours=False), "/api/v1/nodes").get("items", [])
    except ForbiddenError:
        nodes = []  # Most users may not list nodes; on a one-node cluster the API server's host is the node.
    addresses: list[dict[str, Any]] = [a for node in nodes for a in node.get("status", {}).get("addresses", [])]
    for kind in ("ExternalIP", "InternalIP"):
        hosts += [a["address"] for a in addresses if a.get("type") == kind]
    own = urlsplit(cluster.server).hostname
    return list(dict.fromkeys([*hosts[:4], *([own] if own else [])]))


def _forward(cluster: Cluster, deployment: ModelDeployment, protocol: Protocol, version: int | None) -> Endpoint:
    name = deployment.metadata.name
    chosen = version if version is not None else deployment.status.stable and deployment.status.stable.version
    selector = f"{labels.MODEL_DEPLOYMENT}={name},{labels.VERSION}={chosen}"
    port = names.GRPC_PORT if protocol == "grpc" else names.REST_PORT
    what = f"version {chosen} of ModelDeployment {name}"
    forward = to_pods(cluster, cluster.namespace, selector, port, what=what)
    return Endpoint(forward.address, "a port-forward", forward)


def _reachable(address: str) -> bool:
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or (names.HTTPS_PORT if parts.scheme == "https" else 0)
        socket.create_connection((parts.hostname, port), timeout=_PROBE_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True
