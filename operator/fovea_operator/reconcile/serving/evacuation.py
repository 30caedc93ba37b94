"""Where the only pod of a version is on a cordoned node: a second pod starts elsewhere, and a drain waits for it.

Until its deadline: then a drain may evict the pod all the same. Everything follows from what is observed and from
`evacuation` in the places of the status.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from fovea_api.v1alpha1.model_deployment_status import Evacuation, EvacuationStep, Place

from fovea_operator.reconcile.serving import health
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.conditions import EventType
from fovea_operator.reconcile.shared.decision import Event
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import ended

END_SECONDS = 120
"""A removed node looks like one that was uncordoned, and Kubernetes deletes its pods within a minute.

A Deployment that is scaled down before that deletes the newer pod, the one that is to stay.
"""


def of(view: ServingView, place: Place) -> Evacuation | None:
    """How far a version's second pod is; None where it needs none.

    It begins for a pod that is ready: another one is evicted at once, and loses nothing. It goes on as long as any pod
    of the version is there, so that a pod that is not ready for a moment does not cost the second one.
    """
    known, cordoned = place.evacuation, view.observed.cordoned
    pods = [pod for pod in view.pods(place) if not ended(pod)]
    there = [pod for pod in pods if pod.node in (cordoned or ())]
    if view.spec.scaling.min_replicas > 1 or cordoned is None:
        return None
    if there and (known or any(pod.ready for pod in there)):
        return _at(view, known, min(pod.node for pod in there), _step(view, known, pods))
    if known and not there and any(pod.node == known.node for pod in pods):
        ending = _at(view, known, known.node, EvacuationStep.ENDING)
        end = deadline(view, ending)
        return ending if end is not None and view.now < end else None
    return None


def _step(view: ServingView, known: Evacuation | None, pods: list[PodRecord]) -> EvacuationStep:
    """How far the second pod is while the first is on a cordoned node."""
    if sum(pod.ready for pod in pods) > 1:
        return EvacuationStep.READY  # also where both are on cordoned nodes: a third one follows the first evicted one
    if known is None or known.step not in (EvacuationStep.STARTING, EvacuationStep.LATE):
        return EvacuationStep.STARTING
    end = deadline(view, known)
    return EvacuationStep.STARTING if end is not None and view.now < end else EvacuationStep.LATE


def _at(view: ServingView, known: Evacuation | None, node: str, step: EvacuationStep) -> Evacuation:
    """That step, since now, unless it has been reached already."""
    if known is not None and known.step == step and times.parse(known.since) is not None:
        return known.model_copy(update={"node": node})
    return Evacuation(node=node, step=step, since=times.text(view.now))


def replicas(view: ServingView, place: Place) -> int:
    """How many pods a version is to have now."""
    return view.spec.scaling.min_replicas + (1 if place.evacuation is not None else 0)


def min_available(view: ServingView, place: Place) -> int:
    """How many of its pods an eviction must leave.

    Of a single pod none, where no second one would come, because cordoned nodes are not seen, or where it is late.
    """
    if view.spec.scaling.min_replicas > 1:
        return view.spec.scaling.min_replicas - 1
    late = place.evacuation is not None and place.evacuation.step == EvacuationStep.LATE
    return 0 if late or view.observed.cordoned is None else 1


def deadline(view: ServingView, evacuation: Evacuation) -> datetime | None:
    """When time alone changes the step: a second pod that starts is late, one that ends goes; None: not by time."""
    seconds = {
        EvacuationStep.STARTING: view.spec.rollout.progress_deadline_seconds,
        EvacuationStep.ENDING: END_SECONDS,
    }.get(evacuation.step)
    since = times.parse(evacuation.since) or view.now
    return None if seconds is None else since + timedelta(seconds=seconds)


def message(view: ServingView, place: Place) -> str:
    """What is said of a version's second pod; empty where it needs none."""
    if place.evacuation is None:
        return ""
    node, seconds = place.evacuation.node, view.spec.rollout.progress_deadline_seconds
    problem = health.problem(view, place)
    why = f": {problem.message}" if problem else ""
    match place.evacuation.step:
        case EvacuationStep.READY:
            return f"Node {node} is cordoned: a second pod is ready, so one of the two can be evicted."
        case EvacuationStep.ENDING:
            return f"Node {node} is not cordoned any more: one of the two pods ends {END_SECONDS} s after that."
        case EvacuationStep.LATE:
            return (
                f"Node {node} is cordoned, and no second pod was ready within {seconds} s "
                f"(rollout.progressDeadlineSeconds){why}. A drain may evict the only pod now; then nothing answers until "
                "another pod is ready."
            )
        case _:
            return f"Node {node} is cordoned: a second pod starts elsewhere before the first is evicted{why}."


def events(view: ServingView, places: Iterable[Place]) -> Iterator[Event]:
    """One for each step that an evacuation has reached since the last status."""
    before = {place.deployment: place.evacuation for place in view.status.places or ()}
    for place in places:
        now, was = place.evacuation, before.get(place.deployment)
        if now is not None and (was is None or was.step != now.step):
            type_: EventType = "Warning" if now.step == EvacuationStep.LATE else "Normal"
            yield Event(type_, now.step, message(view, place))
