"""The running operator: leadership first, then the cache, then work; everything is taken down in the reverse order."""

import asyncio
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from fovea_api.contract import labels
from fovea_api.contract.report import LOG_PATH, PROGRESS_PATH
from fovea_api.contract.waiting import WAITING_PATH

from .cluster import endpoints, resources
from .cluster.cache import Cache
from .cluster.client import ApiClient
from .cluster.comparison import compare_all, pause_after
from .cluster.credentials import load
from .cluster.discovery import Discovery
from .cluster.events import Announcer, Subject
from .cluster.intake import Intake, list_all
from .cluster.keys import Key
from .cluster.kind import Kinds
from .cluster.lease import Leadership
from .cluster.left_out import LeftOut
from .cluster.line import Line
from .cluster.live import LiveReports
from .cluster.liveness import Liveness
from .cluster.metrics import Metrics
from .cluster.pod_logs import LogDesk
from .cluster.positions import Positioning, Positions
from .cluster.progress import Desk, Doorkeeper, Reports
from .cluster.queue import Backoff, WorkQueue
from .cluster.reconciler import Reconciler
from .cluster.resources import Resource
from .cluster.traffic import TrafficReader
from .cluster.waiting import Waiting, WaitingRoom
from .cluster.words import Words
from .errors import ApiError, FoveaError
from .handlers import running
from .kinds.batch_prediction import BatchPredictions
from .kinds.model_deployment import ModelDeployments
from .kinds.senders import Senders, prediction_of
from .kinds.training_job import TrainingJobs
from .reconcile.serving import sleeping
from .reconcile.shared.decision import Event, GroupVersionKind
from .settings import Settings

log = logging.getLogger(__name__)

Bring = Callable[[ApiClient, Cache, Intake, Settings], Awaitable[None]]
"""Makes the cache complete."""

_POLL_SECONDS = 2.0
_LOOKS = 10
"""So many times more an optional kind is asked for where a look leaves a doubt: without it, a model's only pod loses its protection."""
_RESYNC_MARGIN_SECONDS = 300.0
"""A list may take so long: what comes due before the next resync has its timer by then."""
_REFUSED_SECONDS = 5.0
"""A model of which an object is refused is decided on this often at most for its number of pods: each time it is written again."""
_CONNECTIONS_BESIDE_WORK = 16
"""For the Lease, lists, Events and token reviews: whatever the number of workers, a renewal never waits for them."""


