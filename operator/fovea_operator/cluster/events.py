"""Kubernetes Events: written in the background, deduplicated and rate-limited, so that they never slow the reconciles down."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fovea_api.contract import labels, text

from fovea_operator.errors import ApiError
from fovea_operator.reconcile.shared.decision import Event, GroupVersionKind

log = logging.getLogger(__name__)

_MAX_MESSAGE = 1024  # bytes: the API server's limit
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Subject:
    """The object that an event is about."""

    gvk: GroupVersionKind
    namespace: str
    name: str
    uid: str


class Dedupe:
    """Decides whether an event is written: the same reason and message of one object only once per `seconds`. Pure."""

    def __init__(self, seconds: float = 600.0, remembered: int = _REMEMBERED) -> None:
        self._seconds = seconds
        self._remembered = remembered
        self._written: dict[tuple[str, str, str, str], float] = {}

    def is_new(self, subject: Subject, event: Event, now: float) -> bool:
        """Whether the event was not written recently. Remembers the event."""
        place = (subject.uid, event.reason, event.message, event.ended_as)
        last = self._written.pop(place, None)
        self._written[place] = now if last is None or now - last >= self._seconds else last
        if len(self._written) > self._remembered:
            del self._written[next(iter(self._written))]
        return last is None or now - last >= self._seconds


class Announcer:
    """Writes events one after the other, at most `rate` per second on average."""

    def __init__(
        self,
        create: Callable[[dict[str, Any]], Awaitable[Any]],
        dropped: Callable[[], None],
        *,
        instance: str,
        rate: float,
        backlog: int = 2000,
    ) -> None:
        """`dropped` is called for each event that the full backlog drops, the oldest one first."""
        self._create = create
        self._dropped = dropped
        self._instance = instance
        self._pause = 1.0 / rate
        self._backlog: deque[dict[str, Any]] = deque()
        self._limit = backlog
        self._dedupe = Dedupe()
        self._arrived = asyncio.Event()

    def announce(self, subject: Subject, event: Event) -> None:
        """Queue an event unless it was written recently."""
        if not self._dedupe.is_new(subject, event, time.monotonic()):
            return
        if len(self._backlog) >= self._limit:
            self._backlog.popleft()
            self._dropped()
        self._backlog.append(manifest(subject, event, self._instance, datetime.now(UTC)))
        self._arrived.set()

    async def run(self) -> None:
        """Write queued events, without end."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._backlog:
                body = self._backlog.popleft()
                try:
                    await self._create(body)
                except ApiError as error:
                    # Not worth a retry: the object may be gone, or its namespace may be ending.
                    log.info("event not written", extra={"event": body["metadata"]["name"], "error": str(error)})
                await asyncio.sleep(self._pause)


def manifest(subject: Subject, event: Event, instance: str, now: datetime) -> dict[str, Any]:
    """The Event object."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{subject.name}.{time.time_ns():x}",
            "namespace": subject.namespace,
            **({"labels": {labels.ENDED_AS: event.ended_as}} if event.ended_as else {}),
        },
        "involvedObject": {
            "apiVersion": subject.gvk.api_version,
            "kind": subject.gvk.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": text.cut(event.message, _MAX_MESSAGE),
        "source": {"component": labels.FIELD_MANAGER},
        "reportingComponent": labels.FIELD_MANAGER,
        "reportingInstance": instance[:128],
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
