"""When a version is given up: for how long, and what asks for another try."""

import hashlib
import json
from datetime import timedelta

from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import Place
from fovea_api.v1alpha1.rollout import Rollout

from fovea_operator.reconcile.serving import places as move
from fovea_operator.reconcile.serving.health import Problem
from fovea_operator.reconcile.serving.places import Places
from fovea_operator.reconcile.serving.view import ServingView
from fovea_operator.reconcile.shared import times

RETRY_SECONDS = 3600
"""A version that missed its deadline beside a served one is tried again after this time at the earliest."""
RETRY_DEADLINES = 6
"""And after this many deadlines at the earliest: a version that never answers holds its machines for a small part of the time."""


def given_up(view: ServingView, others: Places, candidate: Place, problem: Problem) -> Place:
    """The place of a version that is given up now, for this reason."""
    rollout = view.spec.rollout
    pause = timedelta(seconds=max(RETRY_SECONDS, RETRY_DEADLINES * rollout.progress_deadline_seconds))
    # What its requests have shown stays so. A try without room for two takes the stable version's pods away.
    is_final = problem.final or candidate.shift is not None or rollout.strategy == "Recreate"
    retry_at = None if is_final or problem.reason == ServingReason.ABORTED else view.now + pause
    return move.given_up(
        candidate,
        view.now,
        problem,
        rollout_hash=hash_of(rollout, candidate.version),
        retry_at=retry_at,
        has_requests=has_requests(view, others, candidate),
    )


def is_tried_again(view: ServingView, failed: Place) -> bool:
    """Whether a version that was given up, and is still wanted, gets another try."""
    # Not the generation: a write of an autoscaler to /scale says nothing about the version.
    if failed.rollout_hash is not None and failed.rollout_hash != hash_of(view.spec.rollout, failed.version):
        return True
    if failed.retry_time is None:
        return False
    retry_at = times.parse(failed.retry_time)
    return retry_at is None or view.now >= retry_at


def hash_of(rollout: Rollout, version: int) -> str:
    """Of what a spec says about how that version takes over."""
    # Without what is as it is by default: a release with one more field asks for no other try.
    said = rollout.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {
        "paused": None,  # to hold a rollout and to go on with it asks for no other try
        "promotedVersion": rollout.promoted_version == version,
        "abortedVersion": rollout.aborted_version == version,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:10]


def has_requests(view: ServingView, others: Places, place: Place) -> bool:
    """Whether a version beside the stable one gets requests, or may still get some until the gateway has taken other weights.

    The routes count, too: an operator that ended before it wrote the status may have written them. One that ended twice may also
    have taken them back: so pods that answer finish what they may have.
    """
    named = place.shift is not None or place.weight > 0 or view.is_named(place)
    return others.stable is not None and (named or view.ready(place) > 0)


def too_late(view: ServingView, candidate: Place, problem: Problem | None) -> Problem:
    """What is said of a version that missed its deadline."""
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
