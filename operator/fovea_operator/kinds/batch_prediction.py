"""BatchPredictions: their Jobs and workers, and the versions and machine types that they wait for."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import BatchPrediction
from fovea_api.v1alpha1.conditions import PredictionCondition

from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import BY_MODEL, BY_OWNER, BY_PREDICTION, Cache, Change
from fovea_operator.cluster.keys import Key, Ref
from fovea_operator.cluster.kind import Kind
from fovea_operator.cluster.progress import Reports
from fovea_operator.reconcile.batch.decide import decide_prediction
from fovea_operator.reconcile.batch.progress import further, with_last_words
from fovea_operator.reconcile.batch.view import expires_at, is_over, worker_of
from fovea_operator.reconcile.shared.decision import Decision, GroupVersionKind
from fovea_operator.reconcile.shared.observed import PodRecord, PredictionObserved
from fovea_operator.reconcile.shared.pods import ended
from fovea_operator.settings import Settings

from . import senders
from .departed import DepartedWorkers, job_of

Decide = Callable[[PredictionObserved, datetime, Settings], Decision]


class BatchPredictions(Kind[BatchPrediction]):
    """Everything that is known of them is in the cache, but for what workers said that are gone."""

    resource = resources.BATCH_PREDICTION
    trouble = PredictionCondition.ADMITTED.value

    def __init__(
        self,
        cache: Cache,
        reports: Reports,
        decide: Decide = decide_prediction,
        *,
        ttl_seconds: float | None = None,
    ) -> None:
        """`ttl_seconds`: how long an ended prediction is kept if its spec does not set it; None: without end."""
        super().__init__(cache.predictions)
        self._cache = cache
        self._reports = reports
        self._decide = decide
        self._ttl_seconds = ttl_seconds
        self._departed = DepartedWorkers()
        self._heard: dict[Key, dict[int, ProgressReport]] = {}
        """The furthest reports of the workers of predictions that go on, by number: pods come and go, and count for one worker."""

    def decide(self, key: Key, now: datetime, settings: Settings, refused: str) -> Decision:
        """The decision on a prediction; an empty one if it does not exist."""
        observed = self.observe(key, refused)
        return self._decide(observed, now, settings) if observed is not None else Decision()

    def observe(self, key: Key, refused: str) -> PredictionObserved | None:
        """The observed state of a prediction; None if it does not exist."""
        cache, entry = self._cache, self.store.get(key.namespace, key.name)
        if entry is None:
            return None
        owned = cache.batch_jobs.group(BY_OWNER, (key.namespace, key.gvk.group_kind, key.name))
        pods = self._pods(key, entry.uid)
        there = {pod.uid: worker_of(pod) for of_job in pods.values() for pod in of_job}
        heard = {uid: said for uid in there if (said := self._reports.heard(uid)) is not None}
        known = self._heard.setdefault(key, {}) if not is_over(entry.record.status) else {}
        before = dict(known)
        for uid, said in heard.items():
            known[there[uid]] = further(known.get(there[uid]), said.report)
        return PredictionObserved(
            prediction=entry.record,
            versions=cache.models.versions(key.namespace, entry.record.spec.model),
            jobs=tuple(item.record for item in owned if item.owner.uid == entry.uid),
            pods=pods,
            earlier=self._departed.earlier(key, entry.uid),
            machine_types=cache.machine_types.by_name,
            heard=heard,
            heard_before=before,
            unreadable_machine_types={name: item.message for (_, name), item in cache.machine_types.unreadable.items()},
            predecessors=tuple(sorted(item.record.name for item in owned if item.owner.uid != entry.uid)),
            refused=refused,
        )

    def _pods(self, key: Key, uid: str) -> Mapping[str, tuple[PodRecord, ...]]:
        """Workers of the prediction with this uid by the uid of their Job, not those of an earlier one of the same name."""
        found: dict[str, list[PodRecord]] = {}
        for entry in self._cache.pods.group(BY_PREDICTION, (key.namespace, key.name)):
            if entry.labels.get(labels.BATCH_PREDICTION_UID) == uid:
                found.setdefault(entry.owner.uid, []).append(entry.record)
        for pod in self._departed.of(key, uid):
            found.setdefault(job_of(pod), []).append(pod)
        return {job: tuple(pods) for job, pods in found.items()}

    def unconfirmed(self, key: Key) -> Iterator[tuple[Ref, Mapping[str, str]]]:
        """The Job, where workers were seen and it is not in the cache. It may exist: a watch reports it as gone when it loses its label."""
        entry = self.store.get(key.namespace, key.name)
        if entry is None or is_over(entry.record.status) or entry.record.metadata.deletion_timestamp is not None:
            return
        status = entry.record.status
        name = names.prediction_job(key.name, status.reruns or 0)
        if (
            status.version is not None
            and status.workers is not None
            and self._cache.batch_jobs.get(key.namespace, name) is None
        ):
            marks = labels.of_batch_prediction(key.name, entry.uid, entry.record.spec.model, status.version)
            yield Ref(resources.BATCH_JOB.gvk, key.namespace, name), marks

    def due(self, until: datetime) -> Iterator[Key]:
        """Predictions that have not ended, and those that reach their TTL. The others wait for nothing."""
        for name, entry in self.store:
            expiry = expires_at(entry.record, self._ttl_seconds)
            if not is_over(entry.record.status) or (expiry is not None and expiry <= until):
                yield self.key(*name)

    def is_at_rest(self, record: BatchPrediction) -> bool:
        """Whether the prediction has ended."""
        return is_over(record.status)

    def concerned(self, gvk: GroupVersionKind, change: Change[Any]) -> Iterator[Key]:
        """Its own changes, those of its Jobs and workers, of its model's versions, and of any machine type."""
        namespace = change.name[0]
        match gvk:
            case self.resource.gvk:
                yield from self._of_prediction(change)
            case resources.MODEL_VERSION.gvk:
                for model in {each.record.spec.model for each in (change.before, change.after) if each is not None}:
                    for entry in self._cache.predictions.group(BY_MODEL, (namespace, model)):
                        if not is_over(entry.record.status):
                            yield self.key(namespace, entry.record.metadata.name)
            case resources.MACHINE_TYPE.gvk:
                for name, entry in self.store:
                    if not is_over(entry.record.status):
                        yield self.key(*name)
            case resources.POD.gvk:
                yield from self._of_pod(change)
            case resources.BATCH_JOB.gvk:
                for job in (change.before, change.after):
                    if job is not None and job.owner.group_kind == self.resource.gvk.group_kind:
                        yield self.key(namespace, job.owner.name)

    def _of_prediction(self, change: Change[BatchPrediction]) -> Iterator[Key]:
        key, before, after = self.key(*change.name), change.before, change.after
        if after is None or (before is not None and before.uid != after.uid) or is_over(after.record.status):
            self._departed.forget(key)
            self._heard.pop(key, None)
        yield key

    def _of_pod(self, change: Change[PodRecord]) -> Iterator[Key]:
        before, after = change.before, change.after
        for entry in (before, after):
            if entry is not None and (key := senders.prediction_of(entry)) is not None:
                if after is not None and ended(after.record):
                    self._reports.ended(after.uid)
                is_gone = entry is before and (after is None or after.uid != entry.uid)
                if is_gone and ended(entry.record):
                    self._remember(key, entry.labels.get(labels.BATCH_PREDICTION_UID, ""), entry.record)
                yield key

    def _remember(self, key: Key, owner: str, pod: PodRecord) -> None:
        """A worker has ended and is gone: nothing else tells how."""
        entry = self.store.get(key.namespace, key.name)
        if entry is None or is_over(entry.record.status):
            return
        self._departed.put(key, owner, pod)
        if entry.uid == owner:
            known = self._heard.setdefault(key, {})
            if (furthest := with_last_words(known.get(worker_of(pod)), pod)) is not None:
                known[worker_of(pod)] = furthest
