"""What the status of a ModelDeployment says: places, conditions, history, endpoint. Pure."""

from collections.abc import Mapping

from fovea_api.contract import text
from fovea_api.v1alpha1.conditions import ServingCondition, ServingReason
from fovea_api.v1alpha1.model_deployment_status import (
    MAX_ENDED,
    MAX_ENDED_MESSAGE,
    Ended,
    ModelDeploymentStatus,
    Place,
    PlaceStep,
)

from fovea_operator.reconcile.serving import canary, evacuation, health
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.rollout import Rollout
from fovea_operator.reconcile.serving.scaling import SLEEPS
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import conditions, times
from fovea_operator.reconcile.shared.conditions import EventType, Finding

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
    ServingReason.LOAD_UNKNOWN: "Warning",
    ServingReason.ASLEEP: "Normal",
    ServingReason.WAKING: "Normal",
    ServingReason.PAUSED: "Normal",
    ServingReason.WAITING: "Normal",
    ServingReason.PROMOTED: "Normal",
    ServingReason.ERRORS: "Warning",
    ServingReason.SLOW: "Warning",
    ServingReason.DIFFERENT: "Warning",
    ServingReason.ABORTED: "Warning",
}
"""Reasons that are reported by an Event when a condition gets them."""


def of(view: ServingView, advanced: Rollout) -> ModelDeploymentStatus:
    """The whole status, by where every version stands."""
    places = advanced.places
    serving = _serving(view, advanced)
    progressing = _progressing(view, advanced)
    found = (
        (ServingCondition.SERVING, serving),
        (ServingCondition.PROGRESSING, progressing),
        (ServingCondition.PROMOTED, _promoted(view, advanced, progressing)),
        (ServingCondition.ROLLED_BACK, _rolled_back(places)),
    )
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
            "history": _history(view, places),
            "endpoint": view.endpoint(),
            "scaling": advanced.scale,
            "replicas": places.stable.ready_replicas if places.stable else 0,
            "selector": _selector(view, places),
            "observed_generation": view.generation,
        }
    )


def _history(view: ServingView, places: Places) -> list[Ended] | None:
    """With the rollout that is over by this decision."""
    was = {(place.deployment, place.role) for place in view.status.places or ()}
    over = [place for place in (places.stable, places.failed) if place and (place.deployment, place.role) not in was]
    before = {place.deployment: place.traffic for place in view.status.places or ()}
    ended = [
        Ended(
            version=place.version,
            digest=place.digest,
            time=times.text(view.now),
            reason=place.reason or ServingReason.PROMOTED,
            message=place.message and text.cut(place.message, MAX_ENDED_MESSAGE),
            traffic=place.traffic or before.get(place.deployment),
        )
        for place in over
    ]
    return [*(view.status.history or ()), *ended][-MAX_ENDED:] or None


Judgement = tuple[bool, ServingReason, str]
"""Whether a condition holds, its reason, and the sentence."""


def _serving(view: ServingView, advanced: Rollout) -> Judgement:
    model, stable = view.spec.model, advanced.places.stable
    if stable is None:
        return False, _why_nothing_is_served(view, advanced), f"No version of model {model} answers yet."
    ready, wanted = stable.ready_replicas, evacuation.replicas(view, stable)
    candidate = advanced.places.candidate
    if view.route_refusal and not view.selects_pods:
        message = f"Gateway {view.settings.gateway} does not take a route of this model: {view.route_refusal}."
        return False, ServingReason.ROUTE_REFUSED, message
    if stable.step == PlaceStep.IDLE:
        message = f"Version {stable.version} of model {model} has no requests: the next one starts a pod."
        return True, ServingReason.ASLEEP, message
    if ready > 0:
        if stable.step == PlaceStep.STOPPED:
            message = f"Version {stable.version} of model {model} ends its pods."
        else:
            message = f"Version {stable.version} of model {model} answers on {ready} of {wanted} pods."
        return True, ServingReason.AVAILABLE, f"{message} {evacuation.message(view, stable)}".rstrip()
    if stable.step == PlaceStep.STOPPED and candidate is not None:
        message = f"Nothing answers until version {candidate.version} does: its pods start in the place of those of version {stable.version}."
        return False, ServingReason.STARTING, message
    if candidate is not None and candidate.weight == 100 and candidate.ready_replicas > 0:
        message = f"Version {candidate.version} of model {model} answers on {candidate.ready_replicas} pods."
        return True, ServingReason.AVAILABLE, message
    problem = health.problem(view, stable)
    if stable.step == PlaceStep.WAKING and problem is None:
        message = f"Requests wait until a pod of version {stable.version} of model {model} answers."
        return False, ServingReason.WAKING, message
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
    if candidate is not None and candidate.shift is not None:
        return True, *canary.message(view, candidate, candidate.shift)
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
    if behind := _behind_gateway(view) or _not_scaled(view):
        return behind
    if places.draining:
        old = ", ".join(str(place.version) for place in places.draining)
        several = len(places.draining) > 1
        message = f"Versions {old} finish their connections." if several else f"Version {old} finishes its connections."
        return True, ServingReason.DRAINING, message
    return False, ServingReason.IDLE, "No version is starting and none is draining."


