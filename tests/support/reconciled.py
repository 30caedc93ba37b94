"""A reconciler over a played API server: what one look at a key writes."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from fovea_api.contract import labels
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.keys import Key
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.left_out import LeftOut
from fovea_operator.cluster.line import Line
from fovea_operator.cluster.metrics import Metrics
from fovea_operator.cluster.progress import Reports
from fovea_operator.cluster.queue import Again, Backoff
from fovea_operator.cluster.reconciler import Reconciler
from fovea_operator.kinds.model_deployment import ModelDeployments
from fovea_operator.kinds.training_job import TrainingJobs
from fovea_operator.reconcile.shared.decision import Child, Decision, Deletion, Event, GroupVersionKind, Write
from fovea_operator.reconcile.shared.observed import JobObserved, ServingObserved
from fovea_operator.settings import Settings
from support.kinds import POD, TRAINING_JOB
from support.memory_api import Server

DIGITS = Key(TRAINING_JOB, "team", "digits")
Decide = Callable[[JobObserved, datetime, Settings], Decision]
Serve = Callable[[ServingObserved, datetime, Settings], Decision]


def job(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "namespace": "team", "uid": "u1", "generation": 1},
        "spec": {"trainer": {"container": {"image": "a:1"}}},
        "status": {},
        **changes,
    }


def pod(name: str = "digits-chief-0-0", owner: str = "u1") -> dict[str, Any]:
    reference = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "name": "digits", "uid": owner}
    metadata = {"name": name, "namespace": "team", "labels": labels.of_training_pod("digits", "chief", 0, 0)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "ownerReferences": [{**reference, "controller": True}]},
        "status": {"phase": "Pending"},
    }


def whole(observed: JobObserved, now: datetime, _: Settings) -> Decision:
    """A decision with a write of each kind."""
    return Decision(
        children=(Child(Write.CREATE, pod()),),
        status={"state": "PREPARING", "observedGeneration": 1},
        deletions=(Deletion(POD, "team", "old", "u9", 30),),
        events=(Event("Normal", "PodCreated", "a pod was made"),),
        requeue_at=now + timedelta(seconds=12),
    )


class World:
    """One operator and what it knows; `work` looks at a key and tells the calls."""

    def __init__(self, decide: Decide = lambda *_: Decision(), serve: Serve = lambda *_: Decision()) -> None:
        """`decide`: on jobs, `serve`: on ModelDeployments."""
        self.server = Server()
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        jobs = TrainingJobs(self.cache, Reports(5, lambda *_: None), decide)
        left_out = LeftOut(Backoff())
        self.kinds = Kinds(jobs, ModelDeployments(self.cache, decide=serve, left_out=left_out))
        self.queued: list[Key] = []
        self.intake = Intake(self.cache, self.kinds, self.queued.append)
        self.metrics = Metrics(self.cache, lambda: 0)
        self.announced: list[Event] = []
        self.woken: list[Key] = []
        self.line = Line(self.woken.append)
        self.intake.on_room(self.line.room)
        self.requeued: dict[Key, float | None] = {}
        self.reconciler = Reconciler(
            client=self.server,  # type: ignore[arg-type]
            cache=self.cache,
            kinds=self.kinds,
            intake=self.intake,
            settings=Settings(cancel_grace_seconds=7),
            metrics=self.metrics,
            announce=self._announce,
            requeue=self.requeued.__setitem__,
            line=self.line,
            left_out=left_out,
        )

    def _announce(self, _subject: Any, event: Event) -> None:
        self.server.detail.append(f"announce {event.reason}")
        self.announced.append(event)

    def know(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Put an object on the server and into the cache."""
        stored = self.server.put(raw)
        self.intake.event(GroupVersionKind.of(stored), "ADDED", stored)
        return stored

    def work(self, key: Key = DIGITS) -> tuple[Again | None, list[str]]:
        self.server.detail.clear()
        return asyncio.run(self.reconciler.work(key, 0.0)), list(self.server.detail)

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.server.objects[TRAINING_JOB, "digits"].get("status") or {})
