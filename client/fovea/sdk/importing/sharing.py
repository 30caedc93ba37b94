"""Roles of a TFJob have a pod template each. The roles of a TrainingJob share one container and differ in their machines only."""

import json
from dataclasses import replace

from fovea_api.contract import environment, names

from .draft import CONTAINER, LISTS, MACHINE, Draft, Key, Line
from .source import Field


def share(base: Draft, base_role: str, other: Draft, other_role: str, template: Field) -> list[Line]:
    """The lines of another role's template: what is as in the base's is taken, what differs is dropped, with the reason."""
    lines = [_shared(line, base, base_role, other_role) for line in other.lines]
    more = [key for key in base.values if key not in other.values and key[0] != MACHINE]
    if more:
        remark = Draft()
        remark.remark(
            template,
            f"The pods of {other_role} get from {base_role} as well: {_named(more)}. The roles of a TrainingJob share one container.",
        )
        lines += remark.lines
    return lines


def for_all_roles(base_role: str, other_role: str) -> str:
    """What to do if roles ran different programs: `other_role` is the role whose program is dropped."""
    variables = f"{environment.TF_CONFIG}, ${environment.JOB_NAME} and ${environment.TASK_INDEX}"
    if other_role.casefold() == names.ROLE_EVALUATOR:  # it stands in neither of the lists that the other two are about
        variables = environment.TF_CONFIG
    return f"See to it that the program of {base_role} does for all roles: it finds its role in {variables}."


def _shared(line: Line, base: Draft, base_role: str, other_role: str) -> Line:
    if not line.key or line.key[0] == MACHINE:
        return line
    there = base.values.get(line.key)
    if there == line.became:
        return line
    program = line.key[: len(CONTAINER)] == CONTAINER
    shared = "one container" if program else "the options of their pods"
    why = f"The roles of a TrainingJob share {shared}: {base_role} has {'none' if there is None else _brief(there)}."
    step = f"See to it that the program of {base_role} does for all roles." if program else ""
    if line.key[-1] in ("command", "args"):
        step = for_all_roles(base_role, other_role)
    return replace(line, action="dropped", key=(), became=None, why=why, next=step)


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _named(keys: list[Key]) -> str:
    """`env DATA, volumes data, args`."""
    return ", ".join(f"{key[-2]} {key[-1]}" if key[:-1] in LISTS else key[-1] for key in keys)
