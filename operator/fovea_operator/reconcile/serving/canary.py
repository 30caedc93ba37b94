"""The steps by which a candidate gets the requests of the stable version, and goes back when it is worse.

A step begins when the gateway has taken its weight. It ends when its time is over and the candidate's requests say nothing
against it, or at once when they do. Everything follows from the spec, the candidate's place, what is counted, and the time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from fovea_api.contract import text
from fovea_api.v1alpha1 import model_deployment_status as status
from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import MAX_PLACE_MESSAGE, Place, PlaceRole, PlaceStep, Shift
from fovea_api.v1alpha1.rollout import CANARY_BAKE_SECONDS, CANARY_STEPS, Analysis, Rollout

from fovea_operator.reconcile.serving import health, mirror
from fovea_operator.reconcile.serving import places as move
from fovea_operator.reconcile.serving.analysis import judge
from fovea_operator.reconcile.serving.health import Problem
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.scaling import SLEEPS
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.conditions import EventType
from fovea_operator.reconcile.shared.decision import Event
from fovea_operator.reconcile.shared.traffic import NO_REQUESTS, NOT_COMPARED, Compared, Requests, Traffic

ABORTED = Problem(ServingReason.ABORTED, "rollout.abortedVersion names it")
SHOWN_SECONDS = 5
"""Counts of requests, and sentences with such counts, reach the status this often, and whenever a candidate's step changes."""
_NUMBER = re.compile(r"\d[\d.]*(e[-+]?\d+)?")


class Step(NamedTuple):
    """A percentage of the requests, and the least time for it."""

    weight: int
    seconds: int


@dataclass(frozen=True)
class Advanced:
    """How far a candidate is: at a step, over all of them, or, with a problem, back."""

    shift: Shift | None = None
    problem: Problem | None = None
    restarts: bool = False
    """Whether none of its pods answers for now: it has no requests until they do, and begins with the first step then."""


def plan(rollout: Rollout) -> list[Step]:
    """The steps at a gateway. The last one may be the time in which the candidate has all requests, but is not stable yet."""
    is_canary = rollout.strategy == "Canary"
    steps = [Step(step.weight, step.hold_seconds) for step in rollout.steps or CANARY_STEPS] if is_canary else []
    bake = rollout.bake_seconds if rollout.bake_seconds is not None else CANARY_BAKE_SECONDS if is_canary else 0
    return [*steps, *([Step(100, bake)] if bake else [])]


def is_judged(rollout: Rollout) -> bool:
    """Whether a candidate has a step in which requests say how good it is."""
    return bool(plan(rollout)) and (rollout.analysis or Analysis()).min_requests > 0


def advance(view: ServingView, stable: Place, candidate: Place) -> Advanced:
    """The next state of a candidate whose pods answered and which the gateway knows."""
    rollout = view.spec.rollout
    steps = plan(rollout)
    shift, is_promoted = candidate.shift, rollout.promoted_version == candidate.version
    if shift is not None and rollout.aborted_version == candidate.version:
        return _back(view, stable, candidate, shift, ABORTED)
    if shift is not None and view.ready(candidate) == 0:
        ended = None if is_promoted else health.server_ended(view, candidate)
        return Advanced(problem=ended, restarts=ended is None)
    if shift is not None and not is_promoted and (ended := health.server_ended(view, candidate)):
        return _back(view, stable, candidate, shift, ended)
    if not steps or is_promoted:
        waits = shift is not None and not view.available(candidate)
        return Advanced(shift.model_copy(update={"waits_for": _pods(view, candidate)}) if shift and waits else None)
    if shift is None:
        return Advanced(_at(view, steps, 1, None))
    number = _step_of(steps, shift)
    if rollout.paused:
        steps[number - 1] = steps[number - 1]._replace(weight=min(steps[number - 1].weight, shift.weight))
    since = times.parse(shift.since) if steps[number - 1].weight == shift.weight else None
    traffic = view.observed.traffic
    alone = is_alone(view, stable, candidate)
    if since is None:
        if not view.has_taken(move.shares(stable, candidate, steps[number - 1].weight, alone=alone)):
            return Advanced(_at(view, steps, number, None))
        since, traffic = view.now, traffic and Traffic()
    share = 100 if alone else steps[number - 1].weight
    verdict = judge(rollout.analysis or Analysis(), candidate, stable, traffic, share)
    if verdict.failed is not None:
        return _back(view, stable, candidate, _at(view, steps, number, since), verdict.failed)
    waits_for = mirror.waits_for(view, stable, candidate, verdict.waits_for)
    if not view.available(candidate):
        waits_for = _pods(view, candidate)
    held = view.now >= since + timedelta(seconds=steps[number - 1].seconds)
    if not held or rollout.paused or waits_for:
        return Advanced(_at(view, steps, number, since, waits_for))
    return Advanced(_at(view, steps, number + 1, None)) if number < len(steps) else Advanced()


