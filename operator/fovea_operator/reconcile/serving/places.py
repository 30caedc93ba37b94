"""Places: which versions a ModelDeployment has and where each stands. One function for each way from one place to the next.

candidate -> stable -> draining -> gone, or candidate -> failed. `rollout` decides when a version moves.
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
        placed = (self.stable, self.candidate, *self.draining)
        return frozenset(place.deployment for place in placed if place is not None)

    def __iter__(self) -> Iterator[Place]:
        """In the order of the status."""
        return (place for place in (self.stable, self.candidate, *self.draining, self.failed) if place is not None)


# -- from one place to the next ----------------------------------------------------------------------------------------


def starting(place: Place, now: datetime, problem: Problem | None = None) -> Place:
    """A candidate whose pods do not all answer; `problem`: what is known to be wrong with them."""
    return _at(place, PlaceRole.CANDIDATE, PlaceStep.STARTING, now, problem)


def switching(place: Place, now: datetime, problem: Problem | None = None) -> Place:
    """A candidate whose pods answer; `problem`: why the Service does not point at it yet."""
    return _at(place, PlaceRole.CANDIDATE, PlaceStep.SWITCHING, now, problem)


def stable(place: Place, now: datetime, *, reached: bool) -> Place:
    """The version that is served; `reached`: whether the Service points at it."""
    return _at(place, PlaceRole.STABLE, PlaceStep.SERVING if reached else PlaceStep.SWITCHING, now)


def leaving(place: Place, now: datetime) -> Place:
    """A version that another one has replaced, and that the Service still points at."""
    return _at(place, PlaceRole.DRAINING, PlaceStep.LEAVING, now)


def draining(place: Place, now: datetime, *, left_now: bool) -> Place:
    """A version that finishes its connections; `left_now`: the Service leaves it at this moment, whatever it did before."""
    drains = _at(place, PlaceRole.DRAINING, PlaceStep.DRAINING, now)
    return drains.model_copy(update={"since": times.text(now)}) if left_now else drains


def given_up(
    place: Place, now: datetime, problem: Problem, *, deadline_seconds: int, retry_at: datetime | None
) -> Place:
    """A version that is not tried for the time being; `retry_at`: until when, None: its files or the spec have to change."""
    failed = _at(place, PlaceRole.FAILED, PlaceStep.GIVEN_UP, now, problem)
    return failed.model_copy(
        update={
            "deadline_seconds": deadline_seconds,
            "retry_time": None if retry_at is None else times.text(retry_at),
        }
    )


def still_given_up(place: Place, now: datetime) -> Place:
    """A version that is not tried again yet: why and until when stays."""
    kept = {field: getattr(place, field) for field in ("reason", "message", "deadline_seconds", "retry_time")}
    return _at(place, PlaceRole.FAILED, PlaceStep.GIVEN_UP, now).model_copy(update=kept)


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
            "deadline_seconds": None,
            "retry_time": None,
            "evacuation": place.evacuation if role in (PlaceRole.CANDIDATE, PlaceRole.STABLE) else None,
        }
    )
