"""Routes of a ModelDeployment at a gateway: one for gRPC and one for REST, with the same weights (Gateway API v1).

Whatever carries them sees standard fields only. A rule for each version matches the header x-fovea-version: it pins a
version, and it keeps the version's backend known while its weight is 0. A proxy that forgets a backend fails requests
when the weight comes back.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelDeployment

from fovea_operator.desired import owner

MAX_RULES = 16
"""Of a route, by the Gateway API."""
_GRPC_METHODS: tuple[dict[str, str], ...] = (
    {"service": "tensorflow.serving.PredictionService"},
    {"service": "tensorflow.serving.ModelService", "method": "GetModelStatus"},
    {"service": "grpc.health.v1.Health"},
)
"""All that passes. The server's other services reload models and profile the process."""
TLS = "-tls"
"""After the name of a listener: the one for TLS."""
_COPIES = "comparator"
"""Where copies of requests go, instead of a version. It answers nothing."""
_REST_PREFIX = "/v1/models"


@dataclass(frozen=True)
class Activator:
    """Where requests wait for a version that has no pod yet."""

    namespace: str
    name: str

    @classmethod
    def of(cls, setting: str) -> "Activator | None":
        """Read `<namespace>/<name>`; None for the empty text."""
        namespace, _, name = setting.partition("/")
        return cls(namespace, name) if name else None


@dataclass(frozen=True)
class Gateway:
    """The Gateway to which routes attach, and the hosts by which it knows models."""

    namespace: str
    name: str
    address: str
    """DNS name of its proxies inside the cluster."""
    domain: str = ""
    """Models have hosts below it for clients outside the cluster: <model>.<namespace>.<domain>. Empty: none."""
    cluster_domain: str = "cluster.local"
    grpc_tls_port: int = 0
    """Port of its listener for gRPC over TLS; 0: it has none."""
    rest_tls_port: int = 0
    """Port of its listener for REST over TLS; 0: it has none."""
    activator: Activator | None = None

    def hosts(self, model_deployment: ModelDeployment) -> list[str]:
        """Host names by which clients ask for a model."""
        host = f"{model_deployment.metadata.name}.{model_deployment.metadata.namespace}"
        inside = [host, f"{host}.svc", f"{host}.svc.{self.cluster_domain}"]
        outside = self.outside(model_deployment)
        return [*inside, *([outside] if outside else [])]

    def outside(self, model_deployment: ModelDeployment) -> str:
        """The host name for clients outside the cluster; empty without one."""
        metadata = model_deployment.metadata
        return f"{metadata.name}.{metadata.namespace}.{self.domain}" if self.domain else ""


@dataclass(frozen=True)
class Share:
    """What a version gets of the requests."""

    version: int
    revision: str
    service: str
    """Name of the version's own Service."""
    weight: int
    """In percent."""
    sleeps: bool = False
    """Whether its requests wait at the activator: it has no pod."""


@dataclass(frozen=True)
class Mirror:
    """Where copies of requests go. Their answers are thrown away."""

    service: str
    percent: int


def routes(
    model_deployment: ModelDeployment,
    gateway: Gateway,
    shares: Sequence[Share],
    copies: Mirror | None = None,
    *,
    activates: bool = False,
) -> list[dict[str, Any]]:
    """The GRPCRoute and the HTTPRoute. `shares` in the order in which versions are pinned, if there are too many for all.

    `copies`: of requests that name no version. `activates`: whether the model has no pod at times.
    """
    grpc = [{"method": {"type": "Exact", **method}} for method in _GRPC_METHODS]
    rest = [{"path": {"type": "PathPrefix", "value": _REST_PREFIX}}]
    activator = gateway.activator if activates else None
    by_grpc = _Rules(model_deployment, gateway, activator, grpc, names.GRPC_PORT)
    by_rest = _Rules(model_deployment, gateway, activator, rest, names.REST_PORT)
    # A batch of pictures may take longer than a proxy's default: the client's own deadline counts.
    unlimited = [{**rule, "timeouts": {"request": "0s"}} for rule in by_rest.of(shares, copies)]
    metadata = _metadata(model_deployment)
    return [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GRPCRoute",
            "metadata": metadata,
            "spec": {
                **_attached(model_deployment, gateway, names.GRPC_PORT_NAME, gateway.grpc_tls_port),
                "rules": [*by_grpc.of(shares, copies)],
            },
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": metadata,
            "spec": {
                **_attached(model_deployment, gateway, names.REST_PORT_NAME, gateway.rest_tls_port),
                "rules": unlimited,
            },
        },
    ]


