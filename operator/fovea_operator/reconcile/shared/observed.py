"""What a reconciler may know: slim, frozen records, made by `cluster/` from watch events. No bodies, no clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from fovea_api.contract.plan import Input
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import BatchPrediction, MachineType, ModelDeployment, ModelVersion, TrainingJob

from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.reconcile.shared.traffic import Held, Load, Traffic


@dataclass(frozen=True)
class ContainerRecord:
    """One container of a pod: exactly one of waiting, running, terminated, or none of them yet."""

    waiting_reason: str = ""
    waiting_message: str = ""
    running_since: datetime | None = None
    exit_code: int | None = None
    """Set when terminated."""
    terminated_reason: str = ""
    """OOMKilled, Error, Completed, …"""
    termination_message: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    last_exit_code: int | None = None
    """Of the run before this one (lastState): set while a container that ended waits to be started again."""
    last_reason: str = ""
    last_message: str = ""
    """Termination message of the run before this one."""
    last_finished: datetime | None = None


_NOT_SEEN = ContainerRecord()


@dataclass(frozen=True)
class PodRecord:
    """One pod of ours."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    phase: str
    """Pending, Running, Succeeded, Failed or Unknown."""
    created: datetime
    deleting: bool = False
    gone: bool = False
    """Whether it does not exist any more: it had ended, and this is how."""
    deletion_deadline: datetime | None = None
    """When the grace period of a deletion ends (metadata.deletionTimestamp); later than that the pod's node is lost."""
    told_to_end: datetime | None = None
    """When it was deleted: as long before that as the grace period lasts."""
    node: str = ""
    ip: str = ""
    scheduled: datetime | None = None
    """When it got its node."""
    initialized: datetime | None = None
    """When its program could start: the init containers had ended, and the hook of the sidecar."""
    reason: str = ""
    """status.reason: Evicted, NodeLost, Shutdown, …"""
    message: str = ""
    ready: bool = False
    unschedulable: str = ""
    """Message of PodScheduled=False/Unschedulable, else empty."""
    disrupted: str = ""
    """Message of DisruptionTarget=True, else empty."""
    containers: Mapping[str, ContainerRecord] = field(default_factory=dict)
    """By name, init containers included."""
    foreign: tuple[str, ...] = ()
    """Names of its containers (no init containers) that something else than Fovea added."""
    publications: tuple[Input, ...] = ()
    """Of its plan, if it is a training pod: inputs that another job or a model stood for."""
    checkpoint_from: str = ""
    """Of its plan: where the job is whose checkpoint it begins with."""
    active_since: datetime | None = None
    """When its kubelet took it (status.startTime): spec.activeDeadlineSeconds counts from then."""
    active_deadline: datetime | None = None
    """When its kubelet stops it by that; None: never, or no kubelet has taken it yet."""
    deadline_is_own: bool = False
    """Whether the operator set that, for the job's runPolicy.maxRunningSeconds."""

    def container(self, name: str) -> ContainerRecord:
        """What is seen of a container: nothing yet, of one that the kubelet has not named."""
        return self.containers.get(name, _NOT_SEEN)


@dataclass(frozen=True)
class DeploymentRecord:
    """One Deployment of ours."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    generation: int
    observed_generation: int
    replicas: int
    """How many pods are wanted (spec.replicas)."""
    ready_replicas: int
    available_replicas: int
    deleting: bool = False
    replica_failure: str = ""
    """Message of ReplicaFailure=True (quota, policy), else empty."""


@dataclass(frozen=True)
class ServiceRecord:
    """One Service of ours."""

    namespace: str
    name: str
    uid: str
    type: str
    selector: Mapping[str, str]
    """Empty for an ExternalName."""
    node_ports: Mapping[str, int]
    """By port name; empty for ClusterIP."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    balancer: Mapping[str, Any] = field(default_factory=dict)
    """What its spec says of a load balancer (`desired.service.BALANCER_FIELDS`)."""
    ports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The ports by name, as the API server has them, without their node port."""
    external_name: str = ""
    """The host that an ExternalName stands for."""
    deleting: bool = False


@dataclass(frozen=True)
class BatchJobRecord:
    """One Indexed Job of ours."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    generation: int = 1
    complete: bool = False
    """Whether it says that all of its pods have succeeded."""
    failed: str = ""
    """Reason of Failed=True, else empty."""
    failure: str = ""
    """Message of the same."""
    suspended: bool = False
    """Whether it is to have no pods (spec.suspend)."""
    deleting: bool = False


