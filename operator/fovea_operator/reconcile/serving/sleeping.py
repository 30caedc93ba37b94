"""A model without requests has no pod: the requests go to the activator first, then its pods end; back, the pods start first.

No request meets a version without a pod. What the gateway has taken decides, not what was written.
"""

from datetime import datetime, timedelta

from fovea_api.contract import text
from fovea_api.v1alpha1.model_deployment_status import ModelDeploymentStatus, Place, PlaceStep
from fovea_api.v1alpha1.scaling import Scale

from fovea_operator.desired import routes
from fovea_operator.reconcile.serving import health, scaling
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.scaling import SLEEPS
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import times

SETTLE = timedelta(seconds=10)
"""Pods stay for so long after the gateway has taken the way to the activator: a proxy may go by its old routes for a moment."""
_UNKNOWN = timedelta(seconds=120)
"""And for so long where nobody knows whether requests are under way to them: no reading is from after that."""
_RECOGNIZED = timedelta(seconds=5)
"""A ready pod that is older than the request which woke the model may be about to end: so long later it would be ending."""
_MAX_UNAVAILABLE = 1024


def step(view: ServingView, places: Places) -> PlaceStep | None:
    """IDLE or WAKING for the stable version; None: its pods serve."""
    stable = places.stable
    if stable is None:
        return None
    load, held = view.observed.load, view.observed.held is not None
    awake = held or places.candidate is not None or not view.sleeps or view.observed.activator_answers is False
    if stable.step not in SLEEPS:
        return PlaceStep.IDLE if not awake and _may_rest(view, stable) else None
    if stable.step == PlaceStep.IDLE and not awake and not scaling.asked_since(stable, load):
        return PlaceStep.IDLE
    if _answers(view, stable):
        return None
    waits_in_vain = stable.step == PlaceStep.WAKING and not awake and view.now >= _forsaken_at(view, stable)
    return PlaceStep.IDLE if waits_in_vain else PlaceStep.WAKING


def _may_rest(view: ServingView, stable: Place) -> bool:
    """Whether it is known that the version has had no request for long, and that the next one would be taken by the activator."""
    # Requests that the activator passes on are not counted: a version that has just come is not idle either.
    since = (times.parse(stable.since) or view.now) + timedelta(seconds=view.spec.scaling.idle)
    reached = view.reached(stable) and not view.selects_pods
    known = _is_known(view) and view.observed.activator_answers is True
    return view.now >= since and reached and known and scaling.is_idle(view.spec.scaling, view.observed.load)


def _is_known(view: ServingView) -> bool:
    """Whether the gateway knows the activator: before that no request may be sent there."""
    activator = view.gateway and view.gateway.activator
    return (
        activator is not None
        and view.past_activator
        and all(activator.name in routes.backends(route.spec) for route in view.observed.routes)
    )


def _answers(view: ServingView, stable: Place) -> bool:
    """Whether a pod answers that stays. A Deployment's status may still count one that is ending."""
    workload = view.workloads.get(stable.deployment)
    if workload is None or (stable.step == PlaceStep.IDLE and workload.replicas == 0):
        return False
    since = times.parse(stable.since) or view.now
    is_late = stable.step == PlaceStep.IDLE or view.now >= since + _RECOGNIZED
    return any(pod.ready and (is_late or pod.created >= since) for pod in view.pods(stable))


def _forsaken_at(view: ServingView, stable: Place) -> datetime:
    """When a start that nobody waits for is given up: not before it could have been done."""
    wanted = view.spec
    seconds = max(wanted.scaling.idle, wanted.rollout.progress_deadline_seconds)
    return (times.parse(stable.since) or view.now) + timedelta(seconds=seconds)


def replicas(view: ServingView, stable: Place) -> int:
    """Pods of a version that is idle: those it has, until no request can come to them."""
    workload = view.workloads.get(stable.deployment)
    left = 0 if workload is None else workload.replicas
    end = times.parse(view.status.scaling.end_time) if view.status.scaling is not None else None
    if end is None or view.now < end or not view.through_activator:
        return left
    load = view.observed.load
    if load is None or load.trouble or not load.samples or load.samples[-1].time < end:
        return 0 if view.now >= end + _UNKNOWN else left
    return left if load.samples[-1].active else 0


def scale(view: ServingView, places: Places) -> Scale | None:
    """The size, and what is known of the way to no pod and back."""
    size, was, stable = view.scale, view.status.stable, places.stable
    if size is None or stable is None:
        return size
    if was is not None and was.step == PlaceStep.WAKING and stable.step not in SLEEPS:
        held = view.observed.held
        begun = held.since if held is not None else times.parse(was.since) or view.now
        size = size.model_copy(update={"cold_start_seconds": round((view.now - begun).total_seconds(), 1)})
    end = None
    if stable.step == PlaceStep.IDLE and view.through_activator:
        end = size.end_time or times.text(view.now + SETTLE)
    said = _unavailable(view, stable)
    return size.model_copy(update={"end_time": end, "unavailable": text.cut(said, _MAX_UNAVAILABLE) if said else None})


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


def is_late(view: ServingView, stable: Place) -> bool:
    """Whether a version that starts for requests cannot start, or has not in time."""
    return bool(_unavailable(view, stable))


def has_waiting(view: ServingView, stable: Place) -> bool:
    """Whether requests wait for a version that starts for them, or for the answers of its first pod."""
    return (stable.step in SLEEPS or view.observed.held is not None) and not is_late(view, stable)


def late_at(view: ServingView, stable: Place) -> datetime:
    """When a version that starts for requests is late."""
    since = times.parse(stable.since) or view.now
    return since + timedelta(seconds=view.spec.rollout.progress_deadline_seconds)


def wake(view: ServingView, places: Places) -> datetime | None:
    """When time alone changes something."""
    stable, size = places.stable, view.status.scaling
    if stable is None or stable.step not in SLEEPS:
        return None
    if stable.step == PlaceStep.IDLE:
        end = times.parse(size.end_time) if size is not None else None
        return view.now + SETTLE if end is None else end if end > view.now else end + _UNKNOWN
    since = times.parse(stable.since) or view.now
    return times.earliest(
        *(each for each in (since + _RECOGNIZED, late_at(view, stable), _forsaken_at(view, stable)) if each > view.now)
    )


def in_vain(status: ModelDeploymentStatus, version: str) -> str:
    """Why requests that wait for the version with that Service are to wait no longer; empty while they may get an answer."""
    stable, candidate = status.stable, status.candidate
    if stable is not None and stable.deployment == version and stable.step != PlaceStep.STOPPED:
        return (status.scaling.unavailable if status.scaling is not None else None) or ""
    if stable is None or (candidate is not None and candidate.deployment == version):
        return ""
    return f"the version for which this request waited is not served any more: version {stable.version} is. Ask again"
