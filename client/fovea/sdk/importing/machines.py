"""Which MachineTypes a job needs, and how they could look. They are the platform team's: an import only names them (ADR 206)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import API_VERSION
from fovea_api.v1alpha1.machine_type import MachineTypeSpec

from .amounts import amount
from .draft import MACHINE, Key, assembled
from .fitting import ordered

GUESSED = {"cpu": "1", "memory": "4Gi"}
"""What a MachineType must have and a source may leave open."""


@dataclass(frozen=True)
class Machine:
    """A MachineType that has to exist."""

    name: str
    roles: tuple[str, ...]
    spec: Mapping[str, Any] | None
    """How it could look; None: nothing is known about it."""
    guessed: tuple[str, ...] = ()
    """Fields of which the source says nothing."""
    remark: str = ""
    exists: bool = False
    """Whether the user named it: then there is nothing to suggest."""

    def manifest(self) -> dict[str, Any] | None:
        """The suggestion as an object."""
        if self.spec is None or self.exists:
            return None
        return {
            "apiVersion": API_VERSION,
            "kind": MACHINE,
            "metadata": {"name": self.name},
            "spec": ordered(dict(self.spec), MachineTypeSpec),
        }


def of_values(values: Mapping[Key, Any], role: str, wanted: Mapping[str, str]) -> Machine | None:
    """The MachineType of a role by what a pod template asks for; None: it asks for nothing, the default one does."""
    spec = assembled({key[1:]: value for key, value in values.items() if key[0] == MACHINE})
    name = wanted.get(role)
    if not spec and name is None:
        return None
    if name is not None:
        return Machine(name, (role,), spec or None, exists=True)
    return Machine(_name(spec), (role,), GUESSED | spec, tuple(field for field in GUESSED if field not in spec))


def together(machines: list[Machine]) -> list[Machine]:
    """Each MachineType once, with all its roles. Of one that the user named for several roles, the first role's amounts."""
    found: dict[str, Machine] = {}
    for machine in machines:
        known = found.get(machine.name)
        roles = (*(known.roles if known else ()), *machine.roles)
        found[machine.name] = replace(known if known and known.spec is not None else machine, roles=roles)
    return list(found.values())


def _name(spec: Mapping[str, Any]) -> str:
    """By the amounts, so that jobs that need the same name the same: `4cpu-8gi-1gpu`. The rest, placement for example, is a digest."""
    rest = {key: value for key, value in spec.items() if key not in ("cpu", "memory", "gpus")}
    if rest.get("cpuLimit") == spec.get("cpu"):
        rest.pop("cpuLimit", None)
    gpus = spec.get("gpus", {})
    if "resource" in gpus:
        rest["resource"] = gpus["resource"]
    parts = [f"{float(amount(spec['cpu'])):g}cpu" if "cpu" in spec else "", spec.get("memory", "").lower()]
    parts += [f"{gpus['count']}gpu" if gpus else ""]
    if rest:
        parts.append(hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:4])
    named = [part for part in parts if part]
    return "-".join(named if len(named) > 1 or not rest else ["machine", *named])[: names.MAX_NAME]
