"""Progress reports of agents: the pod-bound token names the pod that posts; the newest report per pod is kept in memory.

Clients read them there (`live.py`).
"""

import asyncio
import base64
import hashlib
import json
import logging
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web
from fovea_api.contract import names
from fovea_api.contract.report import PROGRESS_PATH, ProgressAnswer, ProgressReport

from fovea_operator.errors import ApiError
from fovea_operator.reconcile.shared.counts import counted
from fovea_operator.reconcile.shared.observed import Heard
from fovea_operator.reconcile.training.pace import Track

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024
"""More than `MAX_REPORT_BYTES`: agents keep within that."""
_VERDICT_SECONDS = 300.0
"""For a token that does not say when it ends."""
_LONGEST_SECONDS = 86_400.0
_REFUSAL_SECONDS = 10.0
_MAX_VERDICTS = 20_000
_MAX_REFUSALS = 2_000
_MAX_REVIEWS = 8
"""Reviews at the same time: a client with made-up tokens must not take the API server from the reconciles."""
_TICKET_BYTES = 16
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_USER = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")


@dataclass(frozen=True)
class Sender:
    """The pod that a token is bound to."""

    namespace: str
    pod: str
    uid: str
    account: str = field(default="", compare=False)
    """Its ServiceAccount; the rest says which pod it is."""


@dataclass(frozen=True)
class Kept:
    """The newest report of a pod."""

    report: ProgressReport
    arrived: float
    """Seconds of the monotonic clock."""
    ticket: str
    """Shows the report to a client. It cannot be guessed, and stands only in the status of the pod's job."""
    track: Track = field(default_factory=Track)
    """The steps of the newest reports."""

    @property
    def heard(self) -> Heard:
        """What a decision learns of it."""
        return Heard(self.report, self.track.pace)