def reference_grant(activator: Activator, namespace: str) -> dict[str, Any]:
    """Lets the routes of a namespace name the activator's Service, which is in another one."""
    api = "gateway.networking.k8s.io"
    return {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {
            "name": f"{activator.name}-{namespace}",
            "namespace": activator.namespace,
            "labels": {labels.MANAGED_BY: labels.MANAGED_BY_VALUE},
        },
        "spec": {
            "from": [{"group": api, "kind": kind, "namespace": namespace} for kind in ("GRPCRoute", "HTTPRoute")],
            "to": [{"group": "", "kind": "Service", "name": activator.name}],
        },
    }


def weights(spec: Mapping[str, Any]) -> dict[str, int]:
    """Of a route's spec: the percentage of each version by the name of its Service, where a request names no version."""
    rules = [rule for rule in spec.get("rules") or () if not _is_pin(rule)]
    given = {
        _version_of(rule, backend): int(backend.get("weight", 1))
        for rule in rules
        for backend in rule.get("backendRefs") or ()
        if backend.get("weight", 1)
    }
    return {name: round(100 * weight / sum(given.values())) for name, weight in given.items()}


def through_activator(spec: Mapping[str, Any]) -> bool:
    """Of a route's spec: whether a request that names no version waits at the activator."""
    return any(_passed_on_to(rule) for rule in spec.get("rules") or () if not _is_pin(rule))


def _is_pin(rule: Mapping[str, Any]) -> bool:
    return any(each.get("headers") for each in rule.get("matches") or ())


def _version_of(rule: Mapping[str, Any], backend: Mapping[str, Any]) -> str:
    return _passed_on_to(rule) or backend["name"]


def _passed_on_to(rule: Mapping[str, Any]) -> str:
    """Name of the version's Service to which the activator passes a rule's requests on; empty: it does not get them."""
    for each in rule.get("filters") or ():
        for header in (each.get("requestHeaderModifier") or {}).get("set") or ():
            if header.get("name") == names.BACKEND_HEADER:
                return str(header.get("value")).partition(".")[0]
    return ""


def mirror(spec: Mapping[str, Any]) -> Mirror | None:
    """Of a route's spec: where copies of requests go."""
    for rule in spec.get("rules") or ():
        for each in rule.get("filters") or ():
            if each.get("type") == "RequestMirror":
                found = each["requestMirror"]
                return Mirror(found["backendRef"]["name"], int(found.get("percent", 100)))
    return None


def backends(spec: Mapping[str, Any]) -> set[str]:
    """Of a route's spec: names of all Services that it can send requests to."""
    return {backend["name"] for rule in spec.get("rules") or () for backend in rule.get("backendRefs") or ()}


def _metadata(model_deployment: ModelDeployment) -> dict[str, Any]:
    metadata = model_deployment.metadata
    return {
        "name": metadata.name,
        "namespace": metadata.namespace,
        "labels": labels.of_model_deployment(metadata.name, model_deployment.spec.model),
        "ownerReferences": [owner.reference(model_deployment)],
    }


def _attached(model_deployment: ModelDeployment, gateway: Gateway, listener: str, tls_port: int) -> dict[str, Any]:
    """The part of a route's spec that says where requests come in."""
    listeners = [listener, listener + TLS] if tls_port else [listener]
    parent = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "namespace": gateway.namespace,
        "name": gateway.name,
    }
    return {
        "parentRefs": [{**parent, "sectionName": name} for name in listeners],
        "hostnames": gateway.hosts(model_deployment),
    }


