"""TrainingJobs: their pods, and the jobs, models and machine types that they name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import ModelVersion, TrainingJob
from fovea_api.v1alpha1.conditions import JobCondition

from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import BY_OWNER, Cache, Change, Entry, Name
from fovea_operator.cluster.keys import Key, Ref
from fovea_operator.cluster.kind import Kind
from fovea_operator.cluster.positions import Positions
from fovea_operator.cluster.progress import Reports
from fovea_operator.reconcile.shared.conditions import is_true
from fovea_operator.reconcile.shared.decision import Child, Decision, Deletion, GroupVersionKind
from fovea_operator.reconcile.shared.observed import JobObserved, PodRecord
from fovea_operator.reconcile.shared.pods import ended, remove
from fovea_operator.reconcile.training.decide import decide_job
from fovea_operator.reconcile.training.inputs import References, needs
from fovea_operator.reconcile.training.view import expires_at, is_over, is_settled, is_urgent, pods_of
from fovea_operator.settings import Settings

from .departed import Departed

Decide = Callable[[JobObserved, datetime, Settings], Decision]

_VERSION = resources.MODEL_VERSION.gvk
_JOB, _MODEL = "job", "model"
_Subject = tuple[str, str, str]
"""Job or model, its namespace and its name."""


class TrainingJobs(Kind[TrainingJob]):
    """Keeps an index of which jobs name which jobs and models, in addition to the cache."""

    resource = resources.TRAINING_JOB
    trouble = JobCondition.ADMITTED.value

    def __init__(
        self,
        cache: Cache,
        reports: Reports,
        decide: Decide = decide_job,
        *,
        positions: Positions | None = None,
        ttl_seconds: float | None = None,
    ) -> None:
        """`positions`: places in queues. `ttl_seconds`: how long an ended job is kept if its spec does not set it; None: without end."""
        super().__init__(cache.jobs)
        self._cache = cache
        self._reports = reports
        self._decide = decide
        self._positions = positions or Positions()
        self._references: dict[Key, References] = {}
        self._named_by: dict[_Subject, set[Key]] = {}
        self._ttl_seconds = ttl_seconds
        self._unfinished: set[Key] = set()
        # There are many ended jobs. Keep only what `due` needs of each, by the name object that the cache already has.
        self._unacknowledged: set[Name] = set()
        self._expires: dict[Name, float] = {}
        self._departed = Departed()

    def decide(self, key: Key, now: datetime, settings: Settings, refused: str) -> Decision:
        """The decision on a job; an empty one if it does not exist."""
        observed = self.observe(key, refused)
        if observed is None:
            return Decision()
        decision = self._decide(observed, now, settings)
        if not refused:
            self._hold_number(observed.job, decision.children)
        return decision

    def _hold_number(self, job: TrainingJob, children: Iterable[Child]) -> None:
        """Reserve the number of the job's version until the next decision on the job, so that no other job gets it.

        It stays reserved after a refusal too: an earlier try without an answer may have registered the version. With another
        number, the job would register two.
        """
        models, uid = self._cache.models, job.metadata.uid
        versions = [child.manifest for child in children if GroupVersionKind.of(child.manifest) == _VERSION]
        if versions:
            spec = versions[0]["spec"]
            models.reserve(job.metadata.namespace, spec["model"], uid, spec["version"])
        else:
            models.give_back(uid)

    def observe(self, key: Key, refused: str) -> JobObserved | None:
        """The observed state of a job; None if it does not exist."""
        entry = self.store.get(key.namespace, key.name)
        if entry is None:
            return None
        references = self._references.get(key) or needs(entry.record)
        cache, namespace, spec = self._cache, key.namespace, entry.record.spec
        others = {name: cache.jobs.get(namespace, name) for name in references.jobs}
        named = cache.model_deployments.get(namespace, spec.model.name) if spec.model is not None else None
        pods = self._pods(key, entry.uid)
        chiefs = [pod for pod in pods if pod.labels.get(labels.ROLE, names.ROLE_CHIEF) == names.ROLE_CHIEF]
        newest = max(chiefs, key=lambda pod: pod.created).uid if chiefs else ""
        heard = {pod.uid: said for pod in pods if (said := self._reports.heard(pod.uid)) is not None}
        return JobObserved(
            job=entry.record,
            pods=pods,
            machine_types=cache.machine_types.by_name,
            unreadable_machine_types={name: item.message for (_, name), item in cache.machine_types.unreadable.items()},
            jobs={name: other.record for name, other in others.items() if other is not None},
            versions={model: cache.models.versions(namespace, model) for model in references.models},
            model_deployments={named.record.metadata.name: named.record} if named is not None else {},
            next_number=cache.models.next_number(namespace, spec.model.name, entry.uid) if spec.model else 0,
            progress=heard[newest].report if newest in heard else None,
            pace=heard[newest].pace if newest in heard else None,
            heard=heard,
            ticket=self._reports.ticket(newest),
            refused=refused,
            predecessors=self._predecessors(key, entry.uid),
            vanished=self._departed.vanished(key, entry.uid),
            vanished_places=self._departed.vanished_places(key, entry.uid),
            served=cache.served,
            **self._queued(key, entry.uid),
        )

    def _queued(self, key: Key, uid: str) -> dict[str, Any]:
        """What is observed of the job in a queue."""
        owned = self._cache.queued.group(BY_OWNER, (key.namespace, key.gvk.group_kind, key.name))
        workload = next((entry.record for entry in owned if entry.owner.uid == uid), None)
        return {
            "workload": workload,
            "queue_position": self._positions.of(workload.namespace, workload.name) if workload is not None else None,
            "flavors": self._cache.flavors.by_name,
            "priorities": self._cache.priorities.by_name,
        }

    def _pods(self, key: Key, uid: str) -> tuple[PodRecord, ...]:
        """Pods of the job with this uid, not those of an earlier job of the same name."""
        owned = self._cache.pods.group(BY_OWNER, (key.namespace, key.gvk.group_kind, key.name))
        there = tuple(entry.record for entry in owned if entry.owner.uid == uid)
        return there + self._departed.of(key, uid)

    def _predecessors(self, key: Key, uid: str) -> tuple[PodRecord, ...]:
        """Pods of deleted jobs of the same name."""
        owned = self._cache.pods.group(BY_OWNER, (key.namespace, key.gvk.group_kind, key.name))
        return tuple(entry.record for entry in owned if entry.owner.uid != uid)

    def orphaned(self, key: Key, uid: str, now: datetime, settings: Settings) -> tuple[Deletion, ...]:
        """Deletions of pods of deleted jobs of this name.

        The garbage collector may delete these pods first, with their own long grace period. Then these deletions shorten it.
        """
        return remove(self._predecessors(key, uid), now, settings.cancel_grace_seconds)

    def unconfirmed(self, key: Key) -> Iterator[tuple[Ref, Mapping[str, str]]]:
        """Pods of current attempts that are no longer in the cache. They may exist: a watch also reports a pod as gone when it loses its label."""
        entry = self.store.get(key.namespace, key.name)
        if entry is None or is_over(entry.record.status) or entry.record.metadata.deletion_timestamp is not None:
            return
        vanished = self._departed.vanished_places(key, entry.uid)
        for each in pods_of(entry.record, self._pods(key, entry.uid), vanished).missing:
            if each.seen:
                which = (key.name, each.member.role, each.member.index, each.attempt)
                name, marks = names.training_pod(*which), labels.of_training_pod(*which)
                yield Ref(resources.POD.gvk, key.namespace, name), marks

    def due(self, until: datetime) -> Iterator[Key]:
        """Jobs that have not ended, the oldest first, then ended jobs that still have pods or reach their TTL. The others wait for nothing."""
        yield from sorted(self._unfinished, key=self.waits_since)
        pods = ((entry.record.namespace, entry.owner) for _, entry in self._cache.pods)
        others = {
            *(self.key(*name) for name in self._unacknowledged),
            *(self.key(*name) for name, expiry in self._expires.items() if expiry <= until.timestamp()),
            *(self.key(where, owner.name) for where, owner in pods if owner.group_kind == self.resource.gvk.group_kind),
        }
        yield from others - self._unfinished

    def waits_since(self, key: Key) -> str:
        """Time at which a job was last queued."""
        entry = self.store.get(key.namespace, key.name)
        queued = entry.record.status.queue_time if entry is not None else None
        return queued or super().waits_since(key)

    def is_urgent(self, key: Key) -> bool:
        """Whether the next decision makes a job's first pod, or says how its pod ended."""
        entry = self.store.get(key.namespace, key.name)
        return entry is not None and is_urgent(entry.record, self._pods(key, entry.uid))

    def is_at_rest(self, record: TrainingJob) -> bool:
        """Whether the job has ended, or is suspended until it is resumed."""
        suspended = record.spec.suspend and is_true(record.status.conditions, JobCondition.SUSPENDED)
        return is_over(record.status) or suspended

    def concerned(self, gvk: GroupVersionKind, change: Change[Any]) -> Iterator[Key]:
        """A job is concerned by changes of itself, of its pods, and of the jobs, models and machine types that it waits for."""
        match gvk:
            case self.resource.gvk:
                yield from self._of_job(change)
            case resources.MODEL_VERSION.gvk:
                # Not the jobs that train the model: they wait for none of its versions, and many jobs may train one model.
                for model in _models(change):
                    yield from self._waiting(_MODEL, change.name[0], model)
            case resources.MACHINE_TYPE.gvk | resources.RESOURCE_FLAVOR.gvk | resources.WORKLOAD_PRIORITY.gvk:
                yield from self._unfinished
            case resources.POD.gvk:
                yield from self._of_pod(change)
            case _:
                yield from self._owners(change)

    def _owners(self, change: Change[Any]) -> Iterator[Key]:
        for entry in (change.before, change.after):
            if entry is not None and entry.owner.group_kind == self.resource.gvk.group_kind:
                yield self.key(change.name[0], entry.owner.name)

    def _of_pod(self, change: Change[PodRecord]) -> Iterator[Key]:
        before, after = change.before, change.after
        if after is not None and ended(after.record):
            self._reports.ended(after.uid)
        is_gone = before is not None and (after is None or after.uid != before.uid)
        for key in self._owners(change):
            if is_gone and before is not None and key in self._unfinished:
                if ended(before.record):
                    self._departed.put(key, before.owner.uid, before.record)
                else:
                    self._departed.vanish(key, before.owner.uid, before.record, datetime.now(UTC))
            yield key

    def _of_job(self, change: Change[TrainingJob]) -> Iterator[Key]:
        key = self.key(*change.name)
        before, after = change.before, change.after
        if before is not None or after is None or not is_settled(after.record):
            yield key
        if before is not None and (after is None or before.uid != after.uid):
            self._cache.models.give_back(before.uid)
        if before is None or after is None or before.uid != after.uid:
            self._index(key, None)
        self._sort(change.name, key, after.record if after is not None else None)
        if before is None or after is None or is_over(after.record.status) or _is_further(before, after):
            self._departed.forget(key)
        if (
            before is None
            or after is None
            or before.uid != after.uid
            or is_over(before.record.status) != is_over(after.record.status)
            or before.record.status.checkpoint != after.record.status.checkpoint
        ):
            yield from self._waiting(_JOB, *change.name)

    def _sort(self, name: Name, key: Key, job: TrainingJob | None) -> None:
        """Update the indexes of jobs. A job is in the index of names until it has ended."""
        ended = job is not None and is_over(job.status)
        if job is not None and not ended:
            self._unfinished.add(key)
            if key not in self._references:
                self._index(key, job)
        else:
            self._unfinished.discard(key)
            self._index(key, None)
        if ended and job is not None and not is_settled(job):
            self._unacknowledged.add(name)
        else:
            self._unacknowledged.discard(name)
        expiry = expires_at(job, self._ttl_seconds) if ended and job is not None else None
        if expiry is not None:
            self._expires[name] = expiry.timestamp()
        else:
            self._expires.pop(name, None)

    def _waiting(self, what: str, namespace: str, name: str) -> Iterator[Key]:
        for key in self._named_by.get((what, namespace, name), ()):
            if key in self._unfinished:
                yield key

    def _index(self, key: Key, job: TrainingJob | None) -> None:
        for subject in _subjects(key, self._references.pop(key, None)):
            self._named_by[subject].discard(key)
            if not self._named_by[subject]:
                del self._named_by[subject]
        if job is None:
            return
        self._references[key] = new = needs(job)
        for subject in _subjects(key, new):
            self._named_by.setdefault(subject, set()).add(key)


def _is_further(before: Entry[TrainingJob], after: Entry[TrainingJob]) -> bool:
    """Whether the new status counts another attempt, or the object is another job."""
    counted = [sum((entry.record.status.attempts or {}).values()) for entry in (before, after)]
    return before.uid != after.uid or counted[1] > counted[0]


def _models(change: Change[ModelVersion]) -> set[str]:
    return {entry.record.spec.model for entry in (change.before, change.after) if entry is not None}


def _subjects(key: Key, references: References | None) -> set[_Subject]:
    if references is None:
        return set()
    return {(_JOB, key.namespace, name) for name in references.jobs} | {
        (_MODEL, key.namespace, name) for name in references.inputs
    }
