"""What to do about a ModelDeployment. Total, synchronous, no clock, no I/O.

1. places     which version is stable, candidate, draining, failed, and how far it is (`rollout`, `places`)
2. children   a Deployment at its scale and a Service for each version that serves or is to serve; the clients' Service
3. deletions  Deployments and Services of versions that have no place any more
4. status     conditions Serving and Progressing, places, endpoint
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1.conditions import ServingCondition, ServingReason
from fovea_api.v1alpha1.model_deployment_status import ModelDeploymentStatus, Place, PlaceStep

from fovea_operator.desired import deployment as desired
from fovea_operator.desired.disruption_budget import disruption_budget
from fovea_operator.desired.routes import Gateway, Share, routes
from fovea_operator.desired.service import BALANCER_FIELDS, gateway_service, service, version_service
from fovea_operator.reconcile.serving import evacuation, health, rollout
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.rollout import Rollout
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import conditions
from fovea_operator.reconcile.shared.conditions import EventType, Finding
from fovea_operator.reconcile.shared.decision import (
    DEPLOYMENT,
    GRPC_ROUTE,
    HTTP_ROUTE,
    SERVICE,
    Child,
    Decision,
    Deletion,
    Write,
)
from fovea_operator.reconcile.shared.observed import ServiceRecord, ServingObserved
from fovea_operator.reconcile.shared.pods import ended
from fovea_operator.settings import Settings

NOTABLE: Mapping[str, EventType] = {
    ServingReason.AVAILABLE: "Normal",
    ServingReason.INVALID_SPEC: "Warning",
    ServingReason.PREDECESSOR_ENDING: "Normal",
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
    ServingReason.ROUTE_REFUSED: "Warning",
    ServingReason.GATEWAY_MISSING: "Warning",
}


def decide_model_deployment(observed: ServingObserved, now: datetime, settings: Settings) -> Decision:
    """The answer to what is observed of a ModelDeployment. Never raises on an observed state, never changes it."""
    if observed.model_deployment.metadata.deletion_timestamp is not None:
        # Its children go by their owner references, once it has gone itself.
        return Decision(children=tuple(_released(observed)))
    view = ServingView.of(observed, now, settings)
    advanced = rollout.advance(view)
    status = _status(view, advanced)
    return Decision(
        children=tuple(replace(child, is_needed=False) for child in _children(view, advanced.places)),
        status=status.dump(),
        deletions=tuple(_deletions(view, advanced.places)),
        events=(
            *conditions.events_of_change(view.status.conditions, status.conditions, NOTABLE),
            *evacuation.events(view, advanced.places),
        ),
        requeue_at=rollout.wake(view, advanced.places),
    )


def _children(view: ServingView, places: Places) -> Iterator[Child]:
    """In this order a candidate that is refused, by a quota for example, leaves alone what is served."""
    pointed_at = places.pointed_at
    started = [place for place in (places.stable, places.candidate) if place is not None]
    if pointed_at is not None:
        yield from _workload(view, pointed_at)
    if view.gateway is not None:
        # Before the routes that name them.
        yield from _own_services(view, started)
        yield from _routes(view, view.gateway, places)
    if pointed_at is not None:
        yield from _service(view.service, _for_clients(view, pointed_at))
    for place in started[1:]:
        yield from _workload(view, place)
    if view.gateway is None:
        # Last: no client of the ModelDeployment's own Service depends on them.
        yield from _own_services(view, started)
    if pointed_at is not None:
        yield from _budget(view, pointed_at)


def _own_services(view: ServingView, started: Iterable[Place]) -> Iterator[Child]:
    for place in started:
        manifest = version_service(view.model_deployment, place.version, place.revision)
        yield from _service(view.services.get(place.deployment), manifest, absent=Write.CREATE)


def _for_clients(view: ServingView, pointed_at: Place) -> dict[str, Any]:
    if view.gateway is None or view.selects_pods:
        return service(view.model_deployment, pointed_at.version, pointed_at.revision)
    return gateway_service(view.model_deployment, view.gateway.address)


def _routes(view: ServingView, gateway: Gateway, places: Places) -> Iterator[Child]:
    """A version's pin comes after its Service and goes before it: routes never name a Service that is not there."""
    pointed_at = places.pointed_at
    if pointed_at is None or pointed_at.deployment not in view.services:
        return
    placed = (places.stable, places.candidate, *reversed(places.draining))
    shares = [
        Share(place.version, place.revision, place.deployment, 100 if place == pointed_at else 0)
        for place in placed
        if place is not None and place.deployment in view.services
    ]
    known = {route.kind: route for route in view.observed.routes}
    for manifest in routes(view.model_deployment, gateway, shares):
        record = known.get(manifest["kind"])
        if record is None or not (
            _covers(record.spec, manifest["spec"]) and record.labels.items() >= manifest["metadata"]["labels"].items()
        ):
            yield Child(Write.APPLY, manifest)


