"""Conditions: set by type, `lastTransitionTime` moves only when the status changes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from fovea_api.v1alpha1 import Condition

from fovea_operator.reconcile import times

Truth = Literal["True", "False", "Unknown"]


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


def put(
    conditions: Sequence[Condition] | None,
    type_: str,
    status: Truth,
    reason: str,
    message: str,
    *,
    now: datetime,
    generation: int,
) -> list[Condition]:
    """The conditions with one of them set, in their old order; a new one comes last."""
    old = find(conditions, type_)
    since = old.last_transition_time if old and old.status == status else times.text(now)
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )
    if old is None:
        return [*(conditions or ()), new]
    return [new if condition.type == type_ else condition for condition in conditions or ()]
