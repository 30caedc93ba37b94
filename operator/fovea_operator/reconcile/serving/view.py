"""Bucket first: what is observed of a ModelDeployment, sorted for the policies."""

from dataclasses import dataclass
from datetime import datetime

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import MachineType, ModelDeployment, ModelVersion
from fovea_api.v1alpha1.model_deployment import Endpoint, ModelDeploymentSpec, ModelDeploymentStatus, VersionStatus

from fovea_operator.desired import deployment as desired
from fovea_operator.reconcile.shared import platform, times
from fovea_operator.reconcile.shared.observed import DeploymentRecord, PodRecord, ServiceRecord, ServingObserved
from fovea_operator.settings import Settings


@dataclass(frozen=True)
class ServingView:
    """A ModelDeployment with the Deployments of its versions by name."""

    observed: ServingObserved
    now: datetime
    settings: Settings
    workloads: dict[str, DeploymentRecord]

    @classmethod
    def of(cls, observed: ServingObserved, now: datetime, settings: Settings) -> "ServingView":
        """Sort the Deployments."""
        return cls(observed, now, settings, {workload.name: workload for workload in observed.workloads})

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
        """What was said last."""
        return self.model_deployment.status

    @property
    def generation(self) -> int:
        """The generation of what is wanted."""
        return self.model_deployment.metadata.generation

    @property
    def machine_type(self) -> MachineType | None:
        """The machine type of new pods; None when there is none of that name."""
        return platform.machine_type(self.spec.machine_type, self.observed.machine_types)

    def version(self, number: int) -> ModelVersion | None:
        """The record of a version."""
        return self.observed.versions.find(number)

    def wanted(self) -> ModelVersion | None:
        """The version that is to be served."""
        number = self.spec.version if isinstance(self.spec.version, int) else None
        return self.observed.versions.find(number, to_serve=True)

    def place(self, version: ModelVersion) -> VersionStatus:
        """The version as it would enter the status now."""
        revision = desired.revision(self.model_deployment, version)
        name = names.version_deployment(self.model_deployment.metadata.name, version.spec.version, revision)
        return VersionStatus(
            version=version.spec.version,
            digest=version.spec.digest,
            deployment=name,
            since=times.text(self.now),
        )

    def ready(self, place: VersionStatus) -> int:
        """Pods of a version that answer."""
        workload = self.workloads.get(place.deployment)
        return workload.ready_replicas if workload else 0

    def available(self, place: VersionStatus) -> bool:
        """Whether all wanted pods of a version answer, and the Deployment's word on it is about its present spec."""
        workload = self.workloads.get(place.deployment)
        wanted = self.spec.scaling.min_replicas
        return (
            workload is not None
            and not workload.deleting
            and workload.observed_generation >= workload.generation
            and workload.replicas >= wanted
            and workload.available_replicas >= wanted
        )

    def reached(self, place: VersionStatus) -> bool:
        """Whether the Service points at a version, as far as it is seen."""
        service = self.observed.service
        selector = labels.serving_selector(self.model_deployment.metadata.name, place.version, revision_of(place))
        return service is not None and dict(service.selector) == selector

    def pods(self, place: VersionStatus) -> list[PodRecord]:
        """The version's pods, but for those that are ending."""
        selector = labels.serving_selector(self.model_deployment.metadata.name, place.version, revision_of(place))
        return [
            pod
            for pod in self.observed.pods
            if not pod.deleting and all(pod.labels.get(label) == value for label, value in selector.items())
        ]


def revision_of(place: VersionStatus) -> str:
    """The revision that a version's Deployment has in its name."""
    return place.deployment.rpartition("-")[2]


def endpoint_of(model_deployment: ModelDeployment, service: ServiceRecord | None) -> Endpoint | None:
    """Addresses inside the cluster, and the node ports where the Service has some; None without a Service."""
    if service is None:
        return None
    host = f"{model_deployment.metadata.name}.{model_deployment.metadata.namespace}.svc"
    return Endpoint(
        grpc=f"{host}:{names.GRPC_PORT}",
        rest=f"http://{host}:{names.REST_PORT}/v1/models/{model_deployment.spec.model}",
        node_port_grpc=service.node_ports.get(names.GRPC_PORT_NAME),
        node_port_rest=service.node_ports.get(names.REST_PORT_NAME),
    )
