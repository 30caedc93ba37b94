"""Events: what of a status change is worth a Kubernetes Event. Told once, since a change happens once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from fovea_api.v1alpha1 import Condition

from fovea_operator.reconcile import conditions
from fovea_operator.reconcile.decision import Event

EventType = Literal["Normal", "Warning"]


def of_change(
    old: Sequence[Condition] | None, new: Sequence[Condition] | None, notable: Mapping[str, EventType]
) -> tuple[Event, ...]:
    """One event for each reason among `notable` that a condition has now and had not before."""
    found: dict[str, Event] = {}
    for condition in _changed(old, new):
        if condition.reason in notable:
            found.setdefault(condition.reason, Event(notable[condition.reason], condition.reason, condition.message))
    return tuple(found.values())


def _changed(old: Sequence[Condition] | None, new: Sequence[Condition] | None) -> Iterator[Condition]:
    for condition in new or ():
        before = conditions.find(old, condition.type)
        if before is None or (before.status, before.reason) != (condition.status, condition.reason):
            yield condition
