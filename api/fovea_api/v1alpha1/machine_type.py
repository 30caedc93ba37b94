"""MachineType: what the platform team calls a kind of machine: resources, GPUs, where it is. Cluster-scoped."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from .affinity import Affinity
from .common import (
    QUALIFIED_NAME,
    SUBDOMAIN,
    Column,
    Kind,
    LabelKey,
    LabelValue,
    Model,
    ObjectName,
    Quantity,
    Resource,
    Toleration,
    at_least_a_mebibyte,
    own_keys,
    rule,
    rules,
)
from .pod import Annotations, Labels


class AgentResources(Model):
    """Resources of each container of Fovea's agent, which transfers data. Absent fields: the chart's value `agent`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.cpuLimit) || !has(self.cpu) || "
                "quantity(string(self.cpuLimit)).compareTo(quantity(string(self.cpu))) >= 0",
                "agent.cpuLimit is smaller than the request agent.cpu: raise it, or remove it",
                field=".cpuLimit",
            ),
            at_least_a_mebibyte("memory", optional=True),
        )
    )

    cpu: Quantity | None = None
    """CPU request. On a busy node, a larger request transfers inputs and checkpoints faster."""
    cpu_limit: Quantity | None = None
    """CPU limit. 0: none, even if the chart sets one. A quota on limits.cpu requires a limit."""
    memory: Quantity | None = None
    """Memory request and limit."""


class Gpus(Model):
    """Accelerators."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!self.resource.contains('kubernetes.io/') && !self.resource.startsWith('requests.')",
                "gpus.resource is the name that a device plugin advertises: kubernetes.io and requests.… are Kubernetes' own, "
                "write for example nvidia.com/gpu",
                field=".resource",
            )
        )
    )

    count: Annotated[int, Field(ge=1, le=64)]
    """Number of accelerators of a pod."""
    resource: Annotated[
        str,
        Field(
            min_length=3,
            max_length=253,
            pattern=rf"^{SUBDOMAIN}/{QUALIFIED_NAME}$",
        ),
    ] = "nvidia.com/gpu"
    """Extended resource that a device plugin advertises."""


class MachineTypeSpec(Model):
    """Resources of one pod of this type, and the nodes it may run on."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.cpuLimit) || quantity(string(self.cpuLimit)).compareTo(quantity(string(self.cpu))) >= 0",
                "spec.cpuLimit is smaller than the request spec.cpu: raise it, or remove it for no limit",
                field=".cpuLimit",
            ),
            at_least_a_mebibyte("memory", optional=False),
            at_least_a_mebibyte("ephemeralStorage", optional=True),
            at_least_a_mebibyte("sharedMemory", optional=True),
            own_keys("podLabels"),
            own_keys("podAnnotations"),
        )
    )

    cpu: Quantity
    """CPU request, for example 500m or 4."""
    cpu_limit: Quantity | None = None
    """CPU limit. Absent: none, so that the pod may use idle cores of the node."""
    memory: Quantity
    """Memory request and limit, for example 4Gi."""
    ephemeral_storage: Quantity | None = None
    """Request and limit of local storage. It holds inputs, checkpoints and outputs of a job."""
    shared_memory: Quantity | None = None
    """Size of /dev/shm. It counts as memory. Absent: 64Mi, the default of the container runtime."""
    gpus: Gpus | None = None
    """Accelerators; absent: none."""
    node_selector: Annotated[dict[LabelKey, LabelValue] | None, Field(max_length=16)] = None
    """Labels that a node must have. nvidia.com/gpu.product selects the product of GPU, where GPU feature discovery labels nodes with it."""
    tolerations: Annotated[list[Toleration] | None, Field(max_length=16)] = None
    """Tolerations of the pods: taints that a node may have."""
    affinity: Affinity | None = None
    """Placement of the pods. The affinity of a job or ModelDeployment (spec.pod.affinity) applies as well."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods, for example nvidia or gvisor; absent: the node's default."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods. It wins over spec.pod.priorityClassName of a job or ModelDeployment. Absent: their field applies."""
    pod_labels: Labels = None
    """Labels of the pods, for example for cost allocation."""
    pod_annotations: Annotations = None
    """Annotations of the pods."""
    agent: AgentResources | None = None
    """Resources of the agent's containers in these pods."""
    cost_weight: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    """Cost of one hour of a pod of this type, in a unit of your choice: a price, or a multiple of another machine type.
    status.cost of a job adds it up."""
    default: bool = False
    """Whether this is the default for jobs and ModelDeployments that name no machine type. Set it on one machine type only.
    If several set it, the first one by name is the default."""


class MachineType(Resource):
    """A kind of machine for jobs and ModelDeployments: resources, GPUs, node selector, tolerations. The platform team makes machine types."""

    KIND: ClassVar[str] = "MachineType"
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self.metadata.name.size() <= 40", "metadata.name has at most 40 characters: choose a shorter name")
        )
    )
    kind: Literal["MachineType"] = "MachineType"
    spec: MachineTypeSpec
    """Resources and placement of pods on this machine type."""


KIND = Kind(
    kind="MachineType",
    plural="machinetypes",
    short="mt",
    scope="Cluster",
    model=MachineType,
    columns=(
        Column(name="CPU", type="string", json_path=".spec.cpu"),
        Column(name="Memory", type="string", json_path=".spec.memory"),
        Column(name="GPUs", type="integer", json_path=".spec.gpus.count"),
        Column(name="Cost", type="number", json_path=".spec.costWeight", priority=1),
        Column(name="Default", type="boolean", json_path=".spec.default"),
        Column(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ),
)
