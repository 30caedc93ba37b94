"""The event handlers: each one passes the raw object on and returns."""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from fovea_operator.cluster import resources
from fovea_operator.cluster.resources import Resource
from fovea_operator.reconcile.shared.decision import GroupVersionKind

OnEvent = Callable[[GroupVersionKind, str | None, Mapping[str, Any]], None]
"""Called with the kind, the type (ADDED, MODIFIED, DELETED; None from a list) and the raw object."""


def register(registry: kopf.OperatorRegistry, on_event: OnEvent, on_lease: Callable[[Mapping[str, Any]], None]) -> None:
    """Add a handler for each kind that is not optional, and one for the operator's Lease."""
    for resource in resources.WATCHED:
        watch(registry, resource, on_event)

    @kopf.on.event(resources.LEASE.group, resources.LEASE.version, resources.LEASE.plural, registry=registry)
    async def lease(event: kopf.RawEvent, **_: Any) -> None:
        on_lease(event["object"])


def watch(registry: kopf.OperatorRegistry, resource: Resource, on_event: OnEvent) -> None:
    """Add a handler for one kind."""

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)
    async def watched(event: kopf.RawEvent, **_: Any) -> None:
        on_event(resource.gvk, event["type"], event["object"])
