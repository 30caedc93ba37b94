"""Machine types of Cloud ML, and the MachineTypes that they could become."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from fovea_api.contract import names

from .machines import Machine

_PER_CPU: Mapping[str, Fraction] = {
    "n1-standard": Fraction(15, 4),
    "n1-highmem": Fraction(13, 2),
    "n1-highcpu": Fraction(9, 10),
    "n2-standard": Fraction(4),
    "n2-highmem": Fraction(8),
    "n2-highcpu": Fraction(1),
    "e2-standard": Fraction(4),
    "e2-highmem": Fraction(8),
    "e2-highcpu": Fraction(1),
    "c2-standard": Fraction(4),
}
"""GiB of memory for each virtual CPU, by families of Compute Engine."""
_A2 = re.compile(r"a2-highgpu-([1248])g")
_LEGACY: Mapping[str, tuple[str, int]] = {
    "standard": ("n1-standard-4", 0),
    "large_model": ("n1-highmem-8", 0),
    "complex_model_s": ("n1-highcpu-8", 0),
    "complex_model_m": ("n1-highcpu-16", 0),
    "complex_model_l": ("n1-highcpu-32", 0),
    "standard_gpu": ("n1-standard-8", 1),
    "complex_model_m_gpu": ("n1-standard-16", 4),
    "complex_model_l_gpu": ("n1-standard-32", 8),
    "standard_p100": ("n1-standard-8", 1),
    "complex_model_m_p100": ("n1-standard-16", 4),
    "standard_v100": ("n1-standard-8", 1),
    "large_model_v100": ("n1-highmem-8", 1),
    "complex_model_m_v100": ("n1-standard-16", 4),
    "complex_model_l_v100": ("n1-standard-32", 8),
}
"""Cloud ML's own names: the machine of Compute Engine that comes nearest, and the number of its GPUs."""
WHOLE = "These are the amounts of a whole machine: on a node of that size a pod has less, since the node's own programs need some."


def name_of(machine: str, gpus: int = 0, accelerator: str = "", disk: int = 0) -> str:
    """`complex_model_m_p100` -> complex-model-m-p100, `n1-standard-8` with two T4 -> n1-standard-8-2x-t4."""
    name = machine.lower().replace("_", "-")
    if gpus:
        kind = accelerator.lower().replace("nvidia", "").replace("tesla", "").strip("_").replace("_", "-")
        name += f"-{gpus}x-{kind or 'gpu'}"
    if disk:
        name += f"-{disk}g"
    return name[: names.MAX_NAME].strip("-.")


def machine(name: str, role: str, source: str, gpus: int = 0, disk: int = 0) -> Machine:
    """The MachineType that has to exist for a role that was on machine type `source` of Cloud ML."""
    base, own_gpus = _LEGACY.get(source, (source, 0))
    spec = _of_compute_engine(base)
    if spec is None:
        return Machine(name, (role,), None, remark=f"Nothing is known about machine type {source}.")
    if gpus or own_gpus:
        spec["gpus"] = {"count": gpus or own_gpus}
    if disk:
        spec["ephemeralStorage"] = f"{disk}G"
    return Machine(name, (role,), spec, remark=WHOLE)


def _of_compute_engine(name: str) -> dict[str, Any] | None:
    if found := _A2.fullmatch(name):
        count = int(found[1])
        return {"cpu": str(12 * count), "memory": f"{85 * count}Gi", "gpus": {"count": count}}
    family, _, cpus = name.rpartition("-")
    if family not in _PER_CPU or not re.fullmatch(r"[0-9]{1,3}", cpus):
        return None
    memory = _PER_CPU[family] * int(cpus)
    whole = memory.denominator == 1
    return {"cpu": cpus, "memory": f"{memory}Gi" if whole else f"{int(memory * 1024)}Mi"}
