"""What is observed of a ModelDeployment, sorted for the policies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from fovea_api.contract import labels, names, text
from fovea_api.v1alpha1 import MachineType, ModelDeployment, ModelVersion
from fovea_api.v1alpha1.model_deployment import ModelDeploymentSpec
from fovea_api.v1alpha1.model_deployment_status import (
    MAX_PLACE_MESSAGE,
    Endpoint,
    ModelDeploymentStatus,
    Place,
    PlaceRole,
    PlaceStep,
)
from fovea_api.v1alpha1.scaling import Scale

from fovea_operator.desired import deployment as desired
from fovea_operator.desired import routes
from fovea_operator.desired.routes import Activator, Gateway
from fovea_operator.reconcile.serving import scaling
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.decision import GRPC_ROUTE, HTTP_ROUTE
from fovea_operator.reconcile.shared.observed import (
    DeploymentRecord,
    PodRecord,
    RouteRecord,
    ServiceRecord,
    ServingObserved,
)
from fovea_operator.reconcile.shared.pods import ended
from fovea_operator.settings import Settings

ROUTES = (GRPC_ROUTE, HTTP_ROUTE)


@dataclass(frozen=True)
class ServingView:
    """A ModelDeployment with the Deployments and Services of its versions by name."""

    observed: ServingObserved
    now: datetime
    settings: Settings
    workloads: dict[str, DeploymentRecord]
    services: dict[str, ServiceRecord]

    @classmethod
    def of(cls, observed: ServingObserved, now: datetime, settings: Settings) -> "ServingView":
        """Sort the Deployments and Services."""
        workloads = {workload.name: workload for workload in observed.workloads}
        services = {service.name: service for service in observed.services}
        return cls(observed, now, settings, workloads, services)

    @property
    def model_deployment(self) -> ModelDeployment:
        """The ModelDeployment."""
        return self.observed.model_deployment

    @property
    def spec(self) -> ModelDeploymentSpec:
        """What is wanted."""
        return self.model_deployment.spec

    @property
    def status(self) -> ModelDeploymentStatus:
        """The status as it was written last."""
        return self.model_deployment.status

    @property
    def generation(self) -> int:
        """The generation of what is wanted."""
        return self.model_deployment.metadata.generation

    @property
    def machine_type(self) -> MachineType | None:
        """The machine type of new pods; None when there is none of that name."""
        return platform.machine_type(self.spec.machine_type, self.observed.machine_types)

    @property
    def service(self) -> ServiceRecord | None:
        """The Service for clients."""
        return self.services.get(self.model_deployment.metadata.name)

    @property
    def refusal(self) -> str:
        """The API server's words when it refused a child of the decision before this one, shortened; else empty."""
        return text.cut(self.observed.refused, MAX_PLACE_MESSAGE)

    @cached_property
    def gateway(self) -> Gateway | None:
        """The Gateway by which clients reach models; None: they reach the model servers directly."""
        wanted = self.settings
        if not wanted.gateway or not self.observed.serves_routes:
            return None
        namespace, _, name = wanted.gateway.partition("/")
        return Gateway(
            namespace,
            name,
            wanted.gateway_address,
            wanted.gateway_domain,
            wanted.cluster_domain,
            wanted.gateway_grpc_tls_port,
            wanted.gateway_rest_tls_port,
            Activator.of(wanted.gateway_activator),
        )

    @property
    def selects_pods(self) -> bool:
        """Whether the clients' Service selects pods itself; else its name stands for the gateway.

        A Service that is there selects them until the gateway has taken the routes, so that no request fails meanwhile.
        """
        if self.gateway is None or self.spec.service.type != "ClusterIP":
            return True
        return self.service is not None and self.service.type != "ExternalName" and not self.routed

    @property
    def routed(self) -> bool:
        """Whether the gateway has taken both routes as they are now."""
        return len(self.observed.routes) == len(ROUTES) and all(
            _holds(condition, route.generation)
            for route in self.observed.routes
            for condition in (self._said(route) or [{}])
        )

    @property
    def route_refusal(self) -> str:
        """What the gateway says against a route as it is now; else empty."""
        for route in self.observed.routes:
            for condition in self._said(route):
                if condition.get("status") == "False" and condition.get("observedGeneration") == route.generation:
                    said = condition.get("message") or condition.get("reason") or "no reason given"
                    return text.cut(f"{route.kind} {route.name}: {said}", MAX_PLACE_MESSAGE)
        return ""

    def _said(self, route: RouteRecord) -> list[Mapping[str, Any]]:
        """The conditions Accepted and ResolvedRefs of a route at our Gateway.

        What its listeners for TLS say is left out: one without a certificate has no clients, and must not hold up the others.
        """
        wanted = (self.gateway.namespace, self.gateway.name) if self.gateway else None
        return [
            condition
            for parent in route.parents
            if (parent["parentRef"].get("namespace", route.namespace), parent["parentRef"].get("name")) == wanted
            if not str(parent["parentRef"].get("sectionName", "")).endswith(routes.TLS)
            for condition in parent.get("conditions") or ()
            if condition.get("type") in ("Accepted", "ResolvedRefs")
        ]

    def version(self, number: int) -> ModelVersion | None:
        """The record of a version."""
        return self.observed.versions.find(number)

    def wanted(self) -> ModelVersion | None:
        """The version that is to be served."""
        number = self.spec.version if isinstance(self.spec.version, int) else None
        return self.observed.versions.find(number, to_serve=True)

    def target(self, version: ModelVersion) -> Place:
        """The version as a candidate that starts now."""
        number, revision = version.spec.version, desired.revision(self.model_deployment, version)
        name = names.version_deployment(self.model_deployment.metadata.name, number, revision)
        return self._starting(number, version.spec.digest, revision, name)

    def place_of(self, workload: DeploymentRecord) -> Place | None:
        """The version that a Deployment serves, as a candidate that starts now; None when its labels do not tell."""
        named = labels.version_of(workload.labels)
        if named is None:
            return None
        number, revision = named
        version = self.version(number)
        return self._starting(number, version.spec.digest if version else "", revision, workload.name)

    def _starting(self, number: int, digest: str, revision: str, deployment: str) -> Place:
        return Place(
            version=number,
            digest=digest,
            revision=revision,
            deployment=deployment,
            role=PlaceRole.CANDIDATE,
            step=PlaceStep.STARTING,
            since=times.text(self.now),
        )

    def ready(self, place: Place) -> int:
        """Pods of a version that answer."""
        workload = self.workloads.get(place.deployment)
        return workload.ready_replicas if workload else 0

    def available(self, place: Place) -> bool:
        """Whether all wanted pods of a version answer, by a Deployment's status that is about its present spec."""
        workload = self.workloads.get(place.deployment)
        wanted = self.replicas
        return (
            workload is not None
            and not workload.deleting
            and workload.observed_generation >= workload.generation
            and workload.replicas >= wanted
            and workload.available_replicas >= wanted
        )

    def reached(self, place: Place) -> bool:
        """Whether all requests of clients go to a version, as it was seen last."""
        return self.chosen(place) and (self.gateway is None or self.routed)

    def chosen(self, place: Place) -> bool:
        """Whether Service and routes name this version alone, whether or not the gateway has taken the routes."""
        named = list(self._named())
        return bool(named) and all(names == {place.deployment} for names in named)

    def has_taken(self, weights: Mapping[str, int]) -> bool:
        """Whether the gateway goes by these weights, by the names of Deployments."""
        return self.routed and all(routes.weights(route.spec) == weights for route in self.observed.routes)

    def most_served(self, place: Place) -> bool:
        """Whether a version gets most requests, as far as Service and routes tell: what counts where the status was lost."""
        if self.gateway is None or not self.observed.routes:
            return self.chosen(place)
        weights = routes.weights(self.observed.routes[0].spec)
        return place.deployment == max(weights, key=lambda name: weights[name], default="")

    def is_named(self, place: Place) -> bool:
        """Whether Service or routes name a version, whether or not the gateway has taken the routes."""
        return any(place.deployment in names for names in self._named())

    def may_be_reached(self, place: Place) -> bool:
        """Whether a request of a client may still go to a version, as far as is known."""
        if self.is_named(place):
            return True
        # The gateway may still go by routes of which the version was a part; one that drains has left those that it took.
        return self.gateway is not None and not self.routed and place.step != PlaceStep.DRAINING

    @property
    def through_activator(self) -> bool:
        """Whether the gateway sends the requests of clients to the activator, as it goes by the routes now."""
        return self.routed and all(routes.through_activator(route.spec) for route in self.observed.routes)

    @property
    def names_activator(self) -> bool:
        """Whether the routes send the requests of clients to the activator, whether or not the gateway has taken them."""
        return any(routes.through_activator(route.spec) for route in self.observed.routes)

    @property
    def past_activator(self) -> bool:
        """Whether it sends none of them there."""
        return self.routed and not any(routes.through_activator(route.spec) for route in self.observed.routes)

    def pinned(self, place: Place) -> bool:
        """Whether the gateway knows the version's Service: before that it gets no request."""
        return self.routed and all(place.deployment in routes.backends(route.spec) for route in self.observed.routes)

    def has_pods(self, place: Place) -> bool:
        """Whether any pod of a version holds its machine, also one that is ending."""
        selector = self.selector(place)
        workload = self.workloads.get(place.deployment)
        return (workload is not None and workload.replicas > 0) or any(
            pod.labels.items() >= selector.items() and not ended(pod) for pod in self.observed.pods
        )

    def _named(self) -> Iterator[set[str]]:
        """The versions to which each way of the clients leads, by the names of their Deployments."""
        if self.service is not None and self.service.type != "ExternalName":
            named = labels.version_of(self.service.selector)
            name = self.model_deployment.metadata.name
            whole = named is not None and dict(self.service.selector) == labels.serving_selector(name, *named)
            yield {names.version_deployment(name, *named)} if named is not None and whole else set()
        for route in self.observed.routes if self.gateway is not None else ():
            yield set(routes.weights(route.spec))

    def selector(self, place: Place) -> dict[str, str]:
        """The labels that only a version's pods have."""
        return labels.serving_selector(self.model_deployment.metadata.name, place.version, place.revision)

    def pods(self, place: Place) -> list[PodRecord]:
        """The version's pods, but for those that are ending."""
        selector = self.selector(place)
        return [
            pod
            for pod in self.observed.pods
            if not pod.deleting and all(pod.labels.get(label) == value for label, value in selector.items())
        ]

    @property
    def scales(self) -> bool:
        """Whether the requests under way decide on the number of pods."""
        return self.spec.scaling.follows and self.gateway is not None and self._is_counted

    @property
    def sleeps(self) -> bool:
        """Whether a model without requests has no pod: an activator takes the next one."""
        activates = self.gateway is not None and self.gateway.activator is not None
        return self.spec.scaling.reaches_zero and activates and self._is_counted

    @property
    def _is_counted(self) -> bool:
        """Whether the gateway counts the requests of clients: they may have a way past it."""
        return bool(self.settings.gateway_statistics_port) and self.spec.service.type == "ClusterIP"

    @cached_property
    def scale(self) -> Scale | None:
        """The number of pods by the requests under way; None for a fixed number."""
        if not self.scales:
            return None
        seen = self.observed
        return scaling.scale(
            self.spec.scaling,
            self.status.scaling,
            seen.load,
            seen.held.requests if seen.held is not None else 0,
            self.now,
            grows_only=self._grows_only,
        )

    @property
    def _grows_only(self) -> bool:
        """While a rollout runs, while requests wait, and until readings say something about a version that has just woken."""
        stable = self.status.stable
        since = times.parse(stable.since) if stable is not None else None
        settled = since is not None and self.now >= since + timedelta(seconds=self.spec.scaling.stabilization)
        return self.status.candidate is not None or self.observed.held is not None or not settled

    @property
    def replicas(self) -> int:
        """How many pods a version is to have that is served or is starting."""
        return self.spec.scaling.least if self.scale is None else self.scale.replicas

    def endpoint(self) -> Endpoint | None:
        """Addresses inside the cluster, and the node ports where the Service has some; None without a Service."""
        if self.service is None:
            return None
        metadata = self.model_deployment.metadata
        host = f"{metadata.name}.{metadata.namespace}.svc"
        path = f":{names.REST_PORT}/v1/models/{self.spec.model}"
        gateway = self.gateway
        outside = gateway.outside(self.model_deployment) if gateway else ""
        grpc_tls, rest_tls = (gateway.grpc_tls_port, gateway.rest_tls_port) if gateway and outside else (0, 0)
        return Endpoint(
            grpc=f"{host}:{names.GRPC_PORT}",
            rest=f"http://{host}{path}",
            external_grpc=f"{outside}:{names.GRPC_PORT}" if outside else None,
            external_rest=f"http://{outside}{path}" if outside else None,
            external_grpc_tls=f"{outside}:{grpc_tls}" if grpc_tls else None,
            external_rest_tls=_https(outside, rest_tls, self.spec.model) if rest_tls else None,
            node_port_grpc=self.service.node_ports.get(names.GRPC_PORT_NAME),
            node_port_rest=self.service.node_ports.get(names.REST_PORT_NAME),
        )


def _https(host: str, port: int, model: str) -> str:
    return f"https://{host}{'' if port == names.HTTPS_PORT else f':{port}'}/v1/models/{model}"


def _holds(condition: Mapping[str, Any], generation: int) -> bool:
    return condition.get("status") == "True" and condition.get("observedGeneration") == generation