@dataclass(frozen=True)
class _Rules:
    """The rules of one route."""

    model_deployment: ModelDeployment
    gateway: Gateway
    activator: Activator | None
    """Where the model has no pod at times."""
    matches: list[dict[str, Any]]
    port: int

    def of(self, shares: Sequence[Share], copies: Mirror | None) -> Iterator[dict[str, Any]]:
        """A pin for each version, then the weights. Of a version with two revisions, the second pin has number and revision."""
        pins: dict[str, dict[str, Any]] = {}
        for share in shares[: MAX_RULES - 1 - (copies is not None) - 2 * (self.activator is not None)]:
            number, own = str(share.version), {"backendRefs": [_backend(share.service, self.port, 1)]}
            pinned = f"{number}-{share.revision}"
            if share.sleeps and self.activator is not None:
                # Its own Service stays known to the gateway: a proxy that forgets a backend fails requests when it comes back.
                pins[number], pins[pinned] = self._waiting(self.activator, share), own
            else:
                pins[pinned if number in pins else number] = own
        if copies is not None:
            # Envoy Gateway 1.9 finds the Service of a GRPCRoute's mirror only where a rule has it as a backend as well.
            pins[self._unguessable(_COPIES)] = {"backendRefs": [_backend(copies.service, self.port, 1)]}
        if self.activator is not None and shares:
            pins[self._unguessable(names.ACTIVATOR)] = self._waiting(self.activator, shares[0])
        # In an order that stays when a version takes another one's place: nothing is written for that alone.
        for value, way in sorted(pins.items(), key=lambda pin: (pin[1]["backendRefs"][0]["name"], pin[0])):
            header = {"type": "Exact", "name": names.VERSION_HEADER, "value": value}
            yield {"matches": [{**match, "headers": [header]} for match in self.matches], **way}
        yield from self._weighted(shares, copies)

    def _unguessable(self, value: str) -> str:
        """Of a pin that is there for the gateway's sake: a client that sent it would get an answer of no version, or wait without need.

        A client knows the object's name, not its uid. The hash keeps the uid from those who may read routes.
        """
        return f"{value}-{hashlib.sha256(f'{value}/{self.model_deployment.metadata.uid}'.encode()).hexdigest()[:32]}"

    def _weighted(self, shares: Sequence[Share], copies: Mirror | None) -> Iterator[dict[str, Any]]:
        served = sorted((share for share in shares if share.weight), key=lambda share: share.service)
        asleep = next((share for share in served if share.sleeps), None)
        if self.activator is not None and asleep is not None:
            yield {"matches": self.matches, **self._waiting(self.activator, asleep)}
        elif served:
            backends = [_backend(share.service, self.port, share.weight) for share in served]
            yield {"matches": self.matches, "backendRefs": backends, **_copied(copies, self.port)}

    def _waiting(self, activator: Activator, share: Share) -> dict[str, Any]:
        """Requests go to the activator, which learns what they wait for. What a client says of that is overwritten."""
        metadata = self.model_deployment.metadata
        headers = {
            names.MODEL_DEPLOYMENT_HEADER: f"{metadata.namespace}/{metadata.name}",
            names.BACKEND_HEADER: f"{share.service}.{metadata.namespace}.svc.{self.gateway.cluster_domain}",
        }
        learns = {"set": [{"name": name, "value": value} for name, value in headers.items()]}
        return {
            "backendRefs": [{**_backend(activator.name, self.port, 1), "namespace": activator.namespace}],
            "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": learns}],
        }


def _copied(copies: Mirror | None, port: int) -> dict[str, Any]:
    if copies is None:
        return {}
    to = {"group": "", "kind": "Service", "name": copies.service, "port": port}
    return {"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": to, "percent": copies.percent}}]}


def _backend(service: str, port: int, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": service, "port": port, "weight": weight}
