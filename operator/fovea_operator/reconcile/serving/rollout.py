"""When a version moves from one place to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import Place, PlaceStep

from fovea_operator.desired import routes
from fovea_operator.reconcile.serving import evacuation, health
from fovea_operator.reconcile.serving import places as move
from fovea_operator.reconcile.serving.health import Problem
from fovea_operator.reconcile.serving.places import MAX_DRAINING, Places
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import platform, times

RETRY_SECONDS = 3600
"""A version that missed its deadline beside a served one is tried again after this time at the earliest."""
RETRY_DEADLINES = 6
"""And after this many deadlines at the earliest: a version that never answers holds its machines for a small part of the time."""


@dataclass(frozen=True)
class Rollout:
    """Where every version stands now."""

    places: Places
    obstacle: Problem | None = None
    """Why the wanted version is not started, or why there is none."""


def advance(view: ServingView) -> Rollout:
    """Where every version stands, by what is seen now and by where it stood."""
    places = _recovered(view) if view.status.places is None else Places.of(view.status)
    wanted = view.wanted()
    if wanted is None:
        rollout = Rollout(replace(places, candidate=None, failed=None), _no_version(view))
    else:
        target = view.target(wanted)
        rollout = _towards(view, _with_what_answers(view, places, target), target)
    return replace(rollout, places=_as_seen(view, _settled(view, rollout.places)))


def _recovered(view: ServingView) -> Places:
    """The places of a status that has none: it was lost, or a release that knew no places wrote it.

    What answers must go on doing so: the version that the Service points at is served, and others finish their
    connections. Its pods may be away for a minute, so it counts whatever they do, unless it is the wanted version: that
    one is started as any candidate.
    """
    found = Places()
    wanted = view.wanted()
    target = view.target(wanted).deployment if wanted is not None else ""
    for workload in view.observed.workloads:
        place = view.place_of(workload)
        answers = workload.available_replicas > 0
        if place is None or not (answers or (view.most_served(place) and workload.name != target)):
            continue
        if view.most_served(place):
            found = replace(found, stable=move.stable(place, view.now, reached=view.reached(place)))
        else:
            found = replace(found, draining=(*found.draining, move.draining(place, view.now, left_now=True)))
    return found


def _with_what_answers(view: ServingView, places: Places, target: Place) -> Places:
    """A first version that answers clients is served, also where another one is wanted before anybody has seen it answer."""
    first = places.candidate
    if places.stable is not None or first is None or target.deployment == first.deployment:
        return places
    if not view.most_served(first) or view.ready(first) == 0:
        return places
    return replace(places, candidate=None, stable=move.stable(first, view.now, reached=view.reached(first)))


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
    others = replace(places, candidate=None, failed=None)
    if places.stable is not None and places.stable.deployment == target.deployment:
        return Rollout(others, cannot_be_made(view, places.stable))
    failed = places.failed
    if failed is not None and failed.deployment == target.deployment and not _is_tried_again(view, failed):
        return Rollout(replace(others, failed=move.still_given_up(failed, view.now)))
    known = places.candidate
    candidate = known if known is not None and known.deployment == target.deployment else target
    if view.available(candidate):
        return Rollout(_switched(view, others, candidate))
    if missing := cannot_be_made(view, candidate):
        return Rollout(others, missing)
    return Rollout(_started(view, others, candidate))


def _switched(view: ServingView, others: Places, candidate: Place) -> Places:
    """The candidate's pods answer: it is served, unless the Service cannot be moved to it."""
    if view.refusal and not view.reached(candidate):
        # What was refused may be the Service: clients still reach the old version.
        refused = Problem(ServingReason.POD_REFUSED, view.refusal)
        return replace(others, candidate=move.switching(candidate, view.now, refused))
    if others.stable is not None and view.gateway is not None and not view.pinned(candidate):
        # A request that goes to a version which the gateway does not know yet would fail.
        said = Problem(ServingReason.ROUTE_REFUSED, view.route_refusal) if view.route_refusal else None
        return replace(others, candidate=move.switching(candidate, view.now, said))
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
        return replace(others, failed=_given_up(view, waiting, problem))
    if view.now < deadline(view, waiting):
        refused = Problem(ServingReason.POD_REFUSED, view.refusal) if view.refusal else problem
        return replace(others, candidate=move.starting(waiting, view.now, refused))
    late = _too_late(view, candidate, problem)
    if others.stable is not None and not answers:
        return replace(others, failed=_given_up(view, waiting, late))
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


def _is_tried_again(view: ServingView, failed: Place) -> bool:
    """Whether a version that was given up, and is still wanted, gets another try."""
    # Not the generation: a write of an autoscaler to /scale says nothing about the version.
    if failed.deadline_seconds != view.spec.rollout.progress_deadline_seconds:
        return True
    if failed.retry_time is None:
        return False
    retry_at = times.parse(failed.retry_time)
    return retry_at is None or view.now >= retry_at


def _given_up(view: ServingView, candidate: Place, problem: Problem) -> Place:
    seconds = view.spec.rollout.progress_deadline_seconds
    pause = timedelta(seconds=max(RETRY_SECONDS, RETRY_DEADLINES * seconds))
    retry_at = None if problem.final else view.now + pause
    return move.given_up(candidate, view.now, problem, deadline_seconds=seconds, retry_at=retry_at)


def _too_late(view: ServingView, candidate: Place, problem: Problem | None) -> Problem:
    seconds = view.spec.rollout.progress_deadline_seconds
    known = problem.message if problem else _refusal(view, candidate)
    why = f": {known.rstrip('.')}" if known else ""
    message = f"its pods were not ready within {seconds} s (rollout.progressDeadlineSeconds){why}"
    return Problem(ServingReason.DEADLINE_EXCEEDED, message)


def _refusal(view: ServingView, candidate: Place) -> str:
    """What the API server said against the candidate's Deployment now or, where it is not asked any more, the last time."""
    if view.refusal or candidate.reason != ServingReason.POD_REFUSED:
        return view.refusal
    return candidate.message or ""


def _settled(view: ServingView, places: Places) -> Places:
    """With the steps that follow from where the Service points, and without versions that have drained, are gone, or serve again."""
    now = view.now
    # The Service is written before the status, so only what was refused is not as it is wanted. A gateway says when it has
    # taken a route.
    moves = places.pointed_at is not None and not view.refusal and view.gateway is None
    served = places.stable
    if served is not None:
        stays = served.step == PlaceStep.SERVING and view.chosen(served) and not view.route_refusal
        served = move.stable(served, now, reached=moves or stays or view.reached(served))
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
    return replace(places, stable=served, draining=(*leaving, *drains[len(leaving) - MAX_DRAINING :]))


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
        failed=places.failed,
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
    ends += (drained_at(view, place) for place in places.draining if place.step == PlaceStep.DRAINING)
    if places.candidate is not None and places.candidate.step == PlaceStep.STARTING:
        ends.append(deadline(view, places.candidate))
    if places.failed is not None:
        ends.append(times.parse(places.failed.retry_time))
    ends += (evacuation.deadline(view, place.evacuation) for place in places if place.evacuation is not None)
    # What is over and changed nothing waits for something else than time: a Service that is refused.
    return times.earliest(*(end for end in ends if end is not None and end > view.now))
