"""The way of a version: candidate -> stable -> draining -> gone."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fovea_api.contract import labels
from fovea_api.v1alpha1.conditions import ServingCondition, ServingReason
from fovea_api.v1alpha1.model_deployment import FailedVersion, VersionStatus

from fovea_operator.reconcile.serving import health
from fovea_operator.reconcile.serving.health import Problem
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import conditions, platform, times

MAX_DRAINING = 16
REFUSED = "The API server refuses a Deployment or Service, it is tried again: "
RETRY_SECONDS = 3600
"""A version that missed its deadline beside a served one is tried again after this time at the earliest."""
RETRY_DEADLINES = 6
"""And after so many deadlines: what does not come up holds its machines for a small part of the time only."""
_REASONS = frozenset(reason.value for reason in ServingReason) - {ServingReason.INTERNAL_ERROR.value}


@dataclass(frozen=True)
class Places:
    """Which version stands where.

    `problem`: what is wrong with the candidate (a clause), or why there is none, it was given up or it is late (a sentence).
    """

    stable: VersionStatus | None = None
    candidate: VersionStatus | None = None
    draining: tuple[VersionStatus, ...] = ()
    failed: FailedVersion | None = None
    problem: Problem | None = None

    @property
    def kept(self) -> frozenset[str]:
        """Names of the Deployments that stay."""
        placed = (self.stable, self.candidate, *self.draining)
        return frozenset(place.deployment for place in placed if place is not None)


def advance(view: ServingView) -> Places:
    """Where every version stands now."""
    places = Places(stable=_stable(view), draining=tuple(view.status.draining or ()))
    wanted = view.wanted()
    if wanted is None:
        places = replace(places, problem=_no_version(view))
    else:
        places = _towards(view, places, view.place(wanted))
    return replace(places, draining=_still_draining(view, places))


def _stable(view: ServingView) -> VersionStatus | None:
    """The status's word; without one, the version that the Service points at: a lost status must not stop a model."""
    never_said = view.status.stable is None and view.status.observed_generation is None
    if not never_said or view.observed.service is None:
        return view.status.stable
    selector = view.observed.service.selector
    number, revision = selector.get(labels.VERSION, ""), selector.get(labels.REVISION, "")
    for workload in view.observed.workloads:
        has = (workload.labels.get(labels.VERSION), workload.labels.get(labels.REVISION))
        if has == (number, revision) and number.isascii() and number.isdigit() and workload.available_replicas > 0:
            version = view.version(int(number))
            digest = version.spec.digest if version else ""
            since = times.text(view.now)
            return VersionStatus(version=int(number), digest=digest, deployment=workload.name, since=since)
    return None


