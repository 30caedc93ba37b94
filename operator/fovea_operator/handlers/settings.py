"""Settings of Kopf. Kopf only watches: no peering, finalizers, annotations, Events or scanning."""

from collections.abc import Iterable
from typing import Any

import kopf
from fovea_api.contract import labels

from fovea_operator.cluster import resources
from fovea_operator.cluster.resources import Resource
from fovea_operator.settings import Settings


class _NothingHandled(kopf.DiffBaseStorage):
    """Keeps and compares no last handled state: computing it would copy the body of each event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers on objects."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def of_kopf(settings: Settings, watched: Iterable[Resource]) -> kopf.OperatorSettings:
    """Kopf's settings for a watch of these kinds. worker_limit stays unset: a limited worker keeps its slot for seconds after each object."""
    kopf_settings = kopf.OperatorSettings()
    kopf_settings.peering.standalone = True
    kopf_settings.posting.enabled = False
    kopf_settings.scanning.disabled = True
    kopf_settings.persistence.diffbase_storage = _NothingHandled()
    kopf_settings.persistence.progress_storage = _NoProgress()
    # For this time, the worker of an object waits for the next event, and keeps the last one in memory. At a hundred new objects
    # a second, Kopf's default of 5 s takes 17 MB. Our handlers only pass the event on, so starting a worker again is cheap.
    kopf_settings.queueing.idle_timeout = 0.5
    kopf_settings.networking.connect_timeout = 10
    kopf_settings.networking.request_timeout = 60
    kopf_settings.watching.server_timeout = 600
    kopf_settings.watching.connect_timeout = 10
    kopf_settings.watching.chunk_size = 500
    for resource in watched:
        if resource.labelled:
            kopf_settings.watching.label_selectors[resource.group, resource.version, resource.plural] = (
                labels.MANAGED_SELECTOR
            )
        if resource.field_selector:
            kopf_settings.watching.field_selectors[resource.group, resource.version, resource.plural] = (
                resource.field_selector
            )
    lease = resources.LEASE
    kopf_settings.watching.field_selectors[lease.group, lease.version, lease.plural] = (
        f"metadata.name={settings.lease_name}"
    )
    return kopf_settings


def scopes(settings: Settings, *also: str) -> dict[str, Any]:
    """Where Kopf watches: everywhere, or the given namespaces and these."""
    if not settings.watch_namespaces:
        return {"clusterwide": True}
    return {"namespaces": sorted({*settings.watch_namespaces, *also})}
