"""What to do about a ModelDeployment. Total, synchronous, no clock, no I/O.

1. places     which version is stable, candidate, draining, given up (`rollout`)
2. children   a Deployment per version that serves or is to serve, at its scale; the Service, at the stable version
3. deletions  Deployments that have no place any more
4. status     conditions Serving and Progressing, places, endpoint
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1.conditions import ServingCondition, ServingReason
from fovea_api.v1alpha1.model_deployment import ModelDeploymentStatus, VersionStatus

from fovea_operator.desired import deployment as desired
from fovea_operator.desired.service import BALANCER_FIELDS, service
from fovea_operator.reconcile.serving import health, rollout
from fovea_operator.reconcile.serving.rollout import Places
from fovea_operator.reconcile.serving.view import ServingView, endpoint_of, revision_of
from fovea_operator.reconcile.shared import conditions
from fovea_operator.reconcile.shared.conditions import EventType
from fovea_operator.reconcile.shared.decision import Child, Decision, Deletion, Write
from fovea_operator.reconcile.shared.kinds import DEPLOYMENT
from fovea_operator.reconcile.shared.observed import ServiceRecord, ServingObserved
from fovea_operator.settings import Settings

NOTABLE: Mapping[str, EventType] = {
    ServingReason.AVAILABLE: "Normal",
    ServingReason.INVALID_SPEC: "Warning",
    ServingReason.NO_VERSION: "Warning",
    ServingReason.STARTING: "Normal",
    ServingReason.DRAINING: "Normal",
    ServingReason.MODEL_CORRUPT: "Warning",
    ServingReason.MODEL_MISSING: "Warning",
    ServingReason.DEADLINE_EXCEEDED: "Warning",
    ServingReason.MACHINE_TYPE_MISSING: "Warning",
    ServingReason.POD_REFUSED: "Warning",
    ServingReason.UNSCHEDULABLE: "Warning",
    ServingReason.IMAGE_PULL_FAILED: "Warning",
    ServingReason.KEY_REFUSED: "Warning",
    ServingReason.STORE_UNREACHABLE: "Warning",
    ServingReason.SERVER_FAILED: "Warning",
}


def decide_model_deployment(observed: ServingObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a ModelDeployment. Never raises on an observed state, never changes it."""
    if observed.model_deployment.metadata.deletion_timestamp is not None:
        return Decision()  # its Deployments and its Service go by their owner references
    view = ServingView.of(observed, now, settings)
    places = rollout.advance(view)
    status = _status(view, places)
    return Decision(
        children=tuple(_children(view, places)),
        status=status.dump(),
        deletions=tuple(_deletions(view, places)),
        events=conditions.events_of_change(view.status.conditions, status.conditions, NOTABLE),
        requeue_at=rollout.wake(view, places),
    )


def _children(view: ServingView, places: Places) -> Iterator[Child]:
    for place in (places.stable, places.candidate):
        if place is not None:
            yield from _workload(view, place)
    # The first version of all gets the Service at once: its pods are in it as soon as they answer.
    pointed_at = places.stable or places.candidate
    if pointed_at is not None:
        manifest = service(view.model_deployment, pointed_at.version, revision_of(pointed_at))
        if view.observed.service is None or not _is_as_wanted(view.observed.service, manifest):
            yield Child(Write.APPLY, manifest)


def _is_as_wanted(record: ServiceRecord, manifest: dict[str, Any]) -> bool:
    """Whether a Service has what the manifest says; what others added to it (labels, annotations, ports) is theirs."""
    spec, metadata = manifest["spec"], manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    return (
        (record.type, record.selector) == (spec["type"], spec["selector"])
        and record.labels.items() >= metadata["labels"].items()
        and record.annotations.items() >= annotations.items()
        and record.annotations.get(labels.PASSED_ON) == annotations.get(labels.PASSED_ON)
        and all(record.balancer.get(field) == spec[field] for field in BALANCER_FIELDS if field in spec)
        and all(record.ports.get(port["name"]) == port for port in spec["ports"])
    )


