"""Which MachineType a pod gets."""

import difflib
from collections.abc import Iterable, Mapping

from fovea_api.v1alpha1 import MachineType, TrainingJob

GPU_TIER = "BASIC_GPU"
GPU_MACHINE = "standard-gpu"
"""Machine type of scale tier BASIC_GPU."""


def wanted_by(job: TrainingJob) -> str | None:
    """Name of the chief's machine type; None: the default one."""
    if job.spec.roles and job.spec.roles.chief.machine_type:
        return job.spec.roles.chief.machine_type
    return GPU_MACHINE if job.spec.scale_tier == GPU_TIER else None


def select(name: str | None, machine_types: Mapping[str, MachineType]) -> MachineType | None:
    """The machine type of a name, or the default one; of several defaults the first by name."""
    if name is not None:
        return machine_types.get(name)
    defaults = sorted(n for n, machine in machine_types.items() if machine.spec.default)
    return machine_types[defaults[0]] if defaults else None


def missing(name: str | None, machine_types: Mapping[str, MachineType], unreadable: Mapping[str, str]) -> str:
    """The sentence for a machine type that does not exist, or cannot be read: why not, by name."""
    if name is not None and name in unreadable:
        return f"MachineType {name!r} exists and cannot be read; this is for the platform team: {unreadable[name]}."
    there = ", ".join(sorted(machine_types)) or "none"
    if name is None:
        return f"There is no default MachineType: ask the platform team to set spec.default on one (there is: {there})."
    meant = _meant(name, machine_types)
    ask = f"; did you mean {meant}? Ask" if meant else ": ask"
    return f"There is no MachineType {name!r}{ask} the platform team for it, or submit with one that exists ({there})."


def _meant(name: str, there: Iterable[str]) -> str | None:
    """The name that this one is a misspelling of."""
    # Who writes standard-gpu did not mean standard: that would be another machine, not another spelling.
    others = [other for other in sorted(there) if not name.startswith(f"{other}-")]
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
    return near[0] if near else None
