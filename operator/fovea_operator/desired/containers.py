"""What the containers of our pods are made of: resources, users, arguments; and the agent's containers.

Every pod of ours passes the `restricted` Pod Security Standard. The agent's containers are the only ones that hold the
object store's key.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from fovea_api.contract import environment, expansion, names
from fovea_api.v1alpha1 import MachineType

from fovea_operator.settings import Settings

STORE_VOLUME = "fovea-object-store"
USER = 1000
"""User and group id of our own images."""
Value = str | int | float | bool
_SUFFIXES = {"m": Fraction(1, 1000)}
_SUFFIXES |= {suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)}
_SUFFIXES |= {f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)}


def agent(
    name: str,
    command: Sequence[str],
    plan: str,
    mounts: Sequence[dict[str, Any]],
    machine_type: MachineType,
    settings: Settings,
    user: int | None = None,
) -> dict[str, Any]:
    """A container that runs `fovea-agent <command>` on a plan (JSON), with the store's key and further mounts.

    `user` is the user id to run as, None for the image's own.
    """
    return {
        "name": name,
        "image": settings.agent_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["fovea-agent", *command],
        "env": [{"name": environment.PLAN, "value": expansion.escaped(plan)}],
        "resources": _agent_resources(machine_type, settings),
        "securityContext": own_security(user),
        "volumeMounts": [
            *(dict(mount) for mount in mounts),
            {"name": STORE_VOLUME, "mountPath": environment.OBJECT_STORE_MOUNT, "readOnly": True},
        ],
    }


def store_volume() -> dict[str, Any]:
    """The volume with the key of the pod's namespace; readable by the agent's group only.

    Optional: without the Secret the kubelet would keep the pod waiting, with no reason in its status; the agent reports it.
    """
    secret = {"secretName": names.OBJECT_STORE_SECRET, "defaultMode": 0o440, "optional": True}
    return {"name": STORE_VOLUME, "secret": secret}


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


def gpus(machine: MachineType) -> int:
    """How many accelerators a pod of this type has."""
    return machine.spec.gpus.count if machine.spec.gpus else 0


def cpu_limit(given: str | None) -> str | None:
    """A limit of CPU; None where there is none, which 0 means as well: no program runs within it."""
    return given if given and number(given) else None


def threads(machine: MachineType) -> int | None:
    """Threads for TensorFlow, None for as many as there are cores.

    A CPU limit does not show inside the container: a program that counts the node's cores is throttled.
    """
    limit = cpu_limit(machine.spec.cpu_limit)
    return None if limit is None else max(1, math.ceil(number(limit)))


def _agent_resources(machine: MachineType, settings: Settings) -> dict[str, Any]:
    """Requests and limits of each agent container: the platform's, but for what the machine type says."""
    own = machine.spec.agent
    cpu = (own.cpu if own else None) or settings.agent_cpu
    limit = cpu_limit((own.cpu_limit if own else None) or settings.agent_cpu_limit)
    memory = own.memory if own else None
    limits = {"memory": memory or settings.agent_memory_limit}
    if limit:
        # One of the two may come from elsewhere: a limit below the request would refuse every pod.
        limits["cpu"] = max(limit, cpu, key=number)
    return {"requests": {"cpu": cpu, "memory": memory or settings.agent_memory}, "limits": limits}


def number(quantity: str) -> Fraction:
    """`1500m` -> 3/2, `1Ki` -> 1024."""
    digits = quantity.rstrip("kKMGTPEim")
    return Fraction(digits) * _SUFFIXES.get(quantity[len(digits) :], 1)


def pod_security() -> dict[str, Any]:
    """Of the pod: the group owns the volumes, so that the agent reads what a program of another user id wrote.

    A volume whose root is the group's already is left as it is: a big one would be walked through at every attempt.
    """
    return {
        "runAsNonRoot": True,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def own_security(user: int | None = None) -> dict[str, Any]:
    """Of a container of our own images: fixed group and, unless one is given, fixed user; read-only root."""
    return user_security(USER if user is None else user) | {"runAsGroup": USER, "readOnlyRootFilesystem": True}


def user_security(user: int | None) -> dict[str, Any]:
    """Of a user's container: it may write to its own root, and runs as its image says unless the job says otherwise."""
    context: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return context | ({"runAsUser": user} if user is not None else {})


def flags(args: Mapping[str, Value] | None) -> list[str]:
    """`{"epochs": 10, "augment": False}` -> `["--epochs=10", "--augment=false"]`, in the order given.

    Escaped for the pod: `$(NAME)` and `$$` in a value reach the program as they were written.
    """
    return [f"--{name}={expansion.escaped(_text(value))}" for name, value in (args or {}).items()]


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
