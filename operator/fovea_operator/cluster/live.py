"""Progress from the operator's memory, for clients that show tickets.

A job's ticket stands in its status, so the API server has decided who may have it: those who may read the job. A ticket
that is wrong and one that is out of date get the same answer, none.
"""

import asyncio
from collections.abc import Sequence

from aiohttp import web
from fovea_api.contract.report import MAX_TICKETS, TICKETS_HEADER
from fovea_api.v1alpha1.live_progress import LiveAnswer, LiveProgress

from fovea_operator.reconcile.training import progress
from fovea_operator.reconcile.training.pace import progress_with

from .progress import Kept, Reports

_RATE = 2_000.0
"""Tickets a second for which answers are made: 30 to 90 µs each, so at most a fifth of a core."""
_BURST = 4_000.0


class Allowance:
    """`rate` units a second, and up to `burst` of them at once after a pause."""

    def __init__(self, rate: float = _RATE, burst: float = _BURST) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, 0.0

    def take(self, units: float, now: float) -> bool:
        """Take that many, if they are there at `now` (seconds of a monotonic clock)."""
        left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._left, self._at = left, now
        if units > left:
            return False
        self._left -= units
        return True


class LiveReports:
    """The HTTP endpoint that clients read from. Only the leader has reports; a standby finds none."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._allowance = Allowance()

    async def get(self, request: web.Request) -> web.Response:
        """200 with a LiveAnswer; 400 without tickets or with too many of them, 429 when there are too many requests."""
        given = request.headers.get(TICKETS_HEADER, "")
        tickets = [ticket for part in given.split(",") if (ticket := part.strip())]
        if not 0 < len(tickets) <= MAX_TICKETS:
            return web.Response(status=400, text=f"1 to {MAX_TICKETS} tickets are needed in {TICKETS_HEADER}\n")
        now = asyncio.get_running_loop().time()
        if not self._allowance.take(len(tickets), now):
            return web.Response(status=429, text="too many requests; try again\n", headers={"Retry-After": "1"})
        return web.Response(
            text=self.answer(tickets, now).model_dump_json(by_alias=True, exclude_none=True),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    def answer(self, tickets: Sequence[str], now: float) -> LiveAnswer:
        """What is known of the tickets' jobs at `now` (seconds of the monotonic clock)."""
        found = {ticket: self._reports.shown(ticket) for ticket in tickets}
        return LiveAnswer(found={ticket: _shown(kept, now) for ticket, kept in found.items() if kept is not None})


def _shown(kept: Kept, now: float) -> LiveProgress:
    # The report is what a pod says: it is held to the bounds of a status.
    fields = progress.fields(kept.report)
    said = fields.get("progress")
    return LiveProgress(
        progress=progress_with(said, kept.track.pace) if said is not None else None,
        checkpoint=fields.get("checkpoint"),
        age_seconds=round(max(0.0, now - kept.arrived), 1),
    )