@dataclass(frozen=True)
class BudgetRecord:
    """One PodDisruptionBudget of ours."""

    namespace: str
    name: str
    uid: str
    spec: Mapping[str, Any]
    """As the API server has it."""


@dataclass(frozen=True)
class RouteRecord:
    """One route of ours at a gateway, for gRPC or for REST."""

    namespace: str
    name: str
    uid: str
    kind: str
    """GRPCRoute or HTTPRoute."""
    generation: int
    spec: Mapping[str, Any]
    """As the API server has it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[Mapping[str, Any], ...] = ()
    """What implementations say of it (status.parents)."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class NetworkPolicyRecord:
    """One NetworkPolicy of ours. No decision reads it: it is known so that it is made once, and again when it is gone."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One cordoned node."""

    name: str


@dataclass(frozen=True)
class FlavorRecord:
    """One ResourceFlavor of Kueue: a kind of node that a queue has quota for."""

    node_labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """What pods tolerate that are admitted to it."""


@dataclass(frozen=True)
class PodSetUpdate:
    """What a check of Kueue wants on the pods of a role."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class WorkloadRecord:
    """The Workload by which a job waits in a queue of Kueue."""

    namespace: str
    name: str
    uid: str
    version: int
    """resourceVersion: its status is patched at this version only."""
    generation: int
    queue: str
    conditions: tuple[Mapping[str, Any], ...] = ()
    """As the API server has them."""
    flavors: Mapping[str, tuple[str, ...]] | None = None
    """Names of the ResourceFlavors by role, once there is an admission."""
    updates: Mapping[str, tuple[PodSetUpdate, ...]] = field(default_factory=dict)
    """By role."""
    deleting: bool = False

    def condition(self, kind: str) -> Mapping[str, Any] | None:
        """The condition of a type, if it is True."""
        return next((one for one in self.conditions if one["type"] == kind and one["status"] == "True"), None)


@dataclass(frozen=True)
class PodGroupRecord:
    """One PodGroup of ours, whatever its API."""

    namespace: str
    name: str
    uid: str


class Versions(Protocol):
    """The versions of one model."""

    def find(self, number: int | None = None, *, to_serve: bool = False) -> ModelVersion | None:
        """The version of a number, or the newest approved one; `to_serve`: only one that can be served."""

    def of_job(self, uid: str) -> ModelVersion | None:
        """The version that the job with that uid has registered."""


@dataclass(frozen=True)
class Pace:
    """How fast a program was, by its newest reports."""

    steps_per_second: float
    seconds: float = 0.0
    """Between the first and the last of these reports."""


@dataclass(frozen=True)
class Heard:
    """What an agent has reported of its pod's program."""

    report: ProgressReport
    """The newest report."""
    pace: Pace | None = None
    """Unknown until two reports are far enough apart."""


@dataclass(frozen=True)
class JobObserved:
    """Everything that a decision on a TrainingJob may depend on."""

    job: TrainingJob
    pods: tuple[PodRecord, ...]
    machine_types: Mapping[str, MachineType]
    jobs: Mapping[str, TrainingJob]
    """Other jobs of the namespace that this one names (inputs, checkpoint.from), by name; absent: no such job."""
    versions: Mapping[str, Versions]
    """Of every model that this job names (registration and inputs), by its name."""
    model_deployments: Mapping[str, ModelDeployment]
    """ModelDeployments of the namespace with the name of the job's model."""
    unreadable_machine_types: Mapping[str, str] = field(default_factory=dict)
    """Those that exist and cannot be read: why not, by name."""
    next_number: int = 0
    """The number of a version that the job registers now; 0 for a job without a model. It is held for the job once the decision uses it."""
    progress: ProgressReport | None = None
    """Latest report of the current pod's agent."""
    pace: Pace | None = None
    """By the latest reports of that agent."""
    heard: Mapping[str, Heard] = field(default_factory=dict)
    """What the agents of all pods have reported, by the pod's uid. Pods that have not reported are left out."""
    ticket: str = ""
    """For the reports of that agent in the operator's memory; empty without one."""
    refused: str = ""
    """The API server's message when it refused (4xx) a child of the previous decision, else empty."""
    predecessors: tuple[PodRecord, ...] = ()
    """Pods of deleted jobs of the same name."""
    vanished: datetime | None = None
    """When this operator saw a pod of the job go that had not ended; None: it saw none, and a pod that is gone went before."""
    vanished_places: frozenset[tuple[str, int]] = frozenset()
    """Member keys and attempts of such pods: the attempt had a pod, even if no status says so yet."""
    served: frozenset[GroupVersionKind] = frozenset()
    """Optional kinds that the API server serves."""
    workload: WorkloadRecord | None = None
    """By which the job waits in a queue."""
    queue_position: int | None = None
    """Place in that queue, from 1, as last heard."""
    flavors: Mapping[str, FlavorRecord] = field(default_factory=dict)
    """All ResourceFlavors by name."""
    priorities: Mapping[str, int] = field(default_factory=dict)
    """Values of all WorkloadPriorityClasses by name."""


