"""Starts Kopf beside our own tasks and stops it."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from fovea_operator.settings import Settings

from . import login, watching
from . import settings as kopf_settings


async def start(
    settings: Settings, on_event: watching.OnEvent, on_lease: Callable[[Mapping[str, Any]], None]
) -> "asyncio.Task[None]":
    """Begin to watch; the task ends only when Kopf fails or is cancelled.

    Kopf takes over SIGTERM and SIGINT while it starts: install handlers of your own after this.
    """
    registry = kopf.OperatorRegistry()
    login.register(registry)
    watching.register(registry, on_event, on_lease)
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings.of_kopf(settings),
        # Kopf would ask for the user's name, and the user id of a container has none.
        identity=f"{settings.lease_name}@{socket.gethostname()}",  # type: ignore[arg-type]
        **kopf_settings.scopes(settings),
    )
    # What ran before is not Kopf's: without this it would cancel our own tasks at its end.
    return asyncio.create_task(kopf.run_tasks(tasks, ignored=before), name="kopf")
