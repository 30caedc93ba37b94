"""The agent's containers: the only ones that hold the object store's key."""

from collections.abc import Sequence
from typing import Any

from fovea_api.contract import environment, expansion, names
from fovea_api.v1alpha1 import MachineType

from fovea_operator.desired import machine, security
from fovea_operator.settings import Settings

STORE_VOLUME = "fovea-object-store"


def container(
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
        "resources": machine.of_agent(machine_type, settings),
        "securityContext": security.own_container(user),
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
