"""Plays a gateway's controller against the real definitions of the Gateway API: says of routes what an implementation would."""

from pathlib import Path
from typing import Any

import yaml
from fovea_dev.api import ApiError
from fovea_dev.apiserver import ApiServer
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools, module_of
from support.kube_apiserver import GATEWAY_API, Cluster, path_of
from support.kubelet_player import now
from support.polling import until

KINDS = {"GRPCRoute": "grpcroutes", "HTTPRoute": "httproutes"}
SETTINGS = {"GATEWAY": "gateways/models", "GATEWAY_ADDRESS": "models.gateways.svc.cluster.local"}
"""Of the operator."""


def definitions() -> Path:
    """File with the Gateway API's CustomResourceDefinitions, as Envoy Gateway's module brings them."""
    return (
        Tools(Cache.from_environment()).source(module_of("envoy-gateway"))
        / "charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml"
    )


def install(server: ApiServer) -> None:
    """Define the kinds of routes that Fovea writes."""
    wanted = {f"{plural}.gateway.networking.k8s.io" for plural in KINDS.values()}
    for manifest in yaml.load_all(definitions().read_text(encoding="utf-8"), yaml.CSafeLoader):
        if manifest and manifest["metadata"]["name"] in wanted:
            server.client.apply(path_of(manifest), manifest)

    def served() -> bool:
        try:
            found = server.client.get(f"/apis/{GATEWAY_API}")["resources"]
        except ApiError:
            return False
        return {item["name"] for item in found} >= set(KINDS.values())

    until(served, seconds=30, what="the kinds of routes are served")


class Gateway:
    """Answers for the routes of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def routes(self, model: str) -> dict[str, dict[str, Any]]:
        """The routes of a model by kind, as far as they are there."""
        found = {kind: self._cluster.get(kind, model) for kind in KINDS}
        return {kind: route for kind, route in found.items() if route is not None}

    def generations(self, model: str) -> list[int]:
        """How often the routes were changed."""
        return [route["metadata"]["generation"] for route in self.routes(model).values()]

    def takes(self, model: str) -> None:
        """Take both routes as they are now."""
        for kind, route in self.routes(model).items():
            self._say(kind, route, Accepted=("True", "Accepted", ""), ResolvedRefs=("True", "ResolvedRefs", ""))

    def refuses(self, model: str, message: str) -> None:
        """Refuse both routes as they are now."""
        for kind, route in self.routes(model).items():
            self._say(kind, route, Accepted=("False", "NotAllowedByListeners", message))

    def _say(self, kind: str, route: dict[str, Any], **conditions: tuple[str, str, str]) -> None:
        said = [
            {
                "type": of,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": now(),
                "observedGeneration": route["metadata"]["generation"],
            }
            for of, (status, reason, message) in conditions.items()
        ]
        parent = {
            "parentRef": route["spec"]["parentRefs"][0],
            "controllerName": "played.example/gateway",
            "conditions": said,
        }
        self._cluster.patch(kind, route["metadata"]["name"], {"status": {"parents": [parent]}}, "status")