@dataclass(frozen=True)
class ServingObserved:
    """Everything that a decision on a ModelDeployment may depend on."""

    model_deployment: ModelDeployment
    versions: Versions
    """Of the model."""
    workloads: tuple[DeploymentRecord, ...]
    """The Deployments of its versions."""
    pods: tuple[PodRecord, ...]
    services: tuple[ServiceRecord, ...]
    """The one for its clients and those of its versions."""
    budget: BudgetRecord | None
    """How many pods of the version that is served may be evicted at the same time."""
    candidate_budgets: tuple[BudgetRecord, ...]
    """The same of versions that get a part of the requests, or got one: they have the names of their Deployments."""
    routes: tuple[RouteRecord, ...]
    """At the gateway."""
    serves_routes: bool
    """Whether the API server has the kinds of routes, and lets the operator read them."""
    predecessors: tuple[str, ...]
    """Names of Deployments, Services and routes of deleted ModelDeployments of the same name, which the garbage collector still has to delete."""
    machine_types: Mapping[str, MachineType]
    traffic: Traffic | None = None
    """Requests of clients while a candidate gets some, as the gateway counts them; None: nothing counts them."""
    load: Load | None = None
    """Requests under way, where they decide on the number of pods; None: nothing counts them, or nothing follows them."""
    held: Held | None = None
    """Requests at the activator; None: there are none."""
    activator_answers: bool | None = None
    """Whether an activator was heard of lately; None: the operator has not run long enough to know."""
    cordoned: frozenset[str] | None = None
    """Names of those nodes of its pods that are cordoned; None: the operator may not see nodes."""
    unreadable_machine_types: Mapping[str, str] = field(default_factory=dict)
    """Those that exist and cannot be read: why not, by name."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Words of the API server against objects of the comparator that are not there, by their kind."""
    refused: str = ""


@dataclass(frozen=True)
class EarlierPods:
    """Failed pods of one worker that are gone, and of which no more is known: newer ones followed them."""

    failures: int = 0
    disruptions: int = 0
    """Those that were ended from outside."""


@dataclass(frozen=True)
class PredictionObserved:
    """Everything that a decision on a BatchPrediction may depend on."""

    prediction: BatchPrediction
    versions: Versions
    """Of the model."""
    jobs: tuple[BatchJobRecord, ...]
    """Its Jobs: one, and during a rerun those before it."""
    pods: Mapping[str, tuple[PodRecord, ...]]
    """Its workers by the uid of their Job, those that ended and are gone included; also of Jobs that are gone."""
    machine_types: Mapping[str, MachineType]
    earlier: Mapping[tuple[str, int], EarlierPods] = field(default_factory=dict)
    """Those that are gone and not among them, by the uid of their Job and their worker's number."""
    heard: Mapping[str, Heard] = field(default_factory=dict)
    """What the agents of all workers have reported, by the pod's uid. Pods that have not reported are left out."""
    heard_before: Mapping[int, ProgressReport] = field(default_factory=dict)
    """The furthest report of each worker by its number, by whichever of its pods, as far as this operator heard them."""
    unreadable_machine_types: Mapping[str, str] = field(default_factory=dict)
    """Those that exist and cannot be read: why not, by name."""
    predecessors: tuple[str, ...] = ()
    """Names of Jobs of deleted predictions of the same name, which the garbage collector still has to delete."""
    refused: str = ""
    """The API server's message when it refused (4xx) a child of the previous decision, else empty."""