def _covers(known: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted of it; fields that the API server has filled in do not count."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        return all(field in known and _covers(known[field], value) for field, value in wanted.items())
    if isinstance(known, list) and isinstance(wanted, list):
        return len(known) == len(wanted) and all(map(_covers, known, wanted))
    return bool(known == wanted)


def _budget(view: ServingView, place: Place) -> Iterator[Child]:
    known = view.observed.budget
    leaves = evacuation.min_available(view, place)
    manifest = disruption_budget(view.model_deployment, place.version, place.revision, leaves)
    if known is None:
        yield Child(Write.CREATE, manifest, is_optional=True)
    elif known.spec != manifest["spec"]:
        yield Child(Write.APPLY, manifest, is_optional=True)


def _released(observed: ServingObserved) -> Iterator[Child]:
    """The budget of a ModelDeployment that is being deleted holds up no drain: pods that are missing may never come.

    A finalizer of others may hold the ModelDeployment for days.
    """
    known, of = observed.budget, observed.model_deployment
    selector = {} if known is None else known.spec.get("selector", {}).get("matchLabels", {})
    named = labels.version_of(selector)
    if known is None or named is None:
        return
    pods = [
        pod for pod in observed.pods if not pod.deleting and not ended(pod) and pod.labels.items() >= selector.items()
    ]
    leaves = evacuation.min_available_of(of.spec.scaling.min_replicas, pods)
    if known.spec.get("minAvailable") != leaves:
        yield Child(Write.APPLY, disruption_budget(of, *named, leaves), is_optional=True, is_needed=False)


def _service(record: ServiceRecord | None, manifest: dict[str, Any], *, absent: Write = Write.APPLY) -> Iterator[Child]:
    """A Service that is not as it is wanted; `absent`: how one that is not there is made."""
    if record is None:
        yield Child(absent, manifest)
    elif not _is_as_wanted(record, manifest):
        yield Child(Write.APPLY, manifest)


def _is_as_wanted(record: ServiceRecord, manifest: dict[str, Any]) -> bool:
    """Whether a Service has what the manifest says; what others added to it (labels, annotations, ports) is theirs."""
    spec, metadata = manifest["spec"], manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    return (
        (record.type, record.selector) == (spec["type"], spec.get("selector", {}))
        and record.external_name == spec.get("externalName", "")
        and record.labels.items() >= metadata["labels"].items()
        and record.annotations.items() >= annotations.items()
        and record.annotations.get(labels.PASSED_ON) == annotations.get(labels.PASSED_ON)
        and all(record.balancer.get(field) == spec[field] for field in BALANCER_FIELDS if field in spec)
        and all(record.ports.get(port["name"]) == port for port in spec["ports"])
    )


def _workload(view: ServingView, place: Place) -> Iterator[Child]:
    """The Deployment of a version: made when absent, scaled when its size is wrong, otherwise never touched."""
    record = view.workloads.get(place.deployment)
    if record is None:
        version, machine_type = view.version(place.version), view.machine_type
        if version is not None and machine_type is not None and rollout.cannot_be_made(view, place) is None:
            manifest = desired.version_deployment(
                view.model_deployment, version, place.revision, machine_type, view.settings
            )
            yield Child(Write.CREATE, manifest)
    elif not record.deleting and record.replicas != (wanted := evacuation.replicas(view, place)):
        yield Child(Write.APPLY, desired.scale(view.model_deployment, place.version, place.revision, wanted))


def _deletions(view: ServingView, places: Places) -> Iterator[Deletion]:
    kept = places.kept
    for workload in view.observed.workloads:
        if workload.name not in kept and not workload.deleting:
            yield Deletion(DEPLOYMENT, workload.namespace, workload.name, workload.uid)
    for record in view.observed.services:
        if record.name not in kept and record != view.service and not record.deleting:
            yield Deletion(SERVICE, record.namespace, record.name, record.uid)
    if view.gateway is None and (view.service is None or view.service.type != "ExternalName"):
        # Of a gateway that was taken out of the settings.
        for route in view.observed.routes:
            if not route.deleting and route.kind == GRPC_ROUTE.kind:
                yield Deletion(GRPC_ROUTE, route.namespace, route.name, route.uid)
            elif not route.deleting:
                yield Deletion(HTTP_ROUTE, route.namespace, route.name, route.uid)


def _status(view: ServingView, advanced: Rollout) -> ModelDeploymentStatus:
    places = advanced.places
    serving = _serving(view, advanced)
    progressing = _progressing(view, advanced)
    found = ((ServingCondition.SERVING, serving), (ServingCondition.PROGRESSING, progressing))
    held = conditions.put(
        view.status.conditions,
        *(Finding(kind, conditions.truth(value), reason, said) for kind, (value, reason, said) in found),
        now=view.now,
        generation=view.generation,
    )
    message = serving[2] if progressing[1] == ServingReason.IDLE else f"{serving[2]} {progressing[2]}"
    return view.status.model_copy(
        update={
            "conditions": held,
            "message": message[: conditions.MAX_MESSAGE],
            "places": list(places),
            "endpoint": view.endpoint(),
            "replicas": places.stable.ready_replicas if places.stable else 0,
            "selector": _selector(view, places),
            "observed_generation": view.generation,
        }
    )


Judgement = tuple[bool, ServingReason, str]
"""Whether a condition holds, its reason, and the sentence."""


def _serving(view: ServingView, advanced: Rollout) -> Judgement:
    model, stable = view.spec.model, advanced.places.stable
    if stable is None:
        return False, _why_nothing_is_served(view, advanced), f"No version of model {model} answers yet."
    ready, wanted = stable.ready_replicas, evacuation.replicas(view, stable)
    if view.route_refusal and not view.selects_pods:
        message = f"Gateway {view.settings.gateway} does not take a route of this model: {view.route_refusal}."
        return False, ServingReason.ROUTE_REFUSED, message
    if ready > 0:
        message = f"Version {stable.version} of model {model} answers on {ready} of {wanted} pods."
        return True, ServingReason.AVAILABLE, f"{message} {evacuation.message(view, stable)}".rstrip()
    problem = health.problem(view, stable)
    reason = problem.reason if problem else ServingReason.STARTING
    why = f": {problem.message}" if problem else ""
    return False, reason, f"No pod of version {stable.version} of model {model} answers{why}."


def _why_nothing_is_served(view: ServingView, advanced: Rollout) -> ServingReason:
    if advanced.places.failed is not None:
        return advanced.places.failed.reason or ServingReason.STARTING
    if advanced.obstacle is not None:
        return advanced.obstacle.reason
    candidate = advanced.places.candidate
    if (
        candidate is None
        or candidate.reason is None
        or (view.refusal and candidate.reason == ServingReason.POD_REFUSED)
    ):
        return ServingReason.STARTING  # a refused object has no pods that could say more
    return candidate.reason


def _progressing(view: ServingView, advanced: Rollout) -> Judgement:
    places, candidate, obstacle = advanced.places, advanced.places.candidate, advanced.obstacle
    if places.failed is not None:
        return False, places.failed.reason or ServingReason.STARTING, _given_up(places.failed, places.stable)
    if candidate is not None and candidate.reason == ServingReason.DEADLINE_EXCEEDED:
        message = (
            f"Version {candidate.version} is not ready: {candidate.message}; {_rest(places.stable)}. "
            "Fovea goes on trying, and serves it as soon as it answers."
        )
        return False, candidate.reason, message
    if view.refusal:
        message = f"The API server refuses an object of this model; Fovea tries again: {view.refusal}"
        return candidate is not None, ServingReason.POD_REFUSED, message
    if candidate is not None and candidate.reason is not None:
        return True, candidate.reason, f"Version {candidate.version} is not ready: {candidate.message}."
    if candidate is not None and view.gateway is not None and candidate.step == PlaceStep.SWITCHING:
        message = f"Version {candidate.version} answers; Gateway {view.settings.gateway} has not taken its route yet."
        return True, ServingReason.ROUTE_PENDING, message
    if candidate is not None:
        message = f"Version {candidate.version} is starting; the Service moves to it when it answers."
        return True, ServingReason.STARTING, message
    if obstacle is not None:
        return False, obstacle.reason, obstacle.message
    if places.stable is not None and (short := _short_of_pods(view, places.stable)):
        return short
    if behind := _behind_gateway(view):
        return behind
    if places.draining:
        old = ", ".join(str(place.version) for place in places.draining)
        several = len(places.draining) > 1
        message = f"Versions {old} finish their connections." if several else f"Version {old} finishes its connections."
        return True, ServingReason.DRAINING, message
    return False, ServingReason.IDLE, "No version is starting and none is draining."


def _behind_gateway(view: ServingView) -> Judgement | None:
    """What is missing of the way through the gateway."""
    gateway = view.settings.gateway
    if gateway and not view.observed.serves_routes:
        message = (
            f"The API server has no GRPCRoute or HTTPRoute of gateway.networking.k8s.io/v1, so clients do not go through Gateway {gateway}: "
            "install the Gateway API, or take gateway.className or gateway.parentRef out of the chart's values."
        )
        return False, ServingReason.GATEWAY_MISSING, message
    if view.route_refusal:
        message = f"Gateway {gateway} does not take a route of this model: {view.route_refusal}."
        return False, ServingReason.ROUTE_REFUSED, message
    if view.gateway is not None and not view.routed:
        return True, ServingReason.ROUTE_PENDING, f"Gateway {gateway} has not taken the routes of this model yet."
    return None


def _short_of_pods(view: ServingView, stable: Place) -> Judgement | None:
    """Why not all wanted pods of the served version answer: a larger scale, or pods that ended."""
    ready, wanted = view.ready(stable), view.spec.scaling.min_replicas
    if ready >= wanted:
        return None
    problem = health.problem(view, stable)
    reason = problem.reason if problem else ServingReason.STARTING
    why = f": {problem.message}" if problem else "; the others are starting"
    return True, reason, f"{ready} of {wanted} pods of version {stable.version} answer{why}."


def _given_up(failed: Place, stable: Place | None) -> str:
    why = f": {failed.message}" if failed.message else ""
    when = f"at {failed.retry_time}, or " if failed.retry_time else ""
    return (
        f"Version {failed.version} is given up{why}; {_rest(stable)}. Fovea tries it again {when}when the wanted version, "
        "spec.machineType, spec.pod or spec.rollout.progressDeadlineSeconds changes."
    )


def _rest(stable: Place | None) -> str:
    return f"version {stable.version} keeps serving" if stable else "nothing is served"


def _selector(view: ServingView, places: Places) -> str | None:
    place = places.pointed_at
    return None if place is None else ",".join(f"{label}={value}" for label, value in view.selector(place).items())
