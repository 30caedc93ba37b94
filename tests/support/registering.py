"""Jobs of one model whose programs have ended, and the parts of an operator that register what they trained."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.report import REASON_PUBLISHED, Published, Termination
from fovea_api.v1alpha1 import API_VERSION
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.keys import Key, Ref
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.line import Line
from fovea_operator.cluster.metrics import Metrics
from fovea_operator.cluster.progress import Reports
from fovea_operator.cluster.queue import Backoff, WorkQueue
from fovea_operator.cluster.reconciler import Reconciler
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.decision import GroupVersionKind
from fovea_operator.settings import Settings
from support.memory_api import Server

NAMESPACE, MODEL = "team", "digits"
CREATED = "2026-01-01T00:00:00Z"
DIGEST = "sha256:" + "a" * 64
Raw = dict[str, Any]


def training_job(name: str, status: Raw | None = None) -> Raw:
    """A job that trains a version of the model."""
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"{name}-uid", "generation": 1}
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {**metadata, "creationTimestamp": CREATED},
        "spec": {"trainer": {"container": {"image": "a:1"}}, "model": {"name": MODEL}},
        "status": status if status is not None else {"state": "RUNNING", "attempts": {"chief-0": 0}},
    }


def ended_pod(job: str) -> Raw:
    """Its pod, whose program has succeeded and whose sidecar has published."""
    said = Termination(
        REASON_PUBLISHED,
        "output and model are in the store",
        output=_published(job, "output"),
        model=_published(job, "model"),
    )
    owner = {"apiVersion": API_VERSION, "kind": "TrainingJob", "name": job, "uid": f"{job}-uid", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.training_pod(job, names.ROLE_CHIEF, 0, 0),
            "namespace": NAMESPACE,
            "uid": f"{job}-pod",
            "creationTimestamp": CREATED,
            "labels": labels.of_training_pod(job, names.ROLE_CHIEF, 0, 0),
            "ownerReferences": [owner],
        },
        "status": {
            "phase": "Succeeded",
            "initContainerStatuses": [_terminated(names.SYNC_CONTAINER, said.to_json())],
            "containerStatuses": [_terminated(names.TRAINER_CONTAINER, "")],
        },
    }


def model_version(number: int, *, job_uid: str = "", **spec: Any) -> Raw:
    """A version of the model, as somebody registers it."""
    lineage = {"lineage": {"job": "of-somebody", "jobUid": job_uid}} if job_uid else {}
    name = names.model_version(MODEL, number)
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": MODEL, "version": number, "uri": "s3://b/p", "digest": DIGEST, **lineage, **spec},
    }


def _published(job: str, what: str) -> Published:
    return Published(f"s3://fovea/{NAMESPACE}/jobs/{job}/{job}-uid/{what}/0", DIGEST, 1 << 20, 3)


def _terminated(name: str, message: str) -> Raw:
    state = {"exitCode": 0, "reason": "Completed", "startedAt": CREATED, "finishedAt": CREATED, "message": message}
    return {"name": name, "state": {"terminated": state}, "lastState": {}}


class SlowServer(Server):
    """An API server whose requests and answers are on their way for a while."""

    def __init__(self, pause: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._pause = pause

    async def create(self, manifest: Raw) -> Raw:
        return await self._slowly(lambda: super(SlowServer, self).create(manifest))

    async def merge_status(self, ref: Ref, version: int, patch: Mapping[str, Any]) -> Raw:
        return await self._slowly(lambda: super(SlowServer, self).merge_status(ref, version, patch))

    async def _slowly(self, call: Callable[[], Awaitable[Raw]]) -> Raw:
        await self._pause()
        try:
            return await call()
        finally:
            await self._pause()


class Parts:
    """The cache, the queue and what works on it; the watch is what the test tells to `intake`."""

    def __init__(self, server: Server, *, workers: int = 16) -> None:
        self.server = server
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.jobs = TrainingJobs(self.cache, Reports(5, lambda *_: None))
        kinds = Kinds(self.jobs, ModelDeployments(self.cache))
        self.queue: WorkQueue[Key] = WorkQueue(self._work, workers=workers, backoff=Backoff(0.0, 0.0))
        self.intake = Intake(self.cache, kinds, self.queue.add)
        line = Line(self.queue.add)
        self.intake.on_room(line.room)
        self.reconciler = Reconciler(
            client=server,  # type: ignore[arg-type]
            cache=self.cache,
            kinds=kinds,
            intake=self.intake,
            settings=Settings(),
            metrics=Metrics(self.cache, lambda: 0),
            announce=lambda *_: None,
            requeue=lambda *_: None,
            line=line,
        )

    async def _work(self, key: Key, waited: float) -> Any:
        return await self.reconciler.work(key, waited)

    def know(self, raws: Iterable[Raw]) -> None:
        """Take in objects as a list brings them."""
        for raw in raws:
            self.intake.seen(GroupVersionKind.of(raw), raw)

    async def settle(self) -> None:
        """Work until nothing is left to do."""
        self.queue.start()
        while self.queue.schedule.depth or self.queue.schedule.active or self.queue.schedule.next_due() is not None:  # noqa: ASYNC110 - the queue notifies no test when it is empty
            await asyncio.sleep(0)
        await self.queue.stop()
