"""What an import says about the fields of its source: a table for people, and the same as data."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .output import indented, table

if TYPE_CHECKING:
    from fovea.sdk.importing.draft import Line
    from fovea.sdk.importing.imported import Imported
    from fovea.sdk.importing.machines import Machine

_WIDEST = 28


def report(done: "Imported") -> str:
    """All of it, for standard error."""
    parts = [_summary(done), _fields(done.lines)]
    if done.machines:
        parts.append("MachineTypes that must exist (the platform team makes them):\n" + _machines(done.machines))
    if done.steps:
        parts.append("What to do next:\n" + "\n".join(f"  - {step}" for step in done.steps))
    return "\n\n".join(parts)


def data(done: "Imported", machine_types: Sequence[Any]) -> dict[str, Any]:
    """All of it, for programs."""
    from fovea.sdk.importing.draft import target

    return {
        "source": done.source,
        "job": done.manifest,
        "machineTypes": list(machine_types),
        "fields": [
            {
                "field": line.field,
                "value": line.value,
                "action": line.action,
                "target": target(line),
                "became": line.became,
                "why": line.why,
                "next": line.next,
            }
            for line in done.lines
        ],
        "neededMachineTypes": [{"name": one.name, "roles": list(one.roles)} for one in done.machines],
        "next": list(done.steps),
    }


def _summary(done: "Imported") -> str:
    actions: list[str] = [line.action for line in done.lines]
    counts = ", ".join(f"{actions.count(action)} {action}" for action in ("taken", "changed", "dropped"))
    return f"{done.source} -> TrainingJob {done.manifest['metadata']['name']} ({done.shape}). Fields: {counts}."


def _fields(lines: "Sequence[Line]") -> str:
    """A row for each field. Reasons are numbered and stand below: fields with the same reason share one."""
    from fovea.sdk.importing.draft import target

    reasons: dict[str, int] = {}
    rows, heads = [], []
    for line in lines:
        number = reasons.setdefault(line.why, len(reasons) + 1) if line.why else ""
        goes = target(line)
        if goes and line.action == "changed":
            goes += f" = {_short(line.became)}"
        head, field = _parted(line)
        rows.append((line.action.upper(), field, _short(line.value) if line.covers else "", goes, number))
        heads.append(head)
    text = _with_heads(table(("WHAT", "FIELD", "VALUE", "IN THE JOB", "WHY"), rows), heads)
    if not reasons:
        return text
    return text + "\n\nWhy:\n" + "\n".join(f"  {number}. {why}" for why, number in reasons.items())


def _parted(line: "Line") -> tuple[str, str]:
    """The role of a TFJob that a field belongs to, and the field within it: with both in each row, no screen is wide enough."""
    from fovea.sdk.importing.source import shown

    if line.path[:2] != ("spec", "tfReplicaSpecs") or len(line.path) < 3:
        return "", line.field
    return shown(line.path[:3]), shown(line.path[3:]) or "(the role)"


def _with_heads(text: str, heads: Sequence[str]) -> str:
    """The table with a line in front of each role's rows; fields before and after roles stand in a table as they are."""
    first, *rows = text.split("\n")
    result, last = [first], ""
    for row, head in zip(rows, heads, strict=True):
        if head != last:
            result.append(f"-- {head or 'other fields'}:")
        result.append(row)
        last = head
    return "\n".join(result)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _machines(machines: "Sequence[Machine]") -> str:
    rows = []
    for one in machines:
        spec = one.spec or {}
        amounts = {
            "cpu": spec.get("cpu"),
            "memory": spec.get("memory"),
            "GPUs": (spec.get("gpus") or {}).get("count"),
            "disk": spec.get("ephemeralStorage"),
        }
        said = ", ".join(f"{name} {value}" for name, value in amounts.items() if value) or "-"
        rows.append((one.name, ", ".join(one.roles), said))
    remarks = dict.fromkeys(remark for one in machines for remark in (_guesses(one), _named(one), one.remark) if remark)
    return indented("\n".join([table(("NAME", "ROLES", "AMOUNTS"), rows), *remarks]))


def _named(machine: "Machine") -> str:
    if not (machine.exists and machine.spec):
        return ""
    return (
        f"{machine.name}: you named it, and it stays as it is. Compare: kubectl get machinetype {machine.name} -o yaml"
    )


def _guesses(machine: "Machine") -> str:
    if not machine.guessed:
        return ""
    return f"{machine.name}: the source does not say {' and '.join(machine.guessed)}; what stands there is a guess."
