"""When a version moves from one place to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import Place, PlaceStep
from fovea_api.v1alpha1.scaling import Scale

from fovea_operator.desired import routes
from fovea_operator.reconcile.serving import canary, evacuation, giving_up, health, recovery, sleeping
from fovea_operator.reconcile.serving import places as move
from fovea_operator.reconcile.serving.health import Problem
from fovea_operator.reconcile.serving.places import MAX_DRAINING, Places
from fovea_operator.reconcile.serving.scaling import SLEEPS
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import platform, times

MOST_INTERRUPTIONS = 3


@dataclass(frozen=True)
class Rollout:
    """Where every version stands now."""

    places: Places
    obstacle: Problem | None = None
    """Why the wanted version is not started, or why there is none."""
    scale: Scale | None = None
    """How many pods each version is to have by the requests under way."""


def advance(view: ServingView) -> Rollout:
    """Where every version stands, by what is seen now and by where it stood."""
    wanted = view.wanted()
    places = recovery.with_what_is_named(
        view, recovery.known(view), "" if wanted is None else view.target(wanted).deployment
    )
    if wanted is None:
        rollout = Rollout(_without_wanted(view, places), _no_version(view))
    else:
        target = view.target(wanted)
        places = _with_the_only_one_that_answers(view, recovery.with_what_answers(view, places, target), target)
        rollout = _towards(view, places, target)
    places = _as_seen(view, _settled(view, rollout.places))
    return replace(rollout, places=places, scale=sleeping.scale(view, places))


def _with_the_only_one_that_answers(view: ServingView, places: Places, target: Place) -> Places:
    """A candidate that has requests, and alone answers, is served when a third version is wanted: the stable one would fail them."""
    stable, candidate = places.stable, places.candidate
    if stable is None or candidate is None or candidate.shift is None:
        return places
    if target.deployment in (stable.deployment, candidate.deployment) or not canary.is_alone(view, stable, candidate):
        return places
    return _promoted(view, replace(places, candidate=None), candidate)


def _no_version(view: ServingView) -> Problem:
    model = view.spec.model
    if isinstance(view.spec.version, int) and view.version(view.spec.version) is not None:
        what = (
            f"Version {view.spec.version} of model {model} is not a SavedModel (spec.format: Other) and cannot be served: "
            "correct spec.version."
        )
    elif isinstance(view.spec.version, int):
        what = f"Model {model} has no version {view.spec.version}: register it, or correct spec.version."
    else:
        of_which = " that is a SavedModel" if view.observed.versions.find() else ""
        what = (
            f"Model {model} has no approved version{of_which}: train one (spec.model of a TrainingJob) or approve one."
        )
    return Problem(ServingReason.NO_VERSION, what)


def _towards(view: ServingView, places: Places, target: Place) -> Rollout:
    """The next places of all versions, when that one is wanted."""
    others = _without_wanted(view, places, target)
    if places.stable is not None and places.stable.deployment == target.deployment:
        return Rollout(others, cannot_be_made(view, places.stable))
    known = places.candidate
    candidate = known if known is not None and known.deployment == target.deployment else target
    failed = places.failed
    if failed is not None and failed.deployment == target.deployment and not giving_up.is_tried_again(view, failed):
        still = move.still_given_up(
            failed, view.now, failed.step, rollout_hash=giving_up.hash_of(view.spec.rollout, failed.version)
        )
        return Rollout(replace(others, failed=still))
    serves = others.stable is None and view.most_served(candidate) and view.ready(candidate) > 0
    shifts = others.stable is not None and candidate.shift is not None
    if view.spec.rollout.aborted_version == candidate.version and not (serves or shifts):
        return Rollout(replace(others, failed=giving_up.given_up(view, others, candidate, canary.ABORTED)))
    if (obstacle := _no_gateway(view)) and not serves:
        return Rollout(_let_go(view, others, candidate), obstacle)
    if others.stable is not None and shifts:
        return Rollout(_shifted(view, others, others.stable, candidate))
    if view.available(candidate):
        return Rollout(_switched(view, others, candidate))
    if missing := cannot_be_made(view, candidate):
        return Rollout(others, missing)
    return Rollout(_started(view, others, candidate))


def _without_wanted(view: ServingView, places: Places, target: Place | None = None) -> Places:
    """The places without those of the wanted version. Another one that was wanted before, and has had requests, finishes them."""
    others = replace(places, candidate=None, failed=None)
    for place in (places.candidate, places.failed):
        if place is not None and (target is None or place.deployment != target.deployment):
            others = _let_go(view, others, place)
    return others


def _let_go(view: ServingView, others: Places, place: Place) -> Places:
    """A version is not wanted any more: if it has had requests, it finishes them."""
    goes_already = place.deployment in {each.deployment for each in others.draining}
    is_asked = giving_up.has_requests(view, others, place) or place.step in (PlaceStep.LEAVING, PlaceStep.DRAINING)
    if goes_already or not is_asked:
        return others
    goes = move.draining(place, view.now, left_now=False)
    return replace(
        others, draining=(*others.draining, goes if place.step == PlaceStep.DRAINING else move.leaving(place, view.now))
    )


def _no_gateway(view: ServingView) -> Problem | None:
    """Why a rollout of this kind cannot be; None: it can."""
    wanted = view.spec.rollout.needs_gateway
    if not wanted or view.gateway is not None:
        return None
    missing = (
        f"Gateway {view.settings.gateway}, and the API server has no GRPCRoute or HTTPRoute of gateway.networking.k8s.io/v1 that the "
        "operator may read: install the Gateway API, restart the operator or wait up to ten minutes until it looks again"
        if view.settings.gateway
        else "a gateway: ask the platform team to set gateway.className or gateway.parentRef in the chart's values"
    )
    said = f"rollout.{wanted} needs {missing}, or set rollout.strategy: BlueGreen without bakeSeconds."
    return Problem(ServingReason.GATEWAY_MISSING, said)


def _switched(view: ServingView, others: Places, candidate: Place) -> Places:
    """The candidate's pods answer: it is served, unless the Service cannot be moved to it."""
    refused = Problem(ServingReason.POD_REFUSED, view.refusal) if view.refusal else None
    if refused is not None and not view.reached(candidate) and (view.gateway is None or others.stable is None):
        # What was refused may be the Service: clients still reach the old version. At a gateway, what it has taken decides.
        return replace(others, candidate=move.switching(candidate, view.now, refused))
    if others.stable is not None and view.gateway is not None and not view.pinned(candidate):
        # A request that goes to a version which the gateway does not know yet would fail.
        said = Problem(ServingReason.ROUTE_REFUSED, view.route_refusal) if view.route_refusal else refused
        return replace(others, candidate=move.switching(candidate, view.now, said))
    if others.stable is not None and sleeping.has_waiting(view, others.stable):
        # Requests wait for its first pod. Once they have their answers, the versions can be compared.
        why = f"requests wait for a pod of version {others.stable.version}, which is served"
        return replace(others, candidate=move.switching(candidate, view.now, Problem(ServingReason.WAKING, why)))
    if others.stable is not None and others.stable.step not in SLEEPS and view.gateway is not None:
        return _shifted(view, others, others.stable, candidate)
    return _promoted(view, others, candidate)


