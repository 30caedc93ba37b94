"""Security contexts: every pod of ours passes the `restricted` Pod Security Standard."""

from typing import Any

USER = 1000
"""User and group id of our own images."""


def pod() -> dict[str, Any]:
    """Of the pod: the group owns the volumes, so that the agent reads what a program of another user id wrote.

    A volume whose root is the group's already is left as it is: a big one would be walked through at every attempt.
    """
    return {
        "runAsNonRoot": True,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def own_container(user: int | None = None) -> dict[str, Any]:
    """Of a container of our own images: fixed group and, unless one is given, fixed user; read-only root."""
    return user_container(USER if user is None else user) | {"runAsGroup": USER, "readOnlyRootFilesystem": True}


def user_container(user: int | None) -> dict[str, Any]:
    """Of a user's container: it may write to its own root, and runs as its image says unless the job says otherwise."""
    context: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return context | ({"runAsUser": user} if user is not None else {})
