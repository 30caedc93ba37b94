"""Reads from the gateway's proxies how many requests versions get: while a candidate gets some, and where they decide on the number of pods.

Only differences between readings count, so proxies may restart, and a new leader begins with nothing: it decides later, not
wrongly.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import aiohttp

from fovea_operator.errors import ApiError
from fovea_operator.reconcile.shared.traffic import Load, Traffic
from fovea_operator.settings import Settings

from .client import ApiClient
from .comparators import comparator_url, read_compared
from .envoy import Ledger, Service, read, url
from .keys import Key
from .load import LoadWindow
from .resources import ENDPOINT_SLICE
from .watched import Watched

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 2.0
_PROXIES_SECONDS = 10.0
"""How often the proxies' addresses are asked for."""
_STALE = timedelta(seconds=10)
_FORGOTTEN_SECONDS = 120.0
"""A ModelDeployment for which nobody has asked so long is gone, or not decided on: a key waits a minute at most for its back-off."""
_LONGEST_TROUBLE = 200
_LARGEST_ANSWER = 4 << 20
"""Bytes of one answer that are read."""
_NOT_YET = "no reading yet"


class TrafficReader:
    """Counts for the decisions that ask for them (`look`), and wakes their objects with every reading."""

    def __init__(self, client: ApiClient, settings: Settings, wake: Callable[[Key], None]) -> None:
        self._client = client
        self._settings = settings
        self._wake = wake
        self._watched: dict[Key, Watched] = {}
        self._loads: dict[Key, LoadWindow] = {}
        self._wanted = asyncio.Event()
        self._ledger = Ledger()
        self._proxies: dict[str, bool] = {}
        """By address: whether it must answer. One that is ending finishes requests, as long as it can."""
        self._heard: dict[str, datetime] = {}
        self._unfound = ""
        self._trouble = _NOT_YET
        self._read_at: datetime | None = None

    @property
    def reads(self) -> bool:
        """Whether there is a gateway whose proxies show what they count."""
        return bool(self._settings.gateway and self._settings.gateway_statistics_port)

    @property
    def _stale(self) -> timedelta:
        """How old a reading is that says nothing of now: one is missed, whatever the pause between them."""
        return max(_STALE, timedelta(seconds=3 * self._settings.statistics_seconds))

    def look(
        self,
        key: Key,
        deployments: Iterable[str],
        since: str | None,
        comparators: Iterable[str] = (),
        *,
        has_step: bool = True,
    ) -> Traffic | None:
        """What is known of these versions since then; None where nothing counts. From now on it is read.

        `comparators`: addresses of the pods that compare their answers. `has_step`: whether the candidate has one, so that every
        reading is worth a decision.
        """
        if not self.reads:
            return None
        services = tuple(Service(key.namespace, name) for name in sorted(deployments))
        known = self._watched.get(key)
        if known is None or known.services != services:
            known = self._watched[key] = Watched(services)
            self._wanted.set()
        known.asked = asyncio.get_running_loop().time()
        known.comparators, known.has_step = tuple(sorted(comparators)), has_step
        if since != known.since:
            known.from_(since)
        return known.traffic(self._trouble or (self._uncounted(services) if known.is_read else ""))

    def forget(self, key: Key) -> None:
        """Nobody asks for the requests of that ModelDeployment any more."""
        self._watched.pop(key, None)

    def load(self, key: Key, deployments: Iterable[str], stabilization: float) -> Load | None:
        """Requests under way to these versions; None where nothing counts. From now on it is read.

        `stabilization`: seconds of readings that the decision goes by.
        """
        if not self.reads:
            return None
        services = tuple(Service(key.namespace, name) for name in sorted(deployments))
        known = self._loads.get(key)
        if known is None:
            known = self._loads[key] = LoadWindow(services, stabilization)
            self._wanted.set()
        if known.services != services:
            known.name(services)
        known.stabilization = stabilization
        known.asked = asyncio.get_running_loop().time()
        return known.load(self._trouble)

    def forget_load(self, key: Key) -> None:
        """The number of pods of that ModelDeployment does not depend on requests now."""
        self._loads.pop(key, None)

    async def run(self) -> None:
        """Read again and again, while anything is asked for."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)) as session:
            asked = 0.0
            loop = asyncio.get_running_loop()
            while True:
                await self._wanted.wait()
                if not self._watched and not self._loads:
                    self._wanted.clear()
                    self._ledger, self._trouble, asked = Ledger(), _NOT_YET, 0.0
                    continue
                try:
                    if not self._proxies or loop.time() >= asked + _PROXIES_SECONDS:
                        await self._find_proxies()
                        asked = loop.time()
                    await self._read(session)
                except Exception as error:
                    # Whatever somebody answers: rollouts wait, and the operator goes on.
                    log.exception("reading the gateway's counts failed: a defect of Fovea")
                    self._say(f"an unexpected error ({type(error).__name__}); the operator's log has it")
                await asyncio.sleep(self._settings.statistics_seconds)

    async def _find_proxies(self) -> None:
        namespace, _, service = self._settings.gateway_proxies.partition("/")
        path = f"{ENDPOINT_SLICE.path(namespace)}?labelSelector=kubernetes.io/service-name%3D{service}"
        try:
            answer = await self._client.request("list", ENDPOINT_SLICE, "GET", path)
        except ApiError as error:
            self._unfound = f"the addresses of Service {namespace}/{service} cannot be read: {error}"
            return
        self._unfound = f"Service {namespace}/{service} has no proxies"
        slices = answer.get("items") or ()
        # A proxy of both families has an address in each: it is read once.
        family = min((item.get("addressType") or "" for item in slices), default="")
        self._proxies = {
            address: (endpoint.get("conditions") or {}).get("serving") is not False
            for item in slices
            if (item.get("addressType") or "") == family
            for endpoint in item.get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
        }

    async def _read(self, session: aiohttp.ClientSession) -> None:
        late = asyncio.get_running_loop().time() - _FORGOTTEN_SECONDS
        self._watched = {key: watched for key, watched in self._watched.items() if watched.asked > late}
        self._loads = {key: window for key, window in self._loads.items() if window.asked > late}
        judged = {service for watched in self._watched.values() for service in watched.services}
        loaded = {service for window in self._loads.values() for service in window.services} - judged
        self._ledger.keep(self._proxies, judged | loaded)
        asked = list(self._proxies.items())
        answers = await asyncio.gather(*(self._ask(session, proxy, judged, loaded) for proxy, _ in asked))
        now = datetime.now(UTC)
        lost = self._lost(dict(zip((proxy for proxy, _ in asked), answers, strict=True)), now)
        failures = [
            answer
            for (_, must_answer), answer in zip(asked, answers, strict=True)
            if answer is not None and must_answer
        ]
        if None in answers:
            self._read_at, self._trouble = now, ""
        elif self._read_at is None or now > self._read_at + self._stale:
            self._say(failures[0] if failures else self._unfound)
        # While it is read, decisions ask for others and forget some.
        there = list(self._watched.items())
        await asyncio.gather(*(self._compare(session, watched) for _, watched in there))
        for key, watched in there:
            if None in answers:
                watched.add(now, {service: self._ledger.of(service) for service in watched.services})
            if watched.has_step or watched.asked < late + _FORGOTTEN_SECONDS / 2:
                self._wake(key)
        if None in answers:
            self._read_loads(now, failures[0] if failures else "", is_gap=any(self._proxies.get(at) for at in lost))
        else:
            for window in self._loads.values():
                window.trouble = failures[0] if failures else self._unfound

    def _lost(self, answers: Mapping[str, str | None], now: datetime) -> set[str]:
        """The proxies that had not answered for a while before now. What was under way there is not counted while they do not."""
        lost = {at for at in answers if now > self._heard.get(at, now) + self._stale}
        for proxy in lost:
            if answers[proxy] is not None:
                self._ledger.lose(proxy)
        self._heard = {at: now if said is None else self._heard.get(at, now) for at, said in answers.items()}
        return lost

    def _read_loads(self, now: datetime, trouble: str, *, is_gap: bool) -> None:
        """What the proxies that answer have. Requests at another one are not known: no pod ends, and more may start."""
        for key, window in list(self._loads.items()):
            uncounted = self._uncounted(window.services)
            sums = {service: self._ledger.of(service) for service in window.services}
            window.add(now, sums, trouble or uncounted, is_gap=is_gap or bool(uncounted))
            if window.is_news:
                self._wake(key)

    def _uncounted(self, services: Iterable[Service]) -> str:
        """What is wrong where proxies answer, and count nothing for one of these."""
        missing = next((of for of in services if not self._ledger.counts(of)), None)
        if missing is None:
            return ""
        return (
            f"no proxy knows Service {missing.namespace}/{missing.name}: another policy keeps its routes from merged "
            "backends, or they are not set up yet"
        )

    async def _ask(
        self, session: aiohttp.ClientSession, proxy: str, judged: Collection[Service], loaded: Collection[Service]
    ) -> str | None:
        """Take in one proxy's counts; what went wrong, else None."""
        address = url(proxy, self._settings.gateway_statistics_port, judged, loaded)
        try:
            self._ledger.take(proxy, read(await _text(session, address)), loaded)
        except (aiohttp.ClientError, TimeoutError, ValueError, ArithmeticError) as error:
            return f"proxy {proxy}: {error or type(error).__name__}"[:_LONGEST_TROUBLE]
        return None

    async def _compare(self, session: aiohttp.ClientSession, watched: Watched) -> None:
        """Take in what the comparators have counted. One that does not answer has nothing new to say."""
        for address in watched.comparators:
            try:
                watched.comparisons.take(address, read_compared(await _text(session, comparator_url(address))))
            except (aiohttp.ClientError, TimeoutError, ValueError, ArithmeticError) as error:
                log.debug("a comparator does not answer", extra={"address": address, "error": str(error)})

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("the gateway's counts of requests cannot be read", extra={"error": trouble})
        self._trouble = trouble


async def _text(session: aiohttp.ClientSession, address: str) -> str:
    """What is answered at that address, and nowhere else. Raises ValueError for another answer than 200, or too long a one."""
    async with session.get(address, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"answers {response.status}")
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > _LARGEST_ANSWER:
                raise ValueError(f"answers with more than {_LARGEST_ANSWER} bytes")
        return content.decode()
