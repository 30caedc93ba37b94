"""ModelDeployment: serve a version of a model behind one Service, and move to the next version without a failed request."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from .common import (
    NAME_RULE,
    Column,
    Kind,
    MachineTypeName,
    Model,
    Name,
    Resource,
    kept,
    own_keys,
    rule,
    rules,
)
from .model_deployment_status import ModelDeploymentStatus
from .pod import Annotations, PodOptions


class Scaling(Model):
    """How many pods serve."""

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Pods of the serving version."""


class Rollout(Model):
    """How a new version takes over."""

    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Seconds that a version has until all its pods are ready; then it is given up and the old version keeps serving.
    Without an old version, Fovea goes on trying."""
    drain_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    """Seconds that the old version's pods stay after the Service has switched; more than clients' connections last (30 s by default)."""


_CLASS_KEPT = kept("loadBalancerClass", optional=True)


class Exposure(Model):
    """How clients reach the Service."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            own_keys("annotations"),
            *(
                rule(
                    f"!has(self.{field}) || self.type == 'LoadBalancer'",
                    f"service.{field} goes with service.type LoadBalancer only: remove it or set type: LoadBalancer",
                    field=f".{field}",
                )
                for field in ("loadBalancerClass", "loadBalancerSourceRanges")
            ),
            rule(
                f"self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || ({_CLASS_KEPT})",
                "service.loadBalancerClass never changes while the type is LoadBalancer: set type: ClusterIP first",
                field=".loadBalancerClass",
            ),
        )
    )

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service."""
    annotations: Annotations = None
    """Annotations of the Service, for example those that a cloud's load balancer or external-dns reads."""
    load_balancer_class: Annotated[str | None, Field(min_length=1, max_length=253)] = None
    """Which implementation of load balancers serves it; absent: the cluster's default."""
    load_balancer_source_ranges: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]] | None, Field(max_length=64)
    ] = None
    """Addresses (CIDR) of clients that the load balancer lets in; absent: all."""


class ModelDeploymentSpec(Model):
    """Which model is served, and how."""

    model: Name
    """Name of the model."""
    version: Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})] = "Latest"
    """Latest (the newest approved version) or a number."""
    scaling: Scaling = Field(default_factory=Scaling, json_schema_extra={"default": {}})
    """How many pods serve."""
    machine_type: MachineTypeName | None = None
    """MachineType of the pods; absent: the default one."""
    pod: PodOptions | None = None
    """Labels, annotations, account and placement of the pods; a change is rolled out like a new version."""
    rollout: Rollout = Field(default_factory=Rollout, json_schema_extra={"default": {}})
    """How a new version takes over."""
    service: Exposure = Field(default_factory=Exposure, json_schema_extra={"default": {}})
    """How clients reach it."""


class ModelDeployment(Resource):
    """Serves a model: one Deployment per version behind one Service, switched when the new version answers."""

    KIND: ClassVar[str] = "ModelDeployment"
    kind: Literal["ModelDeployment"] = "ModelDeployment"
    spec: ModelDeploymentSpec
    """Which model is served, and how."""
    status: ModelDeploymentStatus = Field(default_factory=ModelDeploymentStatus)
    """What is being served."""


KIND = Kind(
    kind="ModelDeployment",
    plural="modeldeployments",
    short="md",
    scope="Namespaced",
    model=ModelDeployment,
    subresources={
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.scaling.minReplicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    },
    root_rules=(
        NAME_RULE,
        rule(
            "type(self.spec.version) == string ? self.spec.version == 'Latest' : "
            "(self.spec.version >= 1 && self.spec.version <= 999999999)",
            "spec.version must be Latest or a version number (1, 2, …)",
            field=".spec.version",
        ),
        rule(
            "self.spec.model == oldSelf.spec.model",
            "spec.model is immutable: make another ModelDeployment for another model",
            field=".spec.model",
        ),
    ),
    columns=(
        Column(name="Model", type="string", json_path=".spec.model"),
        Column(name="Serving", type="integer", json_path='.status.places[?(@.role=="stable")].version'),
        Column(name="Ready", type="integer", json_path=".status.replicas"),
        Column(name="Candidate", type="integer", json_path='.status.places[?(@.role=="candidate")].version'),
        Column(name="Endpoint", type="string", json_path=".status.endpoint.grpc"),
        Column(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        Column(name="Message", type="string", json_path=".status.message"),
    ),
)