def _shifted(view: ServingView, others: Places, stable: Place, candidate: Place) -> Places:
    """The candidate gets a part of the requests, all of them, or none any more."""
    advanced = canary.advance(view, stable, candidate)
    if advanced.problem is not None:
        return replace(others, failed=giving_up.given_up(view, others, candidate, advanced.problem))
    if advanced.restarts:
        return _interrupted(view, others, candidate)
    if advanced.shift is None:
        return _promoted(view, others, candidate)
    return canary.placed(view, others, candidate, advanced.shift)


def _interrupted(view: ServingView, others: Places, candidate: Place) -> Places:
    """The candidate begins again once its pods answer. One that cannot bear requests would do so for ever.

    A pod that was drained, or is new, says nothing about that.
    """
    since = times.parse(candidate.since) or view.now
    failed = any(not pod.ready and pod.created < since for pod in view.pods(candidate))
    count = (candidate.interruptions or 0) + (1 if failed else 0)
    problem = health.problem(view, candidate)
    if count < MOST_INTERRUPTIONS or view.spec.rollout.promoted_version == candidate.version:
        again = move.starting(candidate, view.now, problem).model_copy(update={"interruptions": count or None})
        return replace(others, candidate=again)
    why = f": {problem.message}" if problem is not None else ""
    said = f"{count} times, none of its pods answered while it got requests{why}"
    lost = Problem(ServingReason.SERVER_FAILED, said)
    return replace(others, failed=giving_up.given_up(view, others, candidate, lost))


