"""Finds out which optional kinds the API server serves and lets us read. These kinds are listed and watched; other kinds are forgotten."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from fovea_operator.errors import ApiError, Gone, Refused
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.settings import Settings

from .cache import Cache, Store
from .client import ApiClient
from .intake import Intake, list_kind
from .resources import Resource

log = logging.getLogger(__name__)
_REFUSALS = 6
"""So many looks in a row have to be refused before a kind that could be read is left out: an API server that starts refuses for seconds."""


class Watch(Protocol):
    """A watch that was begun."""

    @property
    def ended(self) -> bool:
        """Whether it ended by itself."""

    async def stop(self) -> None:
        """End it: no event comes afterwards."""


class Discovery:
    """Keeps `Cache.served` up to date, and begins and ends the watches of optional kinds: those with a store in the cache."""

    def __init__(
        self,
        client: ApiClient,
        cache: Cache,
        intake: Intake,
        settings: Settings,
        begin: Callable[[Resource], Watch],
    ) -> None:
        """`begin` begins to watch a kind."""
        self._client = client
        self._cache = cache
        self._intake = intake
        self._settings = settings
        self._begin = begin
        self._watches: dict[GroupVersionKind, Watch] = {}
        self._refused: dict[GroupVersionKind, int] = {}
        """How many looks in a row were refused."""
        self.in_doubt = False
        """Whether the last look left a doubt about a kind, so that another one soon is worth while.

        There was no answer about a kind that is not known, or a refusal of one that is.
        """

    async def look(self) -> bool:
        """Ask the API server for each optional kind. True: a kind is newly served or no longer served. Never raises an `ApiError`."""
        before, self.in_doubt = self._cache.served, False
        for store in self._cache.stores:
            if store.resource.optional:
                await self._look_for(store)
        return self._cache.served != before

    async def stop(self) -> None:
        """End all watches."""
        while self._watches:
            _, watch = self._watches.popitem()
            await watch.stop()

    async def _look_for(self, store: Store[Any]) -> None:
        resource = store.resource
        try:
            served = await self._client.is_served(resource)
            if served:
                await list_kind(self._client, self._cache, self._intake, self._settings, resource)
        except Gone:
            served = False  # it went between the two
        except Refused as error:
            if not self._is_left_out(resource, error):
                return  # its known objects stay
            served = False
        except ApiError as error:
            log.warning("cannot look for an optional kind", extra={"kind": resource.gvk, "error": str(error)})
            self.in_doubt = self.in_doubt or resource.gvk not in self._cache.served
            return  # its known objects stay
        if served:
            self._watch(resource)
        else:
            await self._forget(resource)

    def _is_left_out(self, resource: Resource, error: Refused) -> bool:
        """Whether a refusal counts. Says so once: the operator may have been given no right on purpose."""
        times = self._refused[resource.gvk] = self._refused.get(resource.gvk, 0) + 1
        is_known = resource.gvk in self._cache.served
        if is_known and times < _REFUSALS:
            log.warning("an optional kind is refused; asking again", extra={"kind": resource.gvk, "error": str(error)})
            self.in_doubt = True
            return False
        if is_known or times == 1:
            log.warning("an optional kind is left out", extra={"kind": resource.gvk, "error": str(error)})
        return True

    def _watch(self, resource: Resource) -> None:
        self._refused.pop(resource.gvk, None)
        known = self._watches.get(resource.gvk)
        if known is not None and not known.ended:
            return
        if known is None:
            log.info("an optional kind is served", extra={"kind": resource.gvk})
        self._watches[resource.gvk] = self._begin(resource)
        self._cache.served |= {resource.gvk}

    async def _forget(self, resource: Resource) -> None:
        watch = self._watches.pop(resource.gvk, None)
        if watch is not None:
            log.info("an optional kind is not served any more", extra={"kind": resource.gvk})
            await watch.stop()
        self._cache.served -= {resource.gvk}
        self._intake.forget(resource.gvk)