def _promoted(view: ServingView, advanced: Rollout, progressing: Judgement) -> Judgement:
    """Whether the wanted version has all requests."""
    places, wanted = advanced.places, view.wanted()
    stable = places.stable
    if places.candidate is not None or places.failed is not None or stable is None or wanted is None:
        return False, progressing[1], progressing[2]
    if stable.deployment != view.target(wanted).deployment:
        return False, progressing[1], progressing[2]  # what stands in its way
    if stable.step not in {PlaceStep.SERVING, *SLEEPS}:
        return False, ServingReason.ROUTE_PENDING, f"Not all requests go to version {stable.version} yet."
    return True, ServingReason.PROMOTED, f"All requests go to version {stable.version}."


def _rolled_back(places: Places) -> Judgement:
    """Whether the wanted version was given up beside one that is served."""
    failed, stable = places.failed, places.stable
    if failed is None or stable is None:
        return False, ServingReason.NOT_ROLLED_BACK, "No version was rolled back."
    why = f": {failed.message}" if failed.message else ""
    message = f"Version {failed.version} gets no requests{why}; version {stable.version} keeps serving."
    return True, failed.reason or ServingReason.STARTING, message


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


def _not_scaled(view: ServingView) -> Judgement | None:
    """Why the requests under way do not decide on the number of pods, although the spec says so."""
    wanted, settings = view.spec.scaling, view.settings
    field = "minReplicas: 0" if wanted.reaches_zero else "maxReplicas"
    if not wanted.follows:
        return None
    if view.gateway is None:
        missing = "a gateway: ask the platform team to set gateway.className or gateway.parentRef in the chart's values"
    elif view.spec.service.type != "ClusterIP":
        missing = f"clients that go through the gateway, and service.type is {view.spec.service.type}: set ClusterIP"
    elif not settings.gateway_statistics_port:
        missing = (
            "a gateway that counts requests: ask the platform team to set gateway.statisticsPort in the chart's values"
        )
    elif wanted.reaches_zero and view.gateway.activator is None:
        missing = "an activator: ask the platform team to set gateway.activator.replicas in the chart's values"
    elif view.observed.load is not None and view.observed.load.missing:
        message = (
            f"Not all requests are known ({view.observed.load.missing}): the number of pods can grow, and no pod ends. "
            f"It is {view.replicas}."
        )
        return False, ServingReason.LOAD_UNKNOWN, message
    else:
        return None
    message = (
        f"scaling.{field} needs {missing}, or set another number. Until then the number of pods is {view.replicas}."
    )
    return False, ServingReason.GATEWAY_MISSING, message


def _short_of_pods(view: ServingView, stable: Place) -> Judgement | None:
    """Why not all wanted pods of the served version answer: a larger scale, or pods that ended."""
    ready, wanted = view.ready(stable), view.replicas
    if ready >= wanted or stable.step in SLEEPS:
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
        "spec.machineType, spec.pod or spec.rollout changes."
    )


def _rest(stable: Place | None) -> str:
    return f"version {stable.version} keeps serving" if stable else "nothing is served"


def _selector(view: ServingView, places: Places) -> str | None:
    place = places.pointed_at
    return None if place is None else ",".join(f"{label}={value}" for label, value in view.selector(place).items())
