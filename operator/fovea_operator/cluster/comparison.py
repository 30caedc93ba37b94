"""Compares the cache with the API server by the metadata of all objects, and fetches only what differs.

Uid and resourceVersion show what a watch has missed. For tens of thousands of unchanged objects, nothing else has to be sent,
read or compared.
"""

from fovea_api.contract import labels

from fovea_operator.settings import Settings

from . import records, resources
from .cache import Cache, Name, Store
from .client import ApiClient
from .intake import Intake, as_of_list, check_item, list_kind, scopes
from .resources import Resource

_LIST_INSTEAD = 100
"""From this number of differences on, a list of the whole kind costs less."""
_SHARE = 0.005
"""Share of a core that regular comparisons may use: half of the share that an idle operator may use."""
_LONGEST_PAUSE_SECONDS = 3600.0


def pause_after(cost: float, least: float) -> float:
    """Seconds until the next regular comparison after one that took `cost` seconds of processor time.

    At least `least`, and at most an hour (or `least`, if that is longer). A comparison finds the changes that no watch reported.
    """
    return max(least, min(cost / _SHARE, _LONGEST_PAUSE_SECONDS))


async def compare_all(client: ApiClient, cache: Cache, intake: Intake, settings: Settings) -> None:
    """Take in new, changed and deleted objects of all kinds that are not optional. Raises `ApiError`."""
    for resource in resources.WATCHED:
        store = cache.store(resource.gvk)
        if store is not None and not await _compare(client, store, intake, settings):
            await list_kind(client, cache, intake, settings, resource)


async def _compare(client: ApiClient, store: Store[object], intake: Intake, settings: Settings) -> bool:
    """Compare one kind; False, and nothing done, when too much differs."""
    resource = store.resource
    for namespace in scopes(resource, settings):
        differing: list[Name] = []
        listed: set[str] = set()
        as_of, newest = 0, store.newest
        async for items, version in client.pages(resource, namespace, _label(resource), only_metadata=True):
            as_of = as_of or as_of_list(resource, version, newest)
            for item in items:
                check_item(store, item, newest)
                metadata = item["metadata"]
                place = (metadata.get("namespace") or "", metadata["name"])
                listed.add(metadata["uid"])
                if not store.is_known(place, metadata["uid"], records.version(item)):
                    differing.append(place)
            if len(differing) >= _LIST_INSTEAD:
                return False
        for where, name in differing:
            async for items, _ in client.pages(resource, where, _label(resource), name=name):
                for item in items:
                    intake.seen(resource.gvk, item)
        intake.missing(store, namespace, listed, as_of)
    return True


def _label(resource: Resource) -> str:
    return labels.MANAGED_SELECTOR if resource.labelled else ""
