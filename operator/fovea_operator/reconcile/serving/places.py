"""Places: which versions a ModelDeployment has and where each stands. One function for each way from one place to the next.

candidate -> stable -> draining -> gone, or candidate -> failed. `rollout` and `canary` decide when a version moves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from fovea_api.contract import text
from fovea_api.v1alpha1.model_deployment_status import (
    MAX_PLACE_MESSAGE,
    ModelDeploymentStatus,
    Place,
    PlaceRole,
    PlaceStep,
    Shift,
)

from fovea_operator.reconcile.serving.health import Problem
from fovea_operator.reconcile.shared import times

MAX_DRAINING = 16


@dataclass(frozen=True)
class Places:
    """All places of a ModelDeployment. No Deployment has two."""

    stable: Place | None = None
    candidate: Place | None = None
    draining: tuple[Place, ...] = ()
    """The oldest first."""
    failed: Place | None = None

    @classmethod
    def of(cls, status: ModelDeploymentStatus) -> "Places":
        """As a status holds them."""
        return cls(status.stable, status.candidate, tuple(status.draining), status.failed)

    @property
    def pointed_at(self) -> Place | None:
        """The version that the clients' Service is to point at: the first one of all gets it before it answers."""
        return self.stable or self.candidate

    @property
    def kept(self) -> frozenset[str]:
        """Names of the Deployments, and of their Services, that stay."""
        return frozenset(place.deployment for place in self.started)

    @property
    def started(self) -> tuple[Place, ...]:
        """The versions that have pods, the most important one for clients first."""
        failed = self.failed if self.failed is not None and self.failed.step != PlaceStep.GIVEN_UP else None
        placed = (self.stable, self.candidate, failed, *reversed(self.draining))
        return tuple(place for place in placed if place is not None)

    @property
    def weights(self) -> dict[str, int]:
        """The percentage of the requests that each version is to have, by the names of their Deployments; none has 0."""
        stable, candidate = self.stable, self.candidate
        if stable is not None and candidate is not None and candidate.shift is not None:
            alone = stable.ready_replicas == 0 < candidate.ready_replicas
            return shares(stable, candidate, candidate.shift.weight, alone=alone)
        return {} if self.pointed_at is None else {self.pointed_at.deployment: 100}

    def __iter__(self) -> Iterator[Place]:
        """In the order of the status."""
        return (place for place in (self.stable, self.candidate, *self.draining, self.failed) if place is not None)


def shares(stable: Place, candidate: Place, weight: int, *, alone: bool) -> dict[str, int]:
    """The percentages of both, by the names of their Deployments, none 0; `alone`: only the candidate answers, so it gets all."""
    if alone:
        return {candidate.deployment: 100}
    given = {stable.deployment: 100 - weight, candidate.deployment: weight}
    return {name: share for name, share in given.items() if share}


# -- from one place to the next ----------------------------------------------------------------------------------------


def starting(place: Place, now: datetime, problem: Problem | None = None) -> Place:
    """A candidate whose pods do not all answer; `problem`: what is known to be wrong with them."""
    return _at(place, PlaceRole.CANDIDATE, PlaceStep.STARTING, now, problem)


def switching(place: Place, now: datetime, problem: Problem | None = None) -> Place:
    """A candidate whose pods answer; `problem`: why the Service does not point at it yet."""
    return _at(place, PlaceRole.CANDIDATE, PlaceStep.SWITCHING, now, problem)


def shifting(place: Place, now: datetime, shift: Shift) -> Place:
    """A candidate at that step of its way to all requests."""
    step = PlaceStep.BAKING if shift.weight == 100 else PlaceStep.SHIFTING
    return _at(place, PlaceRole.CANDIDATE, step, now).model_copy(update={"shift": shift})


def stopped(place: Place, now: datetime) -> Place:
    """The stable version whose pods make room for the candidate's."""
    return _at(place, PlaceRole.STABLE, PlaceStep.STOPPED, now)


def stable(place: Place, now: datetime, *, reached: bool) -> Place:
    """The version that is served; `reached`: whether the Service points at it."""
    return _at(place, PlaceRole.STABLE, PlaceStep.SERVING if reached else PlaceStep.SWITCHING, now)


def asleep(place: Place, now: datetime, step: PlaceStep, problem: Problem | None = None) -> Place:
    """The stable version without a pod, or whose first pod starts again; `problem`: what is known to be wrong with it."""
    return _at(place, PlaceRole.STABLE, step, now, problem)


def leaving(place: Place, now: datetime) -> Place:
    """A version that another one has replaced, and that the Service still points at."""
    return _at(place, PlaceRole.DRAINING, PlaceStep.LEAVING, now)


def draining(place: Place, now: datetime, *, left_now: bool) -> Place:
    """A version that finishes its connections; `left_now`: the Service leaves it at this moment, whatever it did before."""
    drains = _at(place, PlaceRole.DRAINING, PlaceStep.DRAINING, now)
    return drains.model_copy(update={"since": times.text(now)}) if left_now else drains


def given_up(
    place: Place,
    now: datetime,
    problem: Problem,
    *,
    rollout_hash: str,
    retry_at: datetime | None,
    has_requests: bool,
) -> Place:
    """A version that is not tried for the time being; `retry_at`: until when, None: its files or the spec have to change.

    `has_requests`: whether it has to leave them first.
    """
    step = PlaceStep.LEAVING if has_requests else PlaceStep.GIVEN_UP
    failed = _at(place, PlaceRole.FAILED, step, now, problem)
    return failed.model_copy(
        update={
            "rollout_hash": rollout_hash,
            "retry_time": None if retry_at is None else times.text(retry_at),
        }
    )


def still_given_up(place: Place, now: datetime, step: PlaceStep, *, rollout_hash: str = "") -> Place:
    """A version that is not tried again yet, at that step: why and until when stays."""
    kept = {field: getattr(place, field) for field in ("reason", "message", "rollout_hash", "retry_time")}
    kept["rollout_hash"] = kept["rollout_hash"] or rollout_hash
    return _at(place, PlaceRole.FAILED, step, now).model_copy(update=kept)


def _at(place: Place, role: PlaceRole, step: PlaceStep, now: datetime, problem: Problem | None = None) -> Place:
    """The version in that role and step: since now, unless it is there already."""
    since = place.since if (place.role, place.step) == (role, step) and times.parse(place.since) else times.text(now)
    # A copy: what a newer operator wrote of the place, and this one does not know, stays.
    return place.model_copy(
        update={
            "role": role,
            "step": step,
            "since": since,
            "weight": 0,
            "ready_replicas": 0,
            "reason": problem.reason if problem else None,
            "message": text.cut(problem.message, MAX_PLACE_MESSAGE) if problem else None,
            "rollout_hash": None,
            "retry_time": None,
            "shift": None,
            "interruptions": place.interruptions if role == PlaceRole.CANDIDATE else None,
            "traffic": None if role == PlaceRole.DRAINING else place.traffic,
            "evacuation": place.evacuation if role in (PlaceRole.CANDIDATE, PlaceRole.STABLE) else None,
        }
    )
