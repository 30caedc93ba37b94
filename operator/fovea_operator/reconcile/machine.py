"""Which MachineType a pod gets."""

from collections.abc import Mapping

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


def missing(name: str | None, machine_types: Mapping[str, MachineType]) -> str:
    """The sentence for a machine type that does not exist."""
    there = ", ".join(sorted(machine_types)) or "none"
    if name is None:
        return f"There is no default MachineType: ask the platform team to set spec.default on one (there is: {there})."
    return f"There is no MachineType {name!r}: ask the platform team for it, or submit with one that exists ({there})."