class Reports:
    """Newest report per pod. For reports that only change numbers, a job is decided on at most once per period.

    Each such decision writes a status. So the period grows with the number of pods that report: together they cause at most
    `rate` writes per second. Any other change, such as a checkpoint, the end of the program or a store that does not answer,
    is decided on at once; a store that goes and comes back, once in a period. Numbers of pods that do not lead their job are
    written together with its own: no decision is made for them.
    """

    def __init__(
        self,
        period: float,
        wake: Callable[[str, str, float], None],
        rate: float = 20.0,
        leads: Callable[[str, str], bool] = lambda _namespace, _pod: True,
        is_one_of_many: Callable[[str, str], bool] = lambda _namespace, _pod: False,
    ) -> None:
        """`period`: the shortest period, in seconds. `wake` gets namespace, pod and the seconds after which its job must be decided on.

        `leads`: whether the pod of a namespace and a name reports the progress of its job. `is_one_of_many`: whether it is one of
        up to a thousand whose reports are looked at together: `wake` then puts off what comes too soon, and the period of others
        does not grow with them.
        """
        self._shortest = period
        self._rate = rate
        self._wake = wake
        self._leads = leads
        self._is_one_of_many = is_one_of_many
        # By uid: a pod of the same name may follow, of a namesake of the job.
        self._latest: dict[str, Kept] = {}
        self._uids: dict[str, str] = {}  # by ticket
        self._turned: dict[str, float] = {}  # when the store went or came back for the pod, as it was looked at at once
        self._looked: dict[str, float] = {}  # when the pod's job is (or was) looked at for a report

    def latest(self, uid: str) -> ProgressReport | None:
        """The newest report of the pod with that uid."""
        kept = self._latest.get(uid)
        return kept.report if kept is not None else None

    def heard(self, uid: str) -> Heard | None:
        """What the pod with that uid has reported."""
        kept = self._latest.get(uid)
        return kept.heard if kept is not None else None

    def ticket(self, uid: str) -> str:
        """The ticket for the reports of the pod with that uid; empty while there are none."""
        kept = self._latest.get(uid)
        return kept.ticket if kept is not None else ""

    def shown(self, ticket: str) -> Kept | None:
        """The report that a ticket is for."""
        uid = self._uids.get(ticket)
        return self._latest.get(uid) if uid is not None else None

    def put(self, sender: Sender, report: ProgressReport, now: float) -> None:
        """Take in a report at `now` (seconds of a monotonic clock)."""
        kept = self._latest.get(sender.uid)
        ticket = kept.ticket if kept is not None else secrets.token_urlsafe(_TICKET_BYTES)
        track = (kept.track if kept is not None else Track()).then(counted(report.step), now)
        self._latest[sender.uid] = Kept(report, now, ticket, track)
        self._uids[ticket] = sender.uid
        before = kept.report if kept is not None else None
        if before == report:
            return
        if self._is_one_of_many(sender.namespace, sender.pod):
            self._wake(sender.namespace, sender.pod, 0.0)
            return
        if not self._leads(sender.namespace, sender.pod):
            if before is None or _as_news(before) != _as_news(report):
                self._wake(sender.namespace, sender.pod, 0.0)
            return
        looked = self._looked.get(sender.uid)
        is_news = before is None or _as_news(before) != _as_news(report) or self._turns(sender.uid, before, report, now)
        if looked is not None and looked > now and not is_news:
            return  # its job will be looked at then anyway
        due = now if looked is None or is_news else max(now, looked + self.period)
        self._looked[sender.uid] = due
        self._wake(sender.namespace, sender.pod, due - now)

    def _turns(self, uid: str, before: ProgressReport, report: ProgressReport, now: float) -> bool:
        """Whether the store has gone or come back for a pod: news once in a period, since a busy store may do so at each report."""
        same = before.store_unreachable_since == report.store_unreachable_since
        if same or now < self._turned.get(uid, -math.inf) + self.period:
            return False
        self._turned[uid] = now
        return True

    @property
    def period(self) -> float:
        """Seconds between two decisions on a job for the numbers in its reports."""
        return max(self._shortest, len(self._looked) / self._rate)

    def ended(self, uid: str) -> None:
        """The pod has ended: it reports no more, and its last report stays for the decision on it."""
        self._looked.pop(uid, None)
        self._turned.pop(uid, None)

    def forget(self, uid: str) -> None:
        """The pod (or whatever had that uid) is gone."""
        kept = self._latest.pop(uid, None)
        if kept is not None:
            del self._uids[kept.ticket]
        self.ended(uid)


def _as_news(report: ProgressReport) -> ProgressReport:
    """All of a report that is always news: not how far the program is, nor whether the store answers."""
    there = replace(report, store_unreachable_since="")
    return replace(there, step=None, steps=None, epoch=None, epochs=None, metrics={}, metrics_left_out=0)


