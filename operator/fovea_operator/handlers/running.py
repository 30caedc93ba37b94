"""Starts and stops Kopf beside our own tasks. Each optional kind has a Kopf of its own, in a thread."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import kopf

from fovea_operator.cluster import resources
from fovea_operator.cluster.resources import Resource
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.settings import Settings

from . import login, watching
from . import settings as kopf_settings
from .memories import NoMemories

log = logging.getLogger(__name__)


async def start(
    settings: Settings, on_event: watching.OnEvent, on_lease: Callable[[Mapping[str, Any]], None]
) -> "asyncio.Task[None]":
    """Begin to watch the kinds that are not optional. The task ends only when Kopf fails or is cancelled.

    Kopf takes over SIGTERM and SIGINT while it starts: install handlers of your own after this.
    """
    registry = kopf.OperatorRegistry()
    login.register(registry)
    watching.register(registry, on_event, on_lease)
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings.of_kopf(settings, resources.WATCHED),
        identity=_identity(settings),
        memories=NoMemories(),
        # The Lease is in the operator's own namespace.
        **kopf_settings.scopes(settings, settings.namespace),
    )
    # These tasks are ours: without `ignored`, Kopf would cancel them when it ends.
    return asyncio.create_task(kopf.run_tasks(tasks, ignored=before), name="kopf")


def _identity(settings: Settings) -> Any:
    """By default, Kopf asks for the name of the user, and the user id of a container has no name."""
    return f"{settings.lease_name}@{socket.gethostname()}"


class OptionalWatch:
    """A watch of one kind by a Kopf with a thread and an event loop of its own.

    If the kind is removed, its watch fails, and Kopf ends and cancels all tasks of its event loop.
    """

    def __init__(
        self, settings: Settings, resource: Resource, on_event: watching.OnEvent, on_end: Callable[[], None]
    ) -> None:
        """Begin. `on_event` and `on_end` (it ended by itself) are called in the running loop, none after `stop`."""
        self.ended = False
        """Whether it ended by itself."""
        self._settings = settings
        self._resource = resource
        self._on_event = on_event
        self._on_end = on_end
        self._registry = kopf.OperatorRegistry()
        login.register(self._registry)
        watching.watch(self._registry, resource, self._hand_over)
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._problem = ""
        self._over = asyncio.Event()
        self._begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
        threading.Thread(target=self._run, name=f"watch of {resource.plural}", daemon=True).start()

    async def stop(self) -> None:
        """End it; returns when it has ended."""
        self._stopped = True
        loop, task = await asyncio.wrap_future(self._begun)
        with suppress(RuntimeError):  # its loop is closed: it has ended by itself
            loop.call_soon_threadsafe(task.cancel)
        await self._over.wait()

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        finally:
            with suppress(RuntimeError):  # the operator has ended before
                self._loop.call_soon_threadsafe(self._end)

    async def _watch(self) -> None:
        operator = kopf.operator(
            registry=self._registry,
            settings=kopf_settings.of_kopf(self._settings, [self._resource]),
            identity=_identity(self._settings),
            memories=NoMemories(),
            **kopf_settings.scopes(self._settings),
        )
        task = asyncio.create_task(operator, name="kopf")
        self._begun.set_result((asyncio.get_running_loop(), task))
        await asyncio.wait([task])
        self._problem = "" if task.cancelled() else repr(task.exception())

    def _hand_over(self, gvk: GroupVersionKind, event_type: str | None, raw: Mapping[str, Any]) -> None:
        with suppress(RuntimeError):  # the operator has ended before
            self._loop.call_soon_threadsafe(self._take_in, gvk, event_type, raw)

    def _take_in(self, gvk: GroupVersionKind, event_type: str | None, raw: Mapping[str, Any]) -> None:
        if not self._stopped:
            self._on_event(gvk, event_type, raw)

    def _end(self) -> None:
        self._over.set()
        if not self._stopped:
            self.ended = True
            said = {"kind": self._resource.gvk, "error": self._problem}
            log.warning("the watch of an optional kind ended", extra=said)
            self._on_end()