def _promoted(view: ServingView, others: Places, candidate: Place) -> Places:
    replaced = () if others.stable is None else (others.stable,)
    return replace(
        others,
        stable=move.stable(candidate, view.now, reached=view.gateway is None),
        draining=(*others.draining, *replaced),
    )


def _started(view: ServingView, others: Places, candidate: Place) -> Places:
    """Not all of the candidate's pods answer: it has time until its deadline, and without another version longer."""
    waiting = move.starting(candidate, view.now)
    problem = health.problem(view, candidate)
    # Some of its pods may be all that answers clients, where the Service points at it: they are not taken away.
    answers = view.reached(candidate) and view.ready(candidate) > 0
    if problem is not None and problem.final and not answers:
        return replace(others, failed=giving_up.given_up(view, others, candidate, problem))
    if view.now < deadline(view, waiting):
        refused = Problem(ServingReason.POD_REFUSED, view.refusal) if view.refusal else problem
        return replace(others, candidate=move.starting(waiting, view.now, refused))
    late = giving_up.too_late(view, candidate, problem)
    if others.stable is not None and not answers:
        return replace(others, failed=giving_up.given_up(view, others, candidate, late))
    # Nothing is served: what was away may be back later, so the Deployment stays, as Kubernetes' own ones do.
    return replace(others, candidate=move.starting(waiting, view.now, late))


def cannot_be_made(view: ServingView, place: Place) -> Problem | None:
    """Why the Deployment of a version, which is not there, is not made; None: it is there or can be made."""
    if place.deployment in view.workloads:
        return None
    if said := platform.not_allowed(view.spec.pod, view.settings):
        return Problem(ServingReason.INVALID_SPEC, said)
    if before := view.observed.predecessors:
        message = (
            f"Waiting for {', '.join(before)} of the deleted ModelDeployment of this name to be deleted by Kubernetes."
        )
        return Problem(ServingReason.PREDECESSOR_ENDING, message)
    if view.machine_type is None:
        seen = view.observed
        message = platform.machine_type_missing(
            view.spec.machine_type, seen.machine_types, seen.unreadable_machine_types
        )
        return Problem(ServingReason.MACHINE_TYPE_MISSING, message)
    return None


def _settled(view: ServingView, places: Places) -> Places:
    """With the steps that follow from where the Service points, and without versions that have drained, are gone, or serve again."""
    now = view.now
    # The Service is written before the status, so only what was refused is not as it is wanted. A gateway says when it has
    # taken a route.
    moves = places.pointed_at is not None and not view.refusal and view.gateway is None
    served = places.stable
    if served is not None:
        shifts = places.candidate is not None and places.candidate.shift is not None
        # Until the gateway has taken the weights back from a candidate, the routes name it alone and it has not all requests.
        alone = view.chosen(served) and served.weight == 100
        stays = served.step == PlaceStep.SERVING and (shifts or alone) and not view.route_refusal
        reached = moves or stays or view.reached(served)
        served = _served(view, places, served, reached=reached)
    failed = _left(view, places.failed)
    elsewhere = {place.deployment for place in (served, places.candidate, places.failed) if place is not None}
    leaving, drains = [], []
    for place in places.draining:
        if place.deployment not in view.workloads or place.deployment in elsewhere:
            continue
        if view.may_be_reached(place) and not moves:
            leaving.append(move.leaving(place, now))
        else:
            drains.append(move.draining(place, now, left_now=view.reached(place)))
    drains = [place for place in drains if now < drained_at(view, place)]
    kept = (*leaving, *drains[len(leaving) - MAX_DRAINING :])
    return replace(places, stable=served, failed=failed, draining=kept)