def _step_of(steps: list[Step], shift: Shift) -> int:
    """The number of the step at which a candidate is: the spec may have other steps by now.

    Where that number has all requests now, or no step has it, the candidate goes on with the last step of its weight or less.
    """
    if shift.step <= len(steps) and steps[shift.step - 1].weight < 100:
        return shift.step
    fitting = [number for number, step in enumerate(steps, 1) if step.weight <= shift.weight]
    return fitting[-1] if fitting else 1


def _back(view: ServingView, stable: Place, candidate: Place, shift: Shift, problem: Problem) -> Advanced:
    """A candidate that failed goes back, unless nobody is there to go back to: it answers some requests, the other one none."""
    if not is_alone(view, stable, candidate):
        return Advanced(problem=problem)
    waits_for = f"a pod of version {stable.version} that answers, to send the requests back to: {problem.message}"
    return Advanced(shift.model_copy(update={"waits_for": text.cut(waits_for, MAX_PLACE_MESSAGE)}))


def is_alone(view: ServingView, stable: Place, candidate: Place) -> bool:
    """Whether the candidate answers and the stable version, which has no rest, does not: requests to it would fail."""
    return stable.step not in SLEEPS and view.ready(stable) == 0 < view.ready(candidate)


def _pods(view: ServingView, candidate: Place) -> str:
    ready, wanted = view.ready(candidate), view.replicas
    return f"all pods of version {candidate.version}: {ready} of {wanted} answer"


def _at(view: ServingView, steps: list[Step], number: int, since: datetime | None, waits_for: str = "") -> Shift:
    weight, seconds = steps[number - 1]
    return Shift(
        step=number,
        steps=len(steps),
        weight=weight,
        since=None if since is None else times.text(since),
        next_weight=steps[number].weight if number < len(steps) else None,
        next_time=None if since is None or view.spec.rollout.paused else times.text(since + timedelta(seconds=seconds)),
        waits_for=text.cut(waits_for, MAX_PLACE_MESSAGE)
        or (f"Gateway {view.settings.gateway} to take the weights" if since is None else None),
    )


def placed(view: ServingView, others: Places, candidate: Place, shift: Shift) -> Places:
    """Both versions at that step, with what is counted of their requests."""
    stable, was = others.stable, candidate.shift
    if was is None:
        stable = stable and stable.model_copy(update={"traffic": _before(view, stable, candidate)})
        candidate = candidate.model_copy(update={"traffic": None})
    # Of another weight than the one that was counted for, nothing is known yet.
    fresh = was is not None and was.since is not None and was.since == shift.since
    if was is not None and fresh and _has_same_words(was, shift) and not _is_due(view, candidate.traffic):
        shift = shift.model_copy(update={"waits_for": was.waits_for})
    says_more = was is not None and was.waits_for != shift.waits_for
    return replace(
        others,
        stable=stable and with_traffic(view, stable, counts=fresh),
        candidate=with_traffic(view, move.shifting(candidate, view.now, shift), counts=fresh, renews=says_more),
    )


def _before(view: ServingView, stable: Place, candidate: Place) -> status.Traffic | None:
    """What is counted of the stable version until the candidate gets requests: it may have none any more from then.

    What was counted in a rollout before this one says nothing about it.
    """
    counted = view.observed.traffic
    asked = counted.before.get(stable.deployment, NO_REQUESTS) if counted is not None else NO_REQUESTS
    if candidate.interruptions and asked.total < (view.spec.rollout.analysis or Analysis()).min_requests:
        return stable.traffic
    return _shown(asked, NOT_COMPARED, view.now) if asked.total else None


def _has_same_words(was: Shift, shift: Shift) -> bool:
    """Whether a step waits for the same, apart from the numbers in it."""
    said, says = (_NUMBER.sub("#", each.waits_for or "") for each in (was, shift))
    return said == says


def _is_due(view: ServingView, known: status.Traffic | None) -> bool:
    """Whether a count was shown long enough for another one."""
    shown = times.parse(known.time) if known is not None else None
    return shown is None or view.now >= shown + timedelta(seconds=SHOWN_SECONDS)


