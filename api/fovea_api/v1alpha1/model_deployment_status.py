"""The status of a ModelDeployment: the places of its versions, its endpoint and its conditions."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .common import Conditions, Model, Status
from .conditions import ServingReason
from .scaling import Scale

MAX_PLACES = 20
MAX_ENDED = 10
MAX_ENDED_MESSAGE = 512
MAX_PLACE_MESSAGE = 3072
"""In bytes of UTF-8: with a sentence around it, it still fits a condition."""


class PlaceRole(StrEnum):
    """What a version is to its ModelDeployment."""

    STABLE = "stable"
    """The version that is served."""
    CANDIDATE = "candidate"
    """The wanted version, which is not served yet."""
    DRAINING = "draining"
    """A version that was served and finishes its connections."""
    FAILED = "failed"
    """The wanted version, which was given up."""


class PlaceStep(StrEnum):
    """How far a version is in its role."""

    STARTING = "Starting"
    """A candidate whose pods do not all answer yet."""
    SWITCHING = "Switching"
    """A candidate whose pods answer, or the stable version: the Service does not point at it yet, or the gateway does not send it all requests."""
    SHIFTING = "Shifting"
    """A candidate that gets a part of the requests."""
    BAKING = "Baking"
    """A candidate that gets all requests, while the old version keeps its pods."""
    IDLE = "Idle"
    """The stable version without a request for scaling.idleSeconds: it has no pod, or its pods end. The next request waits at the activator."""
    WAKING = "Waking"
    """The stable version, whose first pod starts again: requests wait at the activator."""
    STOPPED = "Stopped"
    """The stable version, whose pods make room for those of the candidate (rollout.strategy Recreate)."""
    SERVING = "Serving"
    """The stable version: the Service points at it, or the gateway sends it all requests."""
    LEAVING = "Leaving"
    """A draining version, or a failed one: the Service still points at it, or the gateway may still send it requests."""
    DRAINING = "Draining"
    """A draining version, or a failed one: no new request of a client comes to it, unless it names the version."""
    GIVEN_UP = "GivenUp"
    """A failed version: it has neither a Deployment nor a Service."""


class EvacuationStep(StrEnum):
    """How far a version is that has a pod on a cordoned node. Also the reason of the Event that reports it."""

    STARTING = "SecondPodStarting"
    """Of one replica: the second pod is not ready yet, and the first one is not evicted."""
    READY = "SecondPodReady"
    """Of one replica: two pods are ready, and one of them can be evicted."""
    LATE = "SecondPodLate"
    """Of one replica: the second pod was not ready within rollout.progressDeadlineSeconds, and the first one can be evicted."""
    ENDING = "SecondPodEnding"
    """Of one replica: the node is not cordoned any more. After two minutes one of the two pods ends. If the node was removed, its pod goes first."""
    PODS_STARTING = "PodsStarting"
    """Of several replicas: not all pods are ready, and no ready one is evicted."""
    PODS_LATE = "PodsLate"
    """Of several replicas: not all pods were ready within rollout.progressDeadlineSeconds, and a ready one can be evicted all the same."""


class Evacuation(Status):
    """Progress of a version that has a pod on a cordoned node. Absent for several replicas that are all ready: one of them can be evicted."""

    node: str
    """Name of the cordoned node. Of several, the first one by name."""
    step: EvacuationStep
    """Step. For one replica: SecondPodStarting, SecondPodReady, SecondPodLate or SecondPodEnding. For several replicas: PodsStarting or PodsLate."""
    since: str | None = None
    """Time at which the version reached this step."""


class Traffic(Status):
    """Requests of clients to one version, as the gateway has counted them since the candidate has its present weight.

    Of a stable version that has had too few requests since then, as they were counted before.
    """

    time: str | None = None
    """Time of this count."""
    requests: int = 0
    """Number of requests that have ended."""
    errors: int = 0
    """Number of those that failed: with another status than OK or CANCELLED (gRPC), with 4xx or 5xx (REST), or given up by their clients."""
    error_ratio: float = 0.0
    """errors divided by requests."""
    p50_milliseconds: float | None = None
    """Half of the requests took no longer than this."""
    compared: int | None = None
    """For a candidate: number of mirrored requests that both versions were asked."""
    drift: float | None = None
    """For a candidate: how far the answers to them were from the stable version's, on average, from 0 to 1."""
    p99_milliseconds: float | None = None
    """99 of 100 requests took no longer than this."""


