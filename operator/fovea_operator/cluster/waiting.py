"""Requests that wait at the activator: it says so while there are any, and hears whether a version can start at all."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from fovea_api.contract.waiting import WaitingAnswer, WaitingReport

from fovea_operator.reconcile.shared.traffic import Held

from .keys import Key
from .progress import Doorkeeper, Sender

log = logging.getLogger(__name__)

_STALE_SECONDS = 5.0
"""The activator reports every second: after so long without a word it holds nothing any more, or is gone."""


_SILENT_SECONDS = 15.0
"""After so long without a word no activator is there."""


@dataclass
class _Reported:
    requests: int
    at: float
    since: datetime


class Waiting:
    """What activators hold, by ModelDeployment, and whether there are any."""

    def __init__(self) -> None:
        self._held: dict[Key, dict[str, _Reported]] = {}
        self._begun: float | None = None
        self._heard: float | None = None

    def heard(self, now: float) -> None:
        """An activator has said something."""
        self._heard = now

    def answers(self, now: float) -> bool | None:
        """Whether one was heard of lately; None: nobody has listened long enough to know."""
        self._begun = now if self._begun is None else self._begun
        if self._heard is not None and now < self._heard + _SILENT_SECONDS:
            return True
        return False if now >= self._begun + _SILENT_SECONDS else None

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever activators come or are silent."""
        loop = asyncio.get_running_loop()
        before = self.answers(loop.time())
        while True:
            await asyncio.sleep(_STALE_SECONDS)
            now = self.answers(loop.time())
            if now != before:
                log.log(logging.INFO if now else logging.WARNING, "activators", extra={"answer": now})
                changed()
            before = now

    def put(self, key: Key, activator: str, requests: int, now: float) -> bool:
        """Take in a report of one activator; whether it is news."""
        before = self.of(key, now)
        held = self._held.setdefault(key, {})
        if requests:
            begun = held[activator].since if activator in held else datetime.now(UTC)
            held[activator] = _Reported(requests, now, begun)
        else:
            held.pop(activator, None)
        after = self.of(key, now)
        return (before and before.requests) != (after and after.requests)

    def of(self, key: Key, now: float) -> Held | None:
        """What all of them hold; None: nothing."""
        there = [each for each in self._held.get(key, {}).values() if each.at > now - _STALE_SECONDS]
        if not there:
            self._held.pop(key, None)
            return None
        return Held(sum(each.requests for each in there), min(each.since for each in there))


class WaitingRoom:
    """The HTTP endpoint that activators post to."""

    def __init__(
        self,
        waiting: Waiting,
        doorkeeper: Doorkeeper,
        activator: str,
        key_of: Callable[[str, str], Key | None],
        answer: Callable[[Key, str], str],
        wake: Callable[[Key], None],
    ) -> None:
        """`activator`: <namespace>/<name> of its ServiceAccount. `key_of`: None for a ModelDeployment that does not exist.

        `answer`: why requests to it, for the version with that Service, are to wait no longer; empty while they may.
        """
        self._waiting, self._doorkeeper, self._activator = waiting, doorkeeper, activator
        self._key_of, self._answer, self._wake = key_of, answer, wake

    async def post(self, request: web.Request) -> web.Response:
        """Take in a report: 200 with a WaitingAnswer; 401 no token, 403 a stranger, 400 malformed, 503 when the API server is away."""
        now = asyncio.get_running_loop().time()
        sender = await self._doorkeeper.sender_of(request, now)
        if isinstance(sender, web.Response):
            return sender
        if sender is None or not self._activator or f"{sender.namespace}/{sender.account}" != self._activator:
            return web.Response(status=403, text="the token is not one of Fovea's activator\n")
        try:
            report = WaitingReport.from_json(await request.text())
        except (ValueError, json.JSONDecodeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.json_response(text=self._take(sender, report, now).to_json())

    def _take(self, sender: Sender, report: WaitingReport, now: float) -> WaitingAnswer:
        self._waiting.heard(now)
        if not report.name:
            return WaitingAnswer()
        key = self._key_of(report.namespace, report.name)
        if key is None:
            return WaitingAnswer(unavailable=f"ModelDeployment {report.name} does not exist in {report.namespace}")
        if self._waiting.put(key, f"{sender.uid}/{report.version}", report.requests, now):
            self._wake(key)
        return WaitingAnswer(unavailable=self._answer(key, report.version))
