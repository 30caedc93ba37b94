"""Places of jobs in their queues. Kueue says them only when it is asked: no object holds them, and no watch reports them."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from fovea_operator.errors import ApiError
from fovea_operator.reconcile.training import quota

from .cache import Cache
from .client import ApiClient
from .resources import VISIBLE_QUEUE

log = logging.getLogger(__name__)
Name = tuple[str, str]
"""Namespace and name of a Workload."""


class Positions:
    """The places that were heard last, rounded as statuses have them."""

    def __init__(self) -> None:
        self._known: dict[Name, int] = {}

    def of(self, namespace: str, workload: str) -> int | None:
        """The place of a Workload in its LocalQueue, from 1; None: it has none, or Kueue does not say."""
        return self._known.get((namespace, workload))

    def replace(self, known: dict[Name, int]) -> Iterable[Name]:
        """Take in all places; the Workloads whose place has changed."""
        before, self._known = self._known, known
        return [name for name in before.keys() | known.keys() if before.get(name) != known.get(name)]


class Positioning:
    """Asks Kueue for the order of the queues in which jobs wait."""

    def __init__(
        self, client: ApiClient, cache: Cache, positions: Positions, wake: Callable[[str, str], None], seconds: float
    ) -> None:
        """`wake` gets namespace and name of a Workload whose place has changed."""
        self._client = client
        self._cache = cache
        self._positions = positions
        self._wake = wake
        self._seconds = seconds
        self._silent = False

    async def run(self) -> None:
        """Ask again and again."""
        while True:
            await asyncio.sleep(self._seconds)
            for namespace, workload in self._positions.replace(await self._ask()):
                self._wake(namespace, workload)

    async def _ask(self) -> dict[Name, int]:
        waiting = {
            (entry.record.namespace, entry.record.queue)
            for _, entry in self._cache.queued
            if entry.record.condition("QuotaReserved") is None and entry.record.condition("Finished") is None
        }
        found: dict[Name, int] = {}
        for namespace, queue in sorted(waiting):
            path = VISIBLE_QUEUE.path(namespace, queue, "pendingworkloads")
            try:
                answer = await self._client.request("get", VISIBLE_QUEUE, "GET", path)
            except ApiError as error:
                # Kueue's visibility may be off. Jobs wait all the same; only their places are not said.
                if not self._silent:
                    log.warning("no places in queues", extra={"queue": f"{namespace}/{queue}", "error": str(error)})
                self._silent = True
                continue
            self._silent = False
            for item in answer.get("items") or ():
                place = int(item.get("positionInLocalQueue") or 0) + 1
                found[namespace, item["metadata"]["name"]] = quota.rounded(place)
        return found