def _workload(view: ServingView, place: VersionStatus) -> Iterator[Child]:
    """The Deployment of a version: made when absent, scaled when its size is wrong, otherwise never touched."""
    record = view.workloads.get(place.deployment)
    revision = revision_of(place)
    if record is None:
        version, machine_type = view.version(place.version), view.machine_type
        if version is not None and machine_type is not None and rollout.cannot_be_made(view, place) is None:
            manifest = desired.version_deployment(view.model_deployment, version, revision, machine_type, view.settings)
            yield Child(Write.CREATE, manifest)
    elif not record.deleting and record.replicas != view.spec.scaling.min_replicas:
        yield Child(Write.APPLY, desired.scale(view.model_deployment, place.version, revision))


def _deletions(view: ServingView, places: Places) -> Iterator[Deletion]:
    for workload in view.observed.workloads:
        if workload.name not in places.kept and not workload.deleting:
            yield Deletion(DEPLOYMENT, workload.namespace, workload.name, workload.uid)


def _status(view: ServingView, places: Places) -> ModelDeploymentStatus:
    serving = _serving(view, places)
    progressing = _progressing(view, places)
    held = view.status.conditions
    for type_, (value, reason, message) in (
        (ServingCondition.SERVING, serving),
        (ServingCondition.PROGRESSING, progressing),
    ):
        held = conditions.put(
            held, type_, conditions.truth(value), reason, message, now=view.now, generation=view.generation
        )
    message = serving[2] if progressing[1] == ServingReason.IDLE else f"{serving[2]} {progressing[2]}"
    stable = _counted(view, places.stable)
    return view.status.model_copy(
        update={
            "conditions": held,
            "message": message[: conditions.MAX_MESSAGE],
            "stable": stable,
            "candidate": _counted(view, places.candidate),
            "draining": [_counted(view, place) for place in places.draining] or None,
            "failed": places.failed,
            "endpoint": endpoint_of(view.model_deployment, view.observed.service),
            "replicas": stable.ready_replicas if stable else 0,
            "selector": _selector(view, places),
            "observed_generation": view.generation,
        }
    )


Said = tuple[bool, ServingReason, str]


def _serving(view: ServingView, places: Places) -> Said:
    model, stable = view.spec.model, places.stable
    if stable is None:
        reason = places.problem.reason if places.problem else ServingReason.STARTING
        return False, reason, f"No version of model {model} answers yet."
    ready, wanted = view.ready(stable), view.spec.scaling.min_replicas
    if ready > 0:
        message = f"Version {stable.version} of model {model} answers on {ready} of {wanted} pods."
        return True, ServingReason.AVAILABLE, message
    problem = health.problem(view, stable)
    reason = problem.reason if problem else ServingReason.STARTING
    why = f": {problem.message}" if problem else ""
    return False, reason, f"No pod of version {stable.version} of model {model} answers{why}."


def _progressing(view: ServingView, places: Places) -> Said:
    problem = places.problem
    if problem is not None and (places.failed is not None or problem.reason == ServingReason.DEADLINE_EXCEEDED):
        return False, problem.reason, problem.message
    if view.observed.refused:
        said = f"{rollout.REFUSED}{view.observed.refused}"
        return places.candidate is not None, ServingReason.POD_REFUSED, said
    if places.candidate is not None:
        number = places.candidate.version
        if places.problem is not None:
            return True, places.problem.reason, f"Version {number} is not ready: {places.problem.message}."
        return (
            True,
            ServingReason.STARTING,
            f"Version {number} is starting; the Service moves to it when it answers.",
        )
    if places.problem is not None:
        return False, places.problem.reason, places.problem.message
    if places.draining:
        old = ", ".join(str(place.version) for place in places.draining)
        return True, ServingReason.DRAINING, f"Version {old} finishes its connections."
    return False, ServingReason.IDLE, "Nothing is being brought up and nothing is being drained."


def _counted(view: ServingView, place: VersionStatus | None) -> VersionStatus | None:
    return None if place is None else place.model_copy(update={"ready_replicas": view.ready(place)})


def _selector(view: ServingView, places: Places) -> str | None:
    place = places.stable or places.candidate
    if place is None:
        return None
    selector = labels.serving_selector(view.model_deployment.metadata.name, place.version, revision_of(place))
    return ",".join(f"{label}={value}" for label, value in selector.items())