class Shift(Status):
    """A candidate's way from no request to all."""

    step: Annotated[int, Field(ge=1)]
    """Number of the present step, from 1."""
    steps: Annotated[int, Field(ge=1)]
    """Number of all steps. In the last one, the candidate has all requests, unless rollout.bakeSeconds is 0."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """Percentage of the requests that the candidate is to have in this step."""
    since: str | None = None
    """Time at which the gateway had taken this weight. Absent: it has not yet."""
    next_weight: int | None = None
    """Percentage of the next step. Absent: the candidate becomes the stable version."""
    next_time: str | None = None
    """Earliest time of the next step. Absent: unknown, because the gateway has not taken the weight yet."""
    waits_for: Annotated[str | None, Field(max_length=MAX_PLACE_MESSAGE)] = None
    """What else the next step waits for."""


class Place(Status):
    """State of one version. Each version has a Deployment and a Service of its own, which have the same name."""

    version: int
    """Number of the version."""
    digest: str = ""
    """Digest of its files."""
    revision: str
    """Label fovea.dev/revision of its pods: a hash of its files, spec.machineType and spec.pod."""
    deployment: str
    """Name of its Deployment and of its Service."""
    role: PlaceRole
    """stable: it is served. candidate: it is being started. draining: it finishes its connections. failed: it was given up."""
    step: PlaceStep
    """Step within the role. candidate: Starting, Switching, Shifting, Baking. stable: Serving, Switching, Stopped, Idle, Waking. draining: Leaving,
    Draining. failed: Leaving, Draining, GivenUp."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Percentage of the requests to the ModelDeployment's Service that this version gets. The weights of all versions add
    up to 100, or to 0 while no version is served."""
    since: str | None = None
    """Time at which the version reached this role and step."""
    ready_replicas: int = 0
    """Number of pods that answer."""
    reason: ServingReason | None = None
    """For a candidate: why it is not served yet. For a failed version: why Fovea gave it up."""
    message: Annotated[str | None, Field(max_length=MAX_PLACE_MESSAGE)] = None
    """The reason in a sentence."""
    rollout_hash: str | None = None
    """For a failed version: hash of spec.rollout, but for paused, at the time at which Fovea gave it up. If you change another field of it, Fovea tries the
    version again."""
    retry_time: str | None = None
    """For a failed version: time of the next try. Absent: Fovea tries again only after the version's files or the spec have changed."""
    shift: Shift | None = None
    """For a candidate that gets requests: its step."""
    interruptions: int | None = None
    """For a candidate: how often none of its pods answered while it got requests. The third time, Fovea gives it up."""
    traffic: Traffic | None = None
    """Requests to the version while a candidate gets requests: for the candidate, the stable version and a version that was rolled back."""
    evacuation: Evacuation | None = None
    """While a pod of the version is on a cordoned node, and shortly after: whether a drain of the node waits for this version.
    Fovea starts a second pod on another node for a version with one replica."""


class Ended(Status):
    """A rollout that is over."""

    version: int
    """Number of the version."""
    digest: str = ""
    """Digest of its files."""
    time: str
    """Time at which it was over."""
    reason: ServingReason
    """Promoted, or why Fovea gave the version up."""
    message: Annotated[str | None, Field(max_length=MAX_ENDED_MESSAGE)] = None
    """The reason in a sentence."""
    traffic: Traffic | None = None
    """Last count of the version's requests, where they were counted."""


class Endpoint(Model):
    """Addresses for clients."""

    grpc: str = ""
    """host:port of PredictionService."""
    rest: str = ""
    """URL of the model's REST API."""
    external_grpc: str | None = None
    """host:port of PredictionService for clients outside the cluster: at the gateway, where the chart names a domain."""
    external_rest: str | None = None
    """URL of the model's REST API for clients outside the cluster."""
    external_grpc_tls: str | None = None
    """host:port of PredictionService over TLS for clients outside the cluster, where the chart names a certificate."""
    external_rest_tls: str | None = None
    """URL of the model's REST API over TLS for clients outside the cluster."""
    node_port_grpc: int | None = None
    """Port on every node, for service.type NodePort."""
    node_port_rest: int | None = None
    """Port on every node, for service.type NodePort."""


class ModelDeploymentStatus(Status):
    """State of the ModelDeployment."""

    conditions: Conditions | None = None
    """Conditions: Serving, Progressing, Promoted, RolledBack."""
    message: Annotated[str | None, Field(max_length=32_768)] = None
    """State of the ModelDeployment in a sentence, and what to do."""
    # Atomic: an apply that takes the last entry out of a list with keys takes the list away, and then nothing would tell
    # a status that has no places any more from one that was written before there were places.
    places: Annotated[
        list[Place] | None, Field(max_length=MAX_PLACES, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = None
    """One entry for each version that is served, that is starting, that finishes its connections, or that Fovea gave up."""
    history: Annotated[
        list[Ended] | None, Field(max_length=MAX_ENDED, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = None
    """The rollouts that were over last, the oldest first."""
    endpoint: Endpoint | None = None
    """Addresses for clients."""
    scaling: Scale | None = None
    """Number of pods by the requests under way. Absent where spec.scaling has a fixed number."""
    replicas: int | None = None
    """Number of ready pods of the stable version."""
    selector: str | None = None
    """Label selector of the stable version's pods, for the scale subresource."""
    observed_generation: int | None = None
    """Generation of the spec that this status is about."""

    def of_role(self, role: PlaceRole) -> Iterator[Place]:
        """The places of a role, in their order."""
        return (place for place in self.places or () if place.role == role)

    @property
    def stable(self) -> Place | None:
        """The version that is served."""
        return next(self.of_role(PlaceRole.STABLE), None)

    @property
    def candidate(self) -> Place | None:
        """The version that is being started, or that gets a part of the requests."""
        return next(self.of_role(PlaceRole.CANDIDATE), None)

    @property
    def draining(self) -> list[Place]:
        """Versions that finish their connections, the oldest first."""
        return list(self.of_role(PlaceRole.DRAINING))

    @property
    def failed(self) -> Place | None:
        """The version that was given up."""
        return next(self.of_role(PlaceRole.FAILED), None)