class Doorkeeper:
    """Finds the pod that a token is bound to. Asks the API server once per token, and remembers a valid token until it expires.

    A token is only valid as long as its pod exists: the caller checks this each time.
    """

    def __init__(
        self, review: Callable[[str, str], Awaitable[dict[str, Any]]], wall_clock: Callable[[], float] = time.time
    ) -> None:
        """`review`: the status of a TokenReview of (token, audience)."""
        self._review = review
        self._wall_clock = wall_clock
        self._reviews = asyncio.Semaphore(_MAX_REVIEWS)
        self._verdicts: dict[bytes, tuple[float, Sender]] = {}
        self._refusals: dict[bytes, float] = {}  # apart: a flood of them must not drive out good verdicts

    async def sender_of(self, request: web.Request, now: float) -> Sender | web.Response | None:
        """The pod that sent a request, None for a stranger; a response where neither can be known."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return web.Response(status=401, text="a bearer token of the pod is needed\n")
        try:
            return await self.sender(token.strip(), now)
        except ApiError as error:
            log.warning("cannot review a token", extra={"error": str(error)})
            return web.Response(status=503, text="the API server did not answer; try again\n")

    async def sender(self, token: str, now: float) -> Sender | None:
        """The pod, or None when the token is not one of a pod for our audience. Raises ApiError."""
        claims = _claims(token)
        claimed = claims.get("aud")
        if names.REPORT_TOKEN_AUDIENCE not in (claimed if isinstance(claimed, list) else [claimed]):
            return None
        ends = now + self._seconds_left(claims)
        digest = hashlib.sha256(token.encode()).digest()
        if not self._is_known(digest, now):
            async with self._reviews:
                # Another request with the same token may have asked while this one waited for its turn.
                if not self._is_known(digest, now):
                    review = await self._review(token, names.REPORT_TOKEN_AUDIENCE)
                    self._remember(digest, _sender(review), now, ends)
        known = self._verdicts.get(digest)
        return known[1] if known is not None else None

    def _is_known(self, digest: bytes, now: float) -> bool:
        known = self._verdicts.get(digest)
        return (known is not None and known[0] > now) or self._refusals.get(digest, 0.0) > now

    def _seconds_left(self, claims: dict[str, Any]) -> float:
        """Seconds until the token expires, as the token itself says. Use it only after the API server has authenticated the token."""
        end = claims.get("exp")
        if not isinstance(end, (int, float)) or isinstance(end, bool) or not 0 < end < 2**53:
            return _VERDICT_SECONDS
        return min(max(end - self._wall_clock(), 0.0), _LONGEST_SECONDS)

    def _remember(self, digest: bytes, sender: Sender | None, now: float, ends: float) -> None:
        # Popped first, so that the oldest stands first.
        self._verdicts.pop(digest, None)
        self._refusals.pop(digest, None)
        if sender is not None:
            self._verdicts[digest] = (ends, sender)
        else:
            self._refusals[digest] = now + _REFUSAL_SECONDS
        if len(self._verdicts) > _MAX_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        if len(self._refusals) > _MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]


def _claims(token: str) -> dict[str, Any]:
    """The claims of a token. They are not verified: use them only to refuse a token without asking the API server."""
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _sender(status: dict[str, Any]) -> Sender | None:
    if not status.get("authenticated") or names.REPORT_TOKEN_AUDIENCE not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    match = _USER.fullmatch(user.get("username") or "")
    extra = user.get("extra") or {}
    pod, uid = extra.get(_POD_NAME) or [], extra.get(_POD_UID) or []
    if match is None or not pod or not uid:
        return None
    return Sender(match.group(1), pod[0], uid[0], match.group(2))


def refused() -> web.Response:
    """The answer to a stranger."""
    return web.Response(status=403, text="the token is not one of a training pod of Fovea\n")


class Desk:
    """The HTTP endpoint that agents post to."""

    def __init__(
        self, reports: Reports, doorkeeper: Doorkeeper, answer_to: Callable[[Sender], ProgressAnswer | None]
    ) -> None:
        """`answer_to`: the answer for the sender's pod; None if it is not a known training pod."""
        self._reports = reports
        self._doorkeeper = doorkeeper
        self._answer_to = answer_to

    def application(self) -> web.Application:
        """An application with the one route."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_post(PROGRESS_PATH, self.post)
        return application

    async def post(self, request: web.Request) -> web.Response:
        """Take in a report: 200 with a ProgressAnswer, or 204; 401 no token, 403 a stranger, 400 malformed, 503 when the API server is away."""
        now = asyncio.get_running_loop().time()
        sender = await self._doorkeeper.sender_of(request, now)
        if isinstance(sender, web.Response):
            return sender
        # Read the body first: the pod may be deleted while the body arrives.
        body = await request.text() if sender is not None else ""
        answer = self._answer_to(sender) if sender is not None else None
        if sender is None or answer is None:
            return refused()
        try:
            report = ProgressReport.from_json(body)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        self._reports.put(sender, report, now)
        said = answer.to_json()
        return web.Response(text=said, content_type="application/json") if said else web.Response(status=204)