def with_traffic(view: ServingView, place: Place, *, counts: bool, renews: bool = False) -> Place:
    """A version with the count of its requests.

    An old count stays until there are enough new requests to compare with, and where it is newer than a few seconds. `renews`: it
    gets the present time, also if it is the same.
    """
    counted = view.observed.traffic
    if not counts or counted is None:
        return place
    asked = counted.whole.get(place.deployment, NO_REQUESTS)
    known = place.traffic
    least = (view.spec.rollout.analysis or Analysis()).min_requests
    compared = counted.compared if place.role == PlaceRole.CANDIDATE else NOT_COMPARED
    if known is not None and asked.total < min(least, known.requests) and compared.total < least:
        return place
    if not _is_due(view, known):
        return place
    if not (asked.total or compared.total):
        return place
    fresh = _shown(asked, compared, view.now)
    is_same = known is not None and fresh == known.model_copy(update={"time": fresh.time})
    return place if is_same and not renews else place.model_copy(update={"traffic": fresh})


def _shown(asked: Requests, compared: Compared, now: datetime) -> status.Traffic:
    p50, p99 = asked.quantile(0.5), asked.quantile(0.99)
    return status.Traffic(
        time=times.text(now),
        requests=asked.total,
        errors=asked.failed,
        error_ratio=round(asked.error_ratio, 5),
        p50_milliseconds=None if p50 is None else round(p50, 1),
        p99_milliseconds=None if p99 is None else round(p99, 1),
        compared=compared.total or None,
        drift=round(compared.mean, 5) if compared.total else None,
    )


def next_look(candidate: Place) -> datetime | None:
    """When time alone ends a candidate's step."""
    shift = candidate.shift
    return times.parse(shift.next_time) if shift is not None else None


def message(view: ServingView, candidate: Place, shift: Shift) -> tuple[ServingReason, str]:
    """What is said of a candidate that gets requests: the reason and the sentences. What it waits for is said when its time is over."""
    baking = candidate.step == PlaceStep.BAKING
    share = "all requests" if shift.weight == 100 else f"{shift.weight} % of the requests"
    step = f"Version {candidate.version} gets {share} (step {shift.step} of {shift.steps})"
    then = "it becomes the stable version" if shift.next_weight is None else f"it gets {shift.next_weight} %"
    if shift.next_weight == 100:
        then = "it gets all"
    if view.spec.rollout.paused:
        return ServingReason.PAUSED, f"{step}. The rollout is paused (rollout.paused)."
    if shift.since is None and view.route_refusal:
        refused = f"Gateway {view.settings.gateway} does not take a route of this model: {view.route_refusal}."
        return ServingReason.ROUTE_REFUSED, refused
    if shift.since is None:
        return ServingReason.ROUTE_PENDING, f"{step} as soon as Gateway {view.settings.gateway} takes the weights."
    is_over = (times.parse(shift.next_time) or view.now) <= view.now
    if shift.waits_for and is_over:
        return ServingReason.WAITING, f"{step}. Before {then}, the rollout waits for {shift.waits_for}."
    return (ServingReason.BAKING if baking else ServingReason.SHIFTING), f"{step}. At {shift.next_time}, {then}."


def events(view: ServingView, places: Places) -> Iterator[Event]:
    """One for each step that a candidate begins, with the numbers of the step before."""
    candidate = places.candidate
    if candidate is None or candidate.shift is None:
        return
    was = view.status.candidate
    before = was.shift if was is not None and was.deployment == candidate.deployment else None
    if before is not None and before.step == candidate.shift.step:
        return
    share = "all requests" if candidate.shift.weight == 100 else f"{candidate.shift.weight} % of the requests"
    said = f"Version {candidate.version} gets {share} (step {candidate.shift.step} of {candidate.shift.steps})."
    numbers = " ".join(_numbers(view, before, (candidate, places.stable)))
    type_: EventType = "Normal"
    yield Event(type_, ServingReason.SHIFTING, f"{said} {numbers}".rstrip())


def _numbers(view: ServingView, before: Shift | None, placed: tuple[Place | None, ...]) -> Iterator[str]:
    counted = view.observed.traffic
    for place in placed:
        if before is None or counted is None or place is None:
            continue
        asked = counted.whole.get(place.deployment, NO_REQUESTS)
        yield f"At {before.weight} %, version {place.version} had {_summary(asked)}."


def _summary(asked: Requests) -> str:
    p99 = asked.quantile(0.99)
    latency = "" if p99 is None else f", 99th percentile {p99:.1f} ms"
    return f"{asked.total} requests, {asked.failed} failed{latency}"
