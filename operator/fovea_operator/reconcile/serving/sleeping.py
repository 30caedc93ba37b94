"""A model without requests has no pod: the requests go to the activator first, then its pods end; back, the pods start first.

No request meets a version without a pod. What the gateway has taken decides, not what was written.
"""

from datetime import datetime, timedelta

from fovea_api.contract import text
from fovea_api.v1alpha1.model_deployment_status import Place, PlaceStep
from fovea_api.v1alpha1.scaling import Scale

from fovea_operator.desired import routes
from fovea_operator.reconcile.serving import health, scaling
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.scaling import SLEEPS
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import times

SETTLE = timedelta(seconds=10)
"""Pods stay for so long after the version is idle: a proxy may go by its old routes for a moment."""
_MAX_UNAVAILABLE = 1024


def step(view: ServingView, places: Places) -> PlaceStep | None:
    """IDLE or WAKING for the stable version; None: its pods serve."""
    stable = places.stable
    if stable is None:
        return None
    load, held = view.observed.load, view.observed.held is not None
    awake = held or places.candidate is not None or not view.sleeps
    if stable.step not in SLEEPS:
        # Requests that the activator passes on are not counted: a version that has just come is not idle either.
        served_long = view.now >= (times.parse(stable.since) or view.now) + timedelta(seconds=view.spec.scaling.idle)
        rests = not awake and served_long and view.reached(stable) and _is_known(view)
        return PlaceStep.IDLE if rests and scaling.is_idle(view.spec.scaling, load, view.now) else None
    if stable.step == PlaceStep.IDLE and not awake and not scaling.asked_since(stable, load):
        return PlaceStep.IDLE
    if view.ready(stable) > 0:
        return None
    waits_in_vain = stable.step == PlaceStep.WAKING and not awake and view.now >= _forsaken_at(view, stable)
    return PlaceStep.IDLE if waits_in_vain else PlaceStep.WAKING


def _is_known(view: ServingView) -> bool:
    """Whether the gateway knows the activator: before that no request may be sent there."""
    activator = view.gateway and view.gateway.activator
    return (
        activator is not None
        and view.past_activator
        and all(activator.name in routes.backends(route.spec) for route in view.observed.routes)
    )


def _forsaken_at(view: ServingView, stable: Place) -> datetime:
    return (times.parse(stable.since) or view.now) + timedelta(seconds=view.spec.scaling.idle)


def replicas(view: ServingView, stable: Place) -> int:
    """Pods of a version that is idle: those it has, until no request can come to them."""
    workload = view.workloads.get(stable.deployment)
    left = 0 if workload is None else workload.replicas
    since, load = times.parse(stable.since) or view.now, view.observed.load
    busy = load is not None and any(sample.active for sample in load.samples[-1:])
    return 0 if view.through_activator and view.now >= since + SETTLE and not busy else left


def scale(view: ServingView, places: Places) -> Scale | None:
    """The size, and what is known of the start from no pod."""
    size, was, stable = view.scale, view.status.stable, places.stable
    if size is None or stable is None:
        return size
    if was is not None and was.step == PlaceStep.WAKING and stable.step not in SLEEPS:
        held = view.observed.held
        begun = held.since if held is not None else times.parse(was.since) or view.now
        size = size.model_copy(update={"cold_start_seconds": round((view.now - begun).total_seconds(), 1)})
    said = _unavailable(view, stable)
    return size.model_copy(update={"unavailable": text.cut(said, _MAX_UNAVAILABLE) if said else None})


def _unavailable(view: ServingView, stable: Place) -> str:
    """What requests are answered that wait for a version which cannot start; empty while it may."""
    if stable.step != PlaceStep.WAKING:
        return ""
    problem = health.problem(view, stable)
    why = f": {problem.message}" if problem is not None else ""
    if problem is not None and problem.final:
        return f"version {stable.version} of model {view.spec.model} cannot start{why}"
    if view.now >= late_at(view, stable):
        seconds = view.spec.rollout.progress_deadline_seconds
        return f"version {stable.version} of model {view.spec.model} was not ready within {seconds} s{why}"
    return ""


def late_at(view: ServingView, stable: Place) -> datetime:
    """When a version that starts for requests is late."""
    since = times.parse(stable.since) or view.now
    return since + timedelta(seconds=view.spec.rollout.progress_deadline_seconds)


def wake(view: ServingView, places: Places) -> datetime | None:
    """When time alone changes something."""
    stable = places.stable
    if stable is None or stable.step not in SLEEPS:
        return None
    if stable.step == PlaceStep.IDLE:
        return (times.parse(stable.since) or view.now) + SETTLE
    return times.earliest(late_at(view, stable), _forsaken_at(view, stable))