class Operator:
    """One instance: builds the parts, joins them, runs them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity = settings.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._cache = Cache(labels.MODEL_DEPLOYMENT)
        self._queue: WorkQueue[Key] = WorkQueue(
            self._work,
            workers=settings.workers,
            backoff=Backoff(settings.retry_base_seconds, settings.retry_max_seconds),
            is_urgent=lambda key: self._kinds.of(key).is_urgent(key),
        )
        self._metrics = Metrics(self._cache, lambda: self._queue.schedule.depth)
        self._client = ApiClient(
            load, count=self._metrics.count_call, connections=settings.workers + _CONNECTIONS_BESIDE_WORK
        )
        self._senders = Senders(self._cache)
        self._reports = Reports(
            settings.progress_seconds,
            self._wake_for_report,
            settings.progress_rate,
            self._senders.leads_its_job,
            self._senders.is_one_of_many,
        )
        positions = Positions()
        self._positioning = Positioning(
            self._client, self._cache, positions, self._wake_for_place, settings.queue_position_seconds
        )
        self._jobs = TrainingJobs(self._cache, self._reports, positions=positions, ttl_seconds=settings.ttl_seconds)
        self._traffic = TrafficReader(self._client, settings, self._wake_for_traffic)
        self._waiting = Waiting()
        left_out = LeftOut(Backoff(settings.retry_base_seconds, settings.retry_max_seconds))
        self._models = ModelDeployments(self._cache, self._traffic, waiting=self._waiting, left_out=left_out)
        self._predictions = BatchPredictions(self._cache, self._reports, ttl_seconds=settings.ttl_seconds)
        # One prediction has up to a thousand workers that report: it is not decided on for each of them.
        self._heard = Words(settings.progress_seconds, self._wake_later, settings.progress_rate)
        self._kinds = Kinds(self._jobs, self._models, self._predictions)
        self._intake = Intake(self._cache, self._kinds, self._queue.add, settings.watch_namespaces)
        self._intake.relisted = self._relisted
        words = Words(settings.progress_seconds, self._wake_later, settings.progress_rate)
        self._intake.words = lambda key: words.changed(key, _now())
        self._intake.on_removed(self._reports.forget)
        self._leadership = Leadership(self._client, settings, self._identity)
        self._announcer = Announcer(
            self._client.create, self._metrics.events_dropped.inc, instance=self._identity, rate=settings.event_rate
        )
        line = Line(self._queue.add_fresh)
        self._intake.on_room(line.room)
        self._reconciler = Reconciler(
            client=self._client,
            cache=self._cache,
            kinds=self._kinds,
            intake=self._intake,
            settings=settings,
            metrics=self._metrics,
            announce=self._announce,
            requeue=self._queue.add_after,
            line=line,
            left_out=left_out,
        )
        self._discovery = Discovery(self._client, self._cache, self._intake, settings, self._watch)
        self._liveness = Liveness(started=0.0, lease_seconds=settings.lease_seconds)
        self._relist = asyncio.Event()
        """A watch began, or that of an optional kind ended."""
        self._compare_soon = False
        self._stop = asyncio.Event()
        self._runners: list[web.AppRunner] = []

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises LeaseLost, or what else ended it."""
        self._liveness.started = _now()
        self._catch_signals()
        try:
            self._runners.append(
                await endpoints.serve(endpoints.application(self._metrics, self._alive), self._settings.metrics_port)
            )
            self._runners.append(await endpoints.serve(self._report_application(), self._settings.report_port))
            if await self._until_stopped(self._stand_by()):
                await self._lead()
        finally:
            for runner in self._runners:
                await runner.cleanup()
            await self._client.close()
        log.info("stopped")

    def _report_application(self) -> web.Application:
        """What agents post to and clients read from."""
        doorkeeper = Doorkeeper(self._client.review_token)
        application = Desk(self._reports, doorkeeper, self._senders.answer).application()
        logs = LogDesk(doorkeeper, self._senders.has_log, self._client.log)
        application.router.add_get(LOG_PATH, logs.get)
        application.router.add_get(PROGRESS_PATH, LiveReports(self._reports).get)
        room = WaitingRoom(
            self._waiting,
            doorkeeper,
            self._settings.gateway_activator,
            self._model_key,
            self._unavailable,
            self._queue.add,
        )
        application.router.add_post(WAITING_PATH, room.post)
        return application

    async def _stand_by(self) -> None:
        await self._wait_for_kinds()
        await self._leadership.acquire()

    async def _lead(self) -> None:
        self._metrics.leading.set(1)
        keeping = asyncio.create_task(self._leadership.keep(), name="lease")
        watching: asyncio.Task[None] | None = None
        try:
            # The cache must be complete before the first decision: a pod not yet listed is not a pod that vanished.
            listing = asyncio.create_task(self._list_until_done(list_all), name="first list")
            if not await self._until_stopped(_first_of(keeping, listing)):
                return
            self._all_again()
            watching = await running.start(self._settings, self._intake.event, self._lease_seen)
            self._liveness.watching_since = _now()
            self._catch_signals()
            self._queue.start()
            self._liveness.ready = True
            log.info("working", extra={"jobs": len(self._cache.jobs), "pods": len(self._cache.pods)})
            others = [
                asyncio.create_task(self._resync(), name="resync"),
                asyncio.create_task(self._announcer.run(), name="events"),
                asyncio.create_task(self._positioning.run(), name="places in queues"),
                asyncio.create_task(self._traffic.run(), name="requests to versions"),
                asyncio.create_task(self._waiting.watch(self._activators_changed), name="activators"),
            ]
            if await self._until_stopped(_first_of(keeping, watching, *others)):
                raise FoveaError("the watch ended by itself: the operator has to start again")
        finally:
            await self._stand_down(keeping, watching)

    async def _stand_down(self, keeping: "asyncio.Task[None]", watching: "asyncio.Task[None] | None") -> None:
        self._liveness.ready = False
        # Reconciles in flight end while the Lease is still renewed; only then may a standby begin.
        stopping = asyncio.create_task(self._queue.stop(), name="queue")
        await asyncio.wait([stopping, keeping], return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            self._queue.abandon()
            if not keeping.cancelled() and (error := keeping.exception()) is not None:
                log.warning("ending without finishing what was begun", extra={"error": str(error)})
            await asyncio.wait([stopping], timeout=3)
        else:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await self._leadership.release()
        self._metrics.leading.set(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await self._discovery.stop()
        if watching is not None and not watching.done():
            watching.cancel()
            await asyncio.wait([watching], timeout=3)

    async def _until_stopped(self, work: Any) -> bool:
        """Do something until it is done (True) or a signal arrives (False). Raises what the work raises."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return True
            return False
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=3)

    async def _wait_for_kinds(self) -> None:
        warned = False
        while True:
            try:
                missing = [kind for kind, item in resources.OURS.items() if not await self._client.is_served(item)]
            except ApiError as error:
                log.warning("the API server does not answer; waiting", extra={"error": str(error)})
                missing = []
            else:
                if not missing:
                    return
                if not warned:
                    log.warning("CRDs are missing; waiting for them to be installed", extra={"kinds": missing})
                    warned = True
            self._liveness.heard = _now()
            await asyncio.sleep(_POLL_SECONDS)

    async def _list_until_done(self, bring: Bring = compare_all) -> None:
        while True:
            try:
                await bring(self._client, self._cache, self._intake, self._settings)
            except ApiError as error:
                log.warning("cannot list; trying again", extra={"error": str(error)})
                await asyncio.sleep(_POLL_SECONDS)
            else:
                break
        if await self._look():
            self._all_again()

    async def _look(self) -> bool:
        """Look for optional kinds. One about which there is a doubt is asked for again, but not waited for for good."""
        changed = await self._discovery.look()
        for _ in range(_LOOKS):
            if not self._discovery.in_doubt:
                break
            await asyncio.sleep(_POLL_SECONDS)
            changed = await self._discovery.look() or changed
        return changed

    async def _resync(self) -> None:
        """Look again at what is due, every `resync_seconds`; compare the cache soon after a watch began, and in between."""
        looking = comparing = _now() + self._settings.resync_seconds
        while True:
            with suppress(TimeoutError):
                # Not wait_for: it forgets a cancellation that comes in the moment in which it is woken.
                async with asyncio.timeout(max(0.0, looking - _now())):
                    await self._relist.wait()
            latest = _now() + self._settings.resync_seconds
            # Let the new watch deliver first what it began with, which takes a while where objects are many. But a watch that
            # begins again and again must not put off the comparison: then it is what finds the changes.
            while self._relist.is_set() and _now() < latest:
                self._relist.clear()
                await asyncio.sleep(self._settings.relist_seconds)
            if self._compare_soon or _now() >= comparing:
                self._compare_soon = False
                begun = time.thread_time()
                await self._list_until_done()
                comparing = _now() + pause_after(time.thread_time() - begun, self._settings.resync_seconds)
            elif await self._look():
                self._all_again()
            if _now() >= looking:
                self._all_again()
                looking = _now() + self._settings.resync_seconds

    def _watch(self, resource: Resource) -> running.OptionalWatch:
        return running.OptionalWatch(self._settings, resource, self._intake.event, self._relist.set)

    def _all_again(self) -> None:
        seconds = self._settings.resync_seconds + _RESYNC_MARGIN_SECONDS
        for key in self._kinds.due(datetime.now(UTC) + timedelta(seconds=seconds)):
            self._queue.add(key)

    def _relisted(self, gvk: GroupVersionKind) -> None:
        store = self._cache.store(gvk)
        # An optional kind is listed whenever it is looked for: its watch may end again and again, and all kinds cost more.
        if store is None or not store.resource.optional:
            self._compare_soon = True
        self._relist.set()

    async def _work(self, key: Key, waited: float) -> Any:
        return await self._reconciler.work(key, waited)

    def _announce(self, subject: Subject, event: Event) -> None:
        if self._settings.events:
            self._announcer.announce(subject, event)

    def _wake_for_report(self, namespace: str, pod: str, seconds: float) -> None:
        entry = self._cache.pods.get(namespace, pod)
        if entry is None:
            return
        if (prediction := prediction_of(entry)) is not None:
            self._heard.changed(prediction, _now())
        else:
            self._wake_later(self._jobs.key(namespace, entry.owner.name), seconds)

    def _wake_for_place(self, namespace: str, workload: str) -> None:
        entry = self._cache.queued.get(namespace, workload)
        if entry is not None and entry.owner.group_kind == self._jobs.resource.gvk.group_kind:
            self._queue.add(self._jobs.key(namespace, entry.owner.name))

    def _wake_for_traffic(self, key: Key) -> None:
        """Also one that waits for its back-off: an object that is refused for good must not put off a rollback by a minute."""
        failed = self._queue.schedule.failed_at(key)
        if failed is None or self._models.is_judged(key) or _now() >= failed + _REFUSED_SECONDS:
            self._queue.add(key)

    def _model_key(self, namespace: str, name: str) -> Key | None:
        entry = self._cache.model_deployments.get(namespace, name)
        return self._models.key(namespace, name) if entry is not None else None

    def _unavailable(self, key: Key, version: str) -> str:
        entry = self._cache.model_deployments.get(key.namespace, key.name)
        return sleeping.in_vain(entry.record.status, version) if entry is not None else ""

    def _activators_changed(self) -> None:
        for namespace, name in self._models.store.names():
            self._queue.add(self._models.key(namespace, name))

    def _wake_later(self, key: Key, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._queue.add, key)

    def _lease_seen(self, raw: Mapping[str, Any]) -> None:
        spec = raw.get("spec") or {}
        if (
            raw["metadata"].get("namespace") == self._settings.namespace
            and spec.get("holderIdentity") == self._identity
        ):
            self._liveness.renewal_seen = _now()

    def _alive(self) -> Liveness:
        if self._leadership.heard_at is not None:
            self._liveness.heard = max(self._liveness.heard or 0.0, self._leadership.heard_at)
        return self._liveness

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)


async def _first_of(*tasks: "asyncio.Task[None]") -> None:
    """Wait until one of the tasks ends; raises what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def _now() -> float:
    return asyncio.get_running_loop().time()


def run(settings: Settings) -> int:
    """Run an operator in an event loop of its own. Returns the process' exit code."""

    async def main() -> None:
        await Operator(settings).run()

    try:
        asyncio.run(main())
    except FoveaError as error:
        log.error("ending", extra={"error": str(error), "pid": os.getpid()})  # noqa: TRY400 - an answer for the user, not a defect
        return 1
    return 0
