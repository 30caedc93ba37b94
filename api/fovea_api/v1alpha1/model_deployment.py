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
from .rollout import Rollout
from .scaling import Scaling

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
    """Class of the load balancer. Absent: the cluster's default."""
    load_balancer_source_ranges: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]] | None, Field(max_length=64)
    ] = None
    """Addresses (CIDR) of the clients that may connect through the load balancer. Absent: all."""


class ModelDeploymentSpec(Model):
    """Which model is served, and how."""

    model: Name
    """Name of the model."""
    version: Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})] = "Latest"
    """Number of a version, or Latest: the newest approved version."""
    scaling: Scaling = Field(default_factory=Scaling, json_schema_extra={"default": {}})
    """Number of pods."""
    machine_type: MachineTypeName | None = None
    """MachineType of the pods. Absent: the default MachineType."""
    pod: PodOptions | None = None
    """Labels, annotations, account and placement of the pods. Fovea rolls a change out like a new version."""
    rollout: Rollout = Field(default_factory=Rollout, json_schema_extra={"default": {}})
    """How a new version takes over."""
    service: Exposure = Field(default_factory=Exposure, json_schema_extra={"default": {}})
    """How clients reach the model."""


class ModelDeployment(Resource):
    """Serves a model. Each version has a Deployment of its own. One Service selects the pods of one version, and moves to
    the next version when that one answers.
    """

    KIND: ClassVar[str] = "ModelDeployment"
    kind: Literal["ModelDeployment"] = "ModelDeployment"
    spec: ModelDeploymentSpec
    """Which model is served, and how."""
    status: ModelDeploymentStatus = Field(default_factory=ModelDeploymentStatus)
    """State of the ModelDeployment."""


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
        Column(name="Weight", type="integer", json_path='.status.places[?(@.role=="candidate")].weight'),
        Column(name="Step", type="integer", json_path='.status.places[?(@.role=="candidate")].shift.step'),
        Column(name="Next", type="string", json_path='.status.places[?(@.role=="candidate")].shift.nextTime'),
        Column(name="Endpoint", type="string", json_path=".status.endpoint.grpc"),
        Column(name="Age", type="date", json_path=".metadata.creationTimestamp"),
        Column(name="Message", type="string", json_path=".status.message"),
        *(
            Column(name=name, type=type_, json_path=f'.status.places[?(@.role=="{role}")].traffic.{field}', priority=1)
            for role, prefix in (("candidate", "New"), ("stable", "Old"))
            for name, type_, field in (
                (f"{prefix}-Requests", "integer", "requests"),
                (f"{prefix}-Errors", "number", "errorRatio"),
                (f"{prefix}-P50-ms", "number", "p50Milliseconds"),
                (f"{prefix}-P99-ms", "number", "p99Milliseconds"),
            )
        ),
    ),
)
