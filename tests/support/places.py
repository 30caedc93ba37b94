"""What holds of the places of any ModelDeployment's status."""

from collections.abc import Iterable, Sequence
from typing import Any

from fovea_api.contract import labels
from fovea_api.v1alpha1.model_deployment_status import MAX_PLACES
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.observed import ServiceRecord

STEPS = {
    "stable": {"Serving", "Switching", "Stopped", "Idle", "Waking"},
    "candidate": {"Starting", "Switching", "Shifting", "Baking"},
    "draining": {"Leaving", "Draining"},
    "failed": {"Leaving", "Draining", "GivenUp"},
}
"""The steps that a role has."""
WAYS = {
    # The last three at once: its Deployment was there, and answers, or cannot, or is named by routes and not wanted any more.
    "new": {"candidate", "stable", "failed", "draining"},
    "candidate": {"candidate", "stable", "draining", "failed", "gone"},
    "stable": {"stable", "draining", "gone"},
    "draining": {"draining", "candidate", "stable", "failed", "gone"},
    "failed": {"failed", "candidate", "stable", "draining", "gone"},
}
"""The roles that a version may have after a role. Stable and gone: its Deployment was deleted when another version was served."""

Place = dict[str, Any]


def check_whole(places: Sequence[Place]) -> None:
    """One whole: no Deployment twice, one version of each role but draining, steps of their roles, all requests somewhere."""
    names = [place["deployment"] for place in places]
    assert len(set(names)) == len(names), "a Deployment has one place"
    assert len(places) <= MAX_PLACES
    roles = [place["role"] for place in places]
    assert all(roles.count(role) <= 1 for role in ("stable", "candidate", "failed")), roles
    assert not ("candidate" in roles and "failed" in roles), "one version is wanted: it starts, or it was given up"
    weights = [place["weight"] for place in places]
    assert sum(weights) in (0, 100), weights
    shifts = any("shift" in place for place in places)
    for place in places:
        assert place["step"] in STEPS[place["role"]], place
        assert place["weight"] == 0 or place["step"] != "GivenUp"
        assert place["weight"] == 100 or place["step"] != "Serving" or shifts
        assert ("shift" in place) == (place["step"] in ("Shifting", "Baking"))
        assert times.parse(place["since"]) is not None
        assert ("rolloutHash" in place) == (place["role"] == "failed")
        assert "retryTime" not in place or place["role"] == "failed"
        assert "evacuation" not in place or place["role"] in ("stable", "candidate")
        assert ("reason" in place) == ("message" in place) or place["role"] == "failed"


def moved_along_the_ways(before: Sequence[Place], after: Sequence[Place]) -> None:
    """No version has taken a role that it cannot take after the one that it had."""
    was = {place["deployment"]: place["role"] for place in before}
    becomes = {place["deployment"]: place["role"] for place in after}
    for name in was.keys() | becomes.keys():
        assert becomes.get(name, "gone") in WAYS[was.get(name, "new")], (name, was.get(name), becomes.get(name))


def pointed_at(services: Iterable[ServiceRecord]) -> str:
    """Name of the Deployment that the clients' Service points at; empty without one."""
    for service in services:
        if service.name == "digits":
            return f"digits-v{service.selector[labels.VERSION]}-{service.selector[labels.REVISION]}"
    return ""
