"""Conditions: set by type, `lastTransitionTime` moves only when the status changes; and which changes are worth an Event."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from fovea_api.v1alpha1 import Condition

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Event

Truth = Literal["True", "False", "Unknown"]
MAX_MESSAGE = 4096
"""Characters of a message; the API server takes 32,768 of a condition's, and a status holds several."""
EventType = Literal["Normal", "Warning"]


class Finding(NamedTuple):
    """What a condition is to say."""

    type: str
    status: Truth
    reason: str
    message: str


def truth(value: bool) -> Truth:
    """A condition's status from a boolean."""
    return "True" if value else "False"


def find(conditions: Sequence[Condition] | None, type_: str) -> Condition | None:
    """The condition of a type."""
    return next((condition for condition in conditions or () if condition.type == type_), None)


def is_true(conditions: Sequence[Condition] | None, type_: str) -> bool:
    """Whether the condition of a type holds."""
    found = find(conditions, type_)
    return found is not None and found.status == "True"


def put(conditions: Sequence[Condition] | None, *findings: Finding, now: datetime, generation: int) -> list[Condition]:
    """The conditions with these of them set, in their old order; new ones come last."""
    held = {condition.type: condition for condition in conditions or ()}
    for found in findings:
        old = held.get(found.type)
        held[found.type] = Condition(
            type=found.type,
            status=found.status,
            reason=found.reason,
            message=found.message[:MAX_MESSAGE],
            last_transition_time=old.last_transition_time if old and old.status == found.status else times.text(now),
            observed_generation=generation,
        )
    return list(held.values())


def events_of_change(
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
        before = find(old, condition.type)
        if before is None or (before.status, before.reason) != (condition.status, condition.reason):
            yield condition
