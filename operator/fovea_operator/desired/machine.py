"""What a MachineType means for a pod: resources of its main container, and the nodes it may run on."""

from typing import Any

from fovea_api.v1alpha1 import MachineType


def resources(machine: MachineType) -> dict[str, Any]:
    """Requests and limits. CPU has a limit only where the type says so; GPUs must be equal in both."""
    spec = machine.spec
    requests = {"cpu": spec.cpu, "memory": spec.memory}
    limits = {"memory": spec.memory}
    if spec.cpu_limit:
        limits["cpu"] = spec.cpu_limit
    if spec.ephemeral_storage:
        requests["ephemeral-storage"] = limits["ephemeral-storage"] = spec.ephemeral_storage
    if spec.gpus:
        requests[spec.gpus.resource] = limits[spec.gpus.resource] = str(spec.gpus.count)
    return {"requests": requests, "limits": limits}


def placement(machine: MachineType) -> dict[str, Any]:
    """The part of a pod's spec that says which nodes it may run on."""
    spec = machine.spec
    placed: dict[str, Any] = {}
    if spec.node_selector:
        placed["nodeSelector"] = dict(spec.node_selector)
    if spec.tolerations:
        # Empty fields are left out: `key: ""` with operator Equal would be refused.
        placed["tolerations"] = [
            {name: value for name, value in toleration.dump().items() if value != ""} for toleration in spec.tolerations
        ]
    return placed