def _served(view: ServingView, places: Places, served: Place, *, reached: bool) -> Place:
    """The stable version at its step."""
    if makes_room(view, places):
        return move.stopped(served, view.now)
    step = sleeping.step(view, places)
    if step is None:
        return move.stable(served, view.now, reached=reached)
    return move.asleep(served, view.now, step, health.problem(view, served) if step == PlaceStep.WAKING else None)


def _left(view: ServingView, failed: Place | None) -> Place | None:
    """A version that was rolled back: it finishes its requests, then its pods go."""
    if failed is None or failed.step == PlaceStep.GIVEN_UP:
        return failed
    step = PlaceStep.GIVEN_UP
    if failed.deployment in view.workloads:
        if view.may_be_reached(failed):
            step = PlaceStep.LEAVING
        elif failed.step == PlaceStep.LEAVING or view.now < drained_at(view, failed):
            step = PlaceStep.DRAINING
    return move.still_given_up(failed, view.now, step)


def makes_room(view: ServingView, places: Places) -> bool:
    """Whether the stable version's pods end so that those of the candidate can start."""
    return view.spec.rollout.strategy == "Recreate" and places.candidate is not None and places.candidate.shift is None


def _as_seen(view: ServingView, places: Places) -> Places:
    """With the pods that answer, those that leave a cordoned node, and the share of the requests that each version gets."""
    weights = _weights(view, places)

    def seen(place: Place) -> Place:
        weight = weights.get(place.deployment, 0)
        return place.model_copy(update={"weight": weight, "ready_replicas": view.ready(place)})

    def started(place: Place | None) -> Place | None:
        return place and seen(place).model_copy(update={"evacuation": evacuation.of(view, place)})

    return Places(
        stable=started(places.stable),
        candidate=started(places.candidate),
        draining=tuple(seen(place) for place in places.draining),
        failed=seen(places.failed) if places.failed in places.started and places.failed else places.failed,
    )


def _weights(view: ServingView, places: Places) -> Mapping[str, int]:
    """By the names of Deployments. Of routes, those that the gateway has taken; until it takes new ones, as they were before."""
    if view.gateway is not None:
        seen = [routes.weights(route.spec) for route in view.observed.routes]
        if view.routed and all(each == seen[0] for each in seen):
            return seen[0]
        return {place.deployment: place.weight for place in view.status.places or ()}
    target = places.pointed_at
    if view.refusal or target is None:
        target = next((place for place in places if view.reached(place)), None)
    return {target.deployment: 100} if target is not None and target.deployment in places.kept else {}


def deadline(view: ServingView, candidate: Place) -> datetime:
    """When a candidate that starts is late."""
    since = times.parse(candidate.since) or view.now
    return since + timedelta(seconds=view.spec.rollout.progress_deadline_seconds)


def drained_at(view: ServingView, place: Place) -> datetime:
    """When the pods of a version that drains go."""
    since = times.parse(place.since) or view.now
    return since + timedelta(seconds=view.spec.rollout.drain_seconds)


def wake(view: ServingView, places: Places) -> datetime | None:
    """When time alone changes something."""
    ends: list[datetime | None] = []
    ends += (drained_at(view, place) for place in places.started if place.step == PlaceStep.DRAINING)
    if places.candidate is not None and places.candidate.step == PlaceStep.STARTING:
        ends.append(deadline(view, places.candidate))
    if places.candidate is not None:
        ends.append(canary.next_look(places.candidate))
    if places.failed is not None:
        ends.append(times.parse(places.failed.retry_time))
    ends.append(sleeping.wake(view, places))
    ends += (evacuation.deadline(view, place.evacuation) for place in places if place.evacuation is not None)
    # What is over and changed nothing waits for something else than time: a Service that is refused.
    return times.earliest(*(end for end in ends if end is not None and end > view.now))