def _no_version(view: ServingView) -> Problem:
    model = view.spec.model
    if isinstance(view.spec.version, int) and view.version(view.spec.version) is not None:
        what = (
            f"Version {view.spec.version} of model {model} is no SavedModel (spec.format: Other) and cannot be served: "
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


def _towards(view: ServingView, places: Places, target: VersionStatus) -> Places:
    if places.stable is not None and places.stable.deployment == target.deployment:
        return replace(places, problem=cannot_be_made(view, places.stable))
    given_up = _given_up(view, target)
    if given_up is not None:
        return replace(places, failed=view.status.failed, problem=given_up)
    known = view.status.candidate
    candidate = known if known is not None and known.deployment == target.deployment else target
    if view.available(candidate):
        # What was refused may be the Service: then the old version is still the one that clients reach. The new one
        # answers, so its deadline is met.
        return replace(places, candidate=candidate) if view.observed.refused else _switch(view, places, candidate)
    if missing := cannot_be_made(view, candidate):
        return replace(places, problem=missing)
    problem = health.problem(view, candidate)
    if problem is not None and problem.final:
        return _give_up(view, places, candidate, problem)
    if view.now < deadline(view, candidate):
        return replace(places, candidate=candidate, problem=problem)
    late = _too_late(view, problem)
    if places.stable is not None:
        return _give_up(view, places, candidate, late)
    # Nothing is served: whatever was away may come back, so its Deployment stays, as Kubernetes' own ones do.
    message = (
        f"Version {candidate.version} is not ready: {late.message}; nothing is served. "
        "Fovea goes on trying, and serves it as soon as it answers."
    )
    return replace(places, candidate=candidate, problem=replace(late, message=message))


def cannot_be_made(view: ServingView, place: VersionStatus) -> Problem | None:
    """Why the Deployment of a version, which is not there, is not made; None: it is there or can be made."""
    if place.deployment in view.workloads:
        return None
    if said := platform.not_allowed(view.spec.pod, view.settings):
        return Problem(ServingReason.INVALID_SPEC, said)
    if view.machine_type is None:
        seen = view.observed
        message = platform.machine_type_missing(
            view.spec.machine_type, seen.machine_types, seen.unreadable_machine_types
        )
        return Problem(ServingReason.MACHINE_TYPE_MISSING, message)
    return None


def _given_up(view: ServingView, target: VersionStatus) -> Problem | None:
    """Why this target was given up; None when it was not, or when it is tried again."""
    failed = view.status.failed
    said = conditions.find(view.status.conditions, ServingCondition.PROGRESSING)
    if failed is None or said is None or failed.deployment != target.deployment or said.reason not in _REASONS:
        return None
    # Not the generation: a write of an autoscaler to /scale says nothing about the version.
    if failed.deadline_seconds not in (None, view.spec.rollout.progress_deadline_seconds):
        return None
    problem = Problem(ServingReason(said.reason), said.message, final=said.reason in health.FINAL)
    return problem if problem.final or view.now < again_at(view, failed) else None


def _give_up(view: ServingView, places: Places, candidate: VersionStatus, problem: Problem) -> Places:
    failed = FailedVersion(
        version=candidate.version,
        digest=candidate.digest,
        deployment=candidate.deployment,
        since=times.text(view.now),
        deadline_seconds=view.spec.rollout.progress_deadline_seconds,
    )
    rest = f"version {places.stable.version} keeps serving" if places.stable else "nothing is served"
    when = "" if problem.final else f"at {times.text(again_at(view, failed))}, or "
    message = (
        f"Version {candidate.version} is given up: {problem.message}; {rest}. It is tried again {when}when the wanted "
        "version, spec.machineType or spec.rollout.progressDeadlineSeconds changes."
    )
    return replace(places, failed=failed, problem=replace(problem, message=message))


def _too_late(view: ServingView, problem: Problem | None) -> Problem:
    seconds = view.spec.rollout.progress_deadline_seconds
    said = problem.message if problem else _refusal(view)
    why = f": {said.rstrip('.')}" if said else ""
    message = f"its pods were not ready within {seconds} s (rollout.progressDeadlineSeconds){why}"
    return Problem(ServingReason.DEADLINE_EXCEEDED, message)


def _refusal(view: ServingView) -> str:
    """What the API server said against the Deployment, now or, where it is not asked again, the last time."""
    said = conditions.find(view.status.conditions, ServingCondition.PROGRESSING)
    if view.observed.refused or said is None or not said.message.startswith(REFUSED):
        return view.observed.refused
    return said.message.removeprefix(REFUSED)


def _switch(view: ServingView, places: Places, candidate: VersionStatus) -> Places:
    now = times.text(view.now)
    draining = [place for place in places.draining if place.deployment != candidate.deployment]
    if places.stable is not None:
        draining.append(places.stable.model_copy(update={"since": now}))
    stable = candidate.model_copy(update={"since": now})
    return replace(places, stable=stable, candidate=None, draining=tuple(draining))


def _still_draining(view: ServingView, places: Places) -> tuple[VersionStatus, ...]:
    """Without those that have drained, are gone, or serve again."""
    serving = {place.deployment for place in (places.stable, places.candidate) if place is not None}
    left = [
        _unless_reached(view, place)
        for place in places.draining
        if place.deployment in view.workloads and place.deployment not in serving
    ]
    return tuple(place for place in left if view.reached(place) or view.now < drained_at(view, place))[-MAX_DRAINING:]


def _unless_reached(view: ServingView, place: VersionStatus) -> VersionStatus:
    """A version that the Service still points at begins to drain when the Service moves: now, unless that is refused."""
    if not view.reached(place) or view.observed.refused:
        return place
    return place.model_copy(update={"since": times.text(view.now)})


def deadline(view: ServingView, candidate: VersionStatus) -> datetime:
    """When the candidate is late."""
    since = times.parse(candidate.since) or view.now
    return since + timedelta(seconds=view.spec.rollout.progress_deadline_seconds)


def again_at(view: ServingView, failed: FailedVersion) -> datetime:
    """When a version that missed its deadline is tried again."""
    since = times.parse(failed.since) or view.now
    return since + timedelta(seconds=max(RETRY_SECONDS, RETRY_DEADLINES * view.spec.rollout.progress_deadline_seconds))


def drained_at(view: ServingView, place: VersionStatus) -> datetime:
    """When an old version's pods go."""
    since = times.parse(place.since) or view.now
    return since + timedelta(seconds=view.spec.rollout.drain_seconds)


def wake(view: ServingView, places: Places) -> datetime | None:
    """When time alone changes something."""
    ends = [drained_at(view, place) for place in places.draining]
    if places.candidate is not None:
        ends.append(deadline(view, places.candidate))
    if places.failed is not None and places.problem is not None and not places.problem.final:
        ends.append(again_at(view, places.failed))
    # What is over and changed nothing waits for something else: a Service that is refused.
    return times.earliest(*(end for end in ends if end > view.now))
