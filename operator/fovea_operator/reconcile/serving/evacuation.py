"""Where a version has pods on cordoned nodes: a drain waits until enough pods are ready elsewhere.

Until its deadline: then a drain may evict one of them all the same. For a version with one replica a second pod starts.
Everything follows from what is observed and from `evacuation` in the places of the status.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from fovea_api.v1alpha1.model_deployment_status import Evacuation, EvacuationStep, Place, PlaceStep

from fovea_operator.reconcile.serving import health, sleeping
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.conditions import EventType
from fovea_operator.reconcile.shared.decision import Event
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import ended

_WAITING = frozenset({EvacuationStep.STARTING, EvacuationStep.PODS_STARTING})
_LATE = frozenset({EvacuationStep.LATE, EvacuationStep.PODS_LATE})


def of(view: ServingView, place: Place) -> Evacuation | None:
    """How far a version is whose pods are on cordoned nodes; None where a drain need not wait.

    It begins for a pod that is ready: another one is evicted at once, and loses nothing. It goes on as long as any pod
    of the version is there, so that a pod that is not ready for a moment does not cost the second one.
    """
    known, cordoned = place.evacuation, view.observed.cordoned
    pods = _pods(view, place)
    there = [pod for pod in pods if pod.node in (cordoned or ())]
    # Of several pods a drain may evict one, unless a budget holds them: it holds those that clients reach.
    if cordoned is None or not (_is_single(view) or view.reached(place) or place.shift is not None):
        return None
    if there and (known or any(pod.ready for pod in there)):
        step = _step(view, known, pods)
        return None if step is None else _at(view, known, min(pod.node for pod in there), step)
    if known and _is_single(view) and not there and any(pod.node == known.node for pod in pods):
        ending = _at(view, known, known.node, EvacuationStep.ENDING)
        end = deadline(view, ending)
        return ending if end is not None and view.now < end else None
    return None


def _is_single(view: ServingView) -> bool:
    return view.replicas == 1


def _pods(view: ServingView, place: Place) -> list[PodRecord]:
    return [pod for pod in view.pods(place) if not ended(pod)]


def _step(view: ServingView, known: Evacuation | None, pods: list[PodRecord]) -> EvacuationStep | None:
    """How far it is while a pod is on a cordoned node; None: of several pods enough are ready."""
    single = _is_single(view)
    if sum(pod.ready for pod in pods) > _held(view.replicas):
        # Also where both are on cordoned nodes: a third one follows the first evicted one.
        return EvacuationStep.READY if single else None
    waits = EvacuationStep.STARTING if single else EvacuationStep.PODS_STARTING
    if known is None or known.step not in _WAITING | _LATE:
        return waits
    end = deadline(view, known)
    if end is not None and view.now < end:
        return waits
    return EvacuationStep.LATE if single else EvacuationStep.PODS_LATE


def _at(view: ServingView, known: Evacuation | None, node: str, step: EvacuationStep) -> Evacuation:
    """That step, since now, unless it has been reached already: a scale from one replica to several starts no new wait."""
    since = None if known is None or times.parse(known.since) is None else known.since
    stays = known is not None and any({known.step, step} <= same for same in (_WAITING, _LATE, {step}))
    if known is not None and stays and since is not None:
        return known.model_copy(update={"node": node, "step": step})
    return Evacuation(node=node, step=step, since=times.text(view.now))


def replicas(view: ServingView, place: Place) -> int:
    """How many pods a version is to have now."""
    if place.step == PlaceStep.STOPPED:
        return 0
    if place.step == PlaceStep.IDLE:
        return sleeping.replicas(view, place)
    return view.replicas + (1 if _is_single(view) and place.evacuation is not None else 0)


def min_available(view: ServingView, place: Place) -> int:
    """How many of its pods an eviction must leave.

    Of a single pod none, where no second one would come, because cordoned nodes are not seen. Where pods are late, all
    ready ones but one.
    """
    wanted = view.replicas
    if wanted == 1 and view.observed.cordoned is None:
        return 0
    late = place.evacuation is not None and place.evacuation.step in _LATE
    return min_available_of(wanted, _pods(view, place)) if late else _held(wanted)


def min_available_of(wanted: int, pods: Iterable[PodRecord]) -> int:
    """How many of these pods an eviction must leave if it is never to be held up: all ready ones but one."""
    return min(_held(wanted), max(0, sum(pod.ready for pod in pods) - 1))


def _held(wanted: int) -> int:
    """How many ready pods an eviction must leave, of so many wanted ones, as long as it is held up."""
    return max(1, wanted - 1)


def deadline(view: ServingView, evacuation: Evacuation) -> datetime | None:
    """When time alone changes the step: pods that start are late, a second one that ends goes; None: not by time."""
    seconds = {
        EvacuationStep.STARTING: view.spec.rollout.progress_deadline_seconds,
        EvacuationStep.PODS_STARTING: view.spec.rollout.progress_deadline_seconds,
        EvacuationStep.ENDING: view.settings.second_pod_end_seconds,
    }.get(evacuation.step)
    since = times.parse(evacuation.since) or view.now
    return None if seconds is None else since + timedelta(seconds=seconds)


def message(view: ServingView, place: Place) -> str:
    """What is said of the pods of a version on a cordoned node; empty where a drain need not wait."""
    if place.evacuation is None:
        return ""
    problem = health.problem(view, place)
    why = f": {problem.message}" if problem else ""
    cordoned, budget = f"Node {place.evacuation.node} is cordoned", _of_budget(view, place)
    wanted = view.replicas
    late = f"within {view.spec.rollout.progress_deadline_seconds} s (rollout.progressDeadlineSeconds){why}."
    match place.evacuation.step:
        case EvacuationStep.READY:
            said = f"{cordoned}: a second pod is ready, so one of the two can be evicted."
        case EvacuationStep.ENDING:
            end = f"{view.settings.second_pod_end_seconds:g} s"
            said = f"Node {place.evacuation.node} is not cordoned any more: one of the two pods ends {end} after that."
        case EvacuationStep.LATE:
            said = f"{cordoned}, and no second pod was ready {late}"
            budget = (
                f"{budget or 'A drain may evict the only pod now.'} Once it is evicted, nothing answers until another pod is "
                "ready."
            )
        case EvacuationStep.PODS_LATE:
            said = f"{cordoned}, and not all {wanted} pods were ready {late}"
            budget = budget or "A drain may evict a ready pod now, one at a time."
        case EvacuationStep.PODS_STARTING:
            said = f"{cordoned}: a drain waits until all {wanted} pods are ready{why}."
        case _:
            said = f"{cordoned}: a second pod starts elsewhere before the first is evicted{why}."
    return f"{said} {budget}".rstrip()


def _of_budget(view: ServingView, place: Place) -> str:
    """What is said while the budget is not as it is wanted: it is written after this is decided, and a write may be refused."""
    name, wanted = view.model_deployment.metadata.name, min_available(view, place)
    budget = view.observed.budget
    if place.shift is not None:
        name = place.deployment
        budget = next((each for each in view.observed.candidate_budgets if each.name == name), None)
    known = budget.spec.get("minAvailable") if budget is not None else None
    is_held = view.reached(place) or place.shift is not None
    if known == wanted or not is_held or (known is None and wanted == 0):
        return ""
    if known is None:
        return (
            f"There is no PodDisruptionBudget {name}, so no drain waits. If that stays so, the API server refuses it: see the "
            "operator's log."
        )
    effect = "goes on" if wanted < known else "waits"
    return (
        f"Fovea changes minAvailable of PodDisruptionBudget {name} from {known} to {wanted}, so that a drain {effect}. If it "
        f"stays {known}, the API server refuses the change: see the operator's log."
    )


def events(view: ServingView, places: Iterable[Place]) -> Iterator[Event]:
    """One for each step that an evacuation has reached since the last status."""
    before = {place.deployment: place.evacuation for place in view.status.places or ()}
    for place in places:
        now, was = place.evacuation, before.get(place.deployment)
        if now is not None and (was is None or was.step != now.step):
            type_: EventType = "Warning" if now.step in _LATE else "Normal"
            yield Event(type_, now.step, message(view, place))
