"""Envoy Gateway on the local cluster, with Fovea's models behind it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "dev"))

import envoy_gateway
from deploy import GATEWAY_NAMESPACE as NAMESPACE
from deploy import GATEWAY_SERVICE as SERVICE

__all__ = ["NAMESPACE", "SERVICE"]


@contextmanager
def gateway(cluster: Any, *settings: str) -> Iterator[None]:
    """While it is there, all models of the cluster are behind it. `settings`: values of the chart."""
    envoy_gateway.install(cluster.deployment, *settings)
    try:
        yield
    finally:
        envoy_gateway.remove(cluster.deployment)


def address(cluster: Any, port: str) -> str:
    """host:port of the gateway on the node; `port`: 8500 for gRPC, 8501 for REST."""
    [service] = [each for each in cluster.list("services", NAMESPACE) if each["metadata"]["name"] == SERVICE]
    [node_port] = [each["nodePort"] for each in service["spec"]["ports"] if str(each["port"]) == port]
    return f"{cluster.list('nodes', 'default')[0]['status']['addresses'][0]['address']}:{node_port}"
