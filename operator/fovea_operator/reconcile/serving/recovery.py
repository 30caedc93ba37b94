"""Versions that answer or are named, and of which the status says nothing: the operator ended before it wrote it, or it was lost."""

from dataclasses import replace

from fovea_api.v1alpha1.model_deployment_status import Place, PlaceStep

from fovea_operator.reconcile.serving import places as move
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.view import ServingView


def known(view: ServingView) -> Places:
    """The places of the status, or, where it has none, those that follow from what is there."""
    return _recovered(view) if view.status.places is None else Places.of(view.status)


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
        asleep = place is not None and view.most_served(place) and view.names_activator and not answers
        if place is None or not (answers or asleep or (view.most_served(place) and workload.name != target)):
            continue
        if asleep:
            found = replace(found, stable=move.asleep(place, view.now, PlaceStep.IDLE))
        elif view.most_served(place):
            found = replace(found, stable=move.stable(place, view.now, reached=view.reached(place)))
        else:
            found = replace(found, draining=(*found.draining, move.draining(place, view.now, left_now=True)))
    return found


def with_what_is_named(view: ServingView, places: Places, target: str) -> Places:
    """With the versions beside the stable one to which requests may go, and of which the status says nothing.

    The operator ended before it wrote it.
    """
    if places.stable is None:
        return places
    known = {place.deployment for place in places}
    found = (view.place_of(workload) for workload in view.observed.workloads if workload.name not in known | {target})
    leaving = [move.leaving(place, view.now) for place in found if place is not None and view.is_named(place)]
    return replace(places, draining=(*places.draining, *leaving)) if leaving else places


def with_what_answers(view: ServingView, places: Places, target: Place) -> Places:
    """A first version that answers clients is served, also where another one is wanted before anybody has seen it answer.

    The status may say nothing of it: the operator ended before it wrote it.
    """
    if places.stable is not None:
        return places
    known, candidate = {place.deployment for place in places}, places.candidate
    unknown = [view.place_of(workload) for workload in view.observed.workloads if workload.name not in known]
    for first in (candidate, *unknown):
        if first is None or first.deployment == target.deployment:
            continue
        if view.most_served(first) and view.ready(first) > 0:
            served = move.stable(first, view.now, reached=view.reached(first))
            return replace(places, candidate=None if first == candidate else candidate, stable=served)
    return places
