"""What a MachineType means for the resources of a pod's containers."""

from typing import Any

from fovea_api.v1alpha1 import MachineType

from fovea_operator.desired import quantity
from fovea_operator.settings import Settings


def resources(machine: MachineType) -> dict[str, Any]:
    """Requests and limits. CPU has a limit only where the type says so; GPUs must be equal in both."""
    spec = machine.spec
    requests = {"cpu": spec.cpu, "memory": spec.memory}
    limits = {"memory": spec.memory}
    if limit := cpu_limit(spec.cpu_limit):
        limits["cpu"] = limit
    if spec.ephemeral_storage:
        requests["ephemeral-storage"] = limits["ephemeral-storage"] = spec.ephemeral_storage
    if spec.gpus:
        requests[spec.gpus.resource] = limits[spec.gpus.resource] = str(spec.gpus.count)
    return {"requests": requests, "limits": limits}


def cpu_limit(given: str | None) -> str | None:
    """A limit of CPU; None where there is none, which 0 means as well: no program runs within it."""
    return given if given and quantity.number(given) else None


def of_agent(machine: MachineType, settings: Settings) -> dict[str, Any]:
    """Requests and limits of each agent container: the platform's, but for what the machine type says."""
    own = machine.spec.agent
    cpu = (own.cpu if own else None) or settings.agent_cpu
    limit = cpu_limit((own.cpu_limit if own else None) or settings.agent_cpu_limit)
    memory = own.memory if own else None
    limits = {"memory": memory or settings.agent_memory_limit}
    if limit:
        # One of the two may come from elsewhere: a limit below the request would refuse every pod.
        limits["cpu"] = max(limit, cpu, key=quantity.number)
    return {"requests": {"cpu": cpu, "memory": memory or settings.agent_memory}, "limits": limits}
