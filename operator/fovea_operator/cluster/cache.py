"""The watch cache: the newest known record of every object, from whichever source is first: watch, list or our own write.

The answer to a write of our own enters the cache at once, so that each decision sees the writes of the one before it. The
watch event of the same write (same resourceVersion) then costs one comparison. Of two states of an object, the one with the
higher resourceVersion is newer. The uid of a removed object is remembered for a while, so that an older list cannot bring the
object back.

Objects at rest (jobs that have ended) are kept packed. They are unpacked when somebody asks for them (ADR 140).
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fovea_api.contract import labels
from fovea_api.v1alpha1 import BatchPrediction, MachineType, ModelDeployment, ModelVersion, TrainingJob

from fovea_operator.errors import InvalidSpec
from fovea_operator.reconcile.shared.decision import GroupKind, GroupVersionKind
from fovea_operator.reconcile.shared.observed import (
    BatchJobRecord,
    BudgetRecord,
    DeploymentRecord,
    FlavorRecord,
    NetworkPolicyRecord,
    NodeRecord,
    PodRecord,
    RouteRecord,
    ServiceRecord,
    WorkloadRecord,
)
from fovea_operator.reconcile.training.view import is_settled

from . import packed, records, resources
from .models import Models
from .resources import Resource

log = logging.getLogger(__name__)
T = TypeVar("T")
Name = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""

_REMEMBER_REMOVED = 20_000
_FOR_GOOD = 2**63


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One cached object."""

    record: T
    uid: str
    version: int
    owner: records.Owner
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Packed:
    """A cached object at rest."""

    uid: str
    version: int
    document: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that exists and could not be read."""

    uid: str
    version: int
    message: str
    in_status: bool = False
    """Whether it is the status that cannot be read."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """The state of an object before and after an update, if a decision could depend on the difference.

    Both are None for an object that could not be read before the update, and still cannot be read or is gone.
    """

    name: Name
    before: Entry[T] | None
    after: Entry[T] | None


class Store(Generic[T]):
    """All known objects of one kind."""

    def __init__(
        self, resource: Resource, read: Callable[[records.Raw], T], rests: Callable[[T], bool] = lambda _record: False
    ) -> None:
        """`rests`: whether an object is rarely needed from now on, so that it is kept packed."""
        self.resource = resource
        self._read = read
        self._rests = rests
        self._entries: dict[Name, Entry[T] | _Packed] = {}
        self._removed: dict[str, int] = {}  # as of which version, by uid, the oldest first
        self._groups: dict[str, dict[Any, dict[Name, None]]] = {}
        self._grouping: dict[str, Callable[[Entry[T]], Any]] = {}
        self._by_name: dict[str, T] | None = None
        self._followers: list[Callable[[T | None, T | None], None]] = []
        self.newest = 0
        """The highest version that was ever seen, deletions included."""
        self.unreadable: dict[Name, Unreadable] = {}
        """Objects that could not be read. They exist, but nothing is decided on them."""

    def group_by(self, index: str, of: Callable[[Entry[T]], Any]) -> None:
        """Keep an index of the entries by the value of `of`. None: the entry is not in the index."""
        self._grouping[index] = of
        self._groups[index] = {}

    def follow(self, follower: Callable[[T | None, T | None], None]) -> None:
        """Call the follower with the records before and after each change of an object; None: the object did not or does not exist."""
        self._followers.append(follower)

    def get(self, namespace: str, name: str) -> Entry[T] | None:
        """The object of that name."""
        return self._whole(self._entries.get((namespace, name)))

    def names(self) -> Iterator[Name]:
        """Names of all objects."""
        return iter(list(self._entries))

    def group(self, index: str, value: Any) -> Iterable[Entry[T]]:
        """Entries of an index with that value."""
        known = (self._whole(self._entries[name]) for name in self._groups[index].get(value, ()))
        return [entry for entry in known if entry is not None]

    @property
    def by_name(self) -> Mapping[str, T]:
        """Records by name, for cluster-scoped kinds."""
        if self._by_name is None:
            self._by_name = {name: entry.record for (_, name), entry in self}
        return self._by_name

    def __iter__(self) -> Iterator[tuple[Name, Entry[T]]]:
        for name in self.names():
            if (entry := self.get(*name)) is not None:
                yield name, entry

    def __len__(self) -> int:
        return len(self._entries)

    def is_known(self, name: Name, uid: str, version: int) -> bool:
        """Whether this version of the object, or a newer one, was taken in before. It also counts if the object cannot be read or is gone."""
        known = self._entries.get(name)
        if (known is not None and version <= known.version) or version <= self._removed.get(uid, -1):
            return True
        unreadable = self.unreadable.get(name)
        return unreadable is not None and unreadable.uid == uid and version <= unreadable.version

    def is_overtaken(self, name: Name, uid: str, version: int, newest: int) -> bool:
        """Whether a later version of the object, or its end, was seen, and that not after version `newest`."""
        known, unreadable = self._entries.get(name), self.unreadable.get(name)
        seen = [entry.version for entry in (known, unreadable) if entry is not None]
        # The version of an end is that of the deletion, so the object itself was older.
        ended = self._removed.get(uid, -1)
        return any(version < later <= newest for later in seen) or version <= ended <= newest

    def put(self, raw: records.Raw) -> Change[T] | None:
        """Take in an object from a watch event, a list or an answer. None: nothing that a decision depends on has changed.

        Raises InvalidSpec if the object cannot be read, once for each of its versions. `unreadable` then has the object.
        """
        metadata = raw["metadata"]
        name = (metadata.get("namespace") or "", metadata["name"])
        version, uid = records.version(raw), metadata["uid"]
        self.newest = max(self.newest, version)
        if self.is_known(name, uid, version):
            return None
        before = self.get(*name)
        try:
            record = self._read_alone(raw)
        except InvalidSpec as error:
            self.unreadable[name] = Unreadable(uid, version, str(error), error.in_status)
            if before is not None:
                self._replace(name, before, None)
            raise
        self.unreadable.pop(name, None)
        entry = Entry(record, uid, version, records.owner(raw), metadata.get("labels") or {})
        self._replace(name, before, entry)
        if self._rests(record):
            self._entries[name] = _Packed(uid, version, packed.pack(raw))
        if before is not None and before.uid == uid and before.record == record:
            return None
        return Change(name, before, entry)

    def remove(self, name: Name, uid: str, version: int | None = None) -> Change[T] | None:
        """Remove the object with this uid, which was gone at `version`, unless a newer version of it is known.

        A watch also reports an object as gone that no longer matches its selector. Such an object may come back with a later
        version. `version` None: the object is deleted and cannot come back.
        """
        self.newest = max(self.newest, version or 0)
        before = self.get(*name)
        unreadable = self.unreadable.get(name)
        told = unreadable is not None and unreadable.uid == uid and (version is None or unreadable.version <= version)
        if told:
            del self.unreadable[name]
        if version is not None and before is not None and before.uid == uid and before.version > version:
            return None
        self._removed[uid] = _FOR_GOOD if version is None else max(version, self._removed.get(uid, -1))
        if len(self._removed) > _REMEMBER_REMOVED:
            del self._removed[next(iter(self._removed))]
        if before is None or before.uid != uid:
            return Change(name, None, None) if told else None
        self._replace(name, before, None)
        return Change(name, before, None)

    def clear(self) -> list[Change[T]]:
        """Forget all objects, since no watch reports them any more. Unlike removed objects, they may come back with the same version."""
        known: list[Change[T]] = [Change(name, entry, None) for name, entry in self]
        for change in known:
            self._replace(change.name, change.before, None)
        known += [Change(name, None, None) for name in self.unreadable]
        self.unreadable.clear()
        return known

    def missing(self, listed: set[str]) -> list[tuple[Name, str]]:
        """Names and uids of known objects whose uid is not in `listed`."""
        known = [(name, entry.uid) for name, entry in self._entries.items()]
        known += [(name, item.uid) for name, item in self.unreadable.items()]
        return [(name, uid) for name, uid in known if uid not in listed]

    def _read_alone(self, raw: records.Raw) -> T:
        """Read an object; InvalidSpec also where that fails unexpectedly: one object must not stop the work on all others."""
        try:
            return self._read(raw)
        except InvalidSpec:
            raise
        except Exception as error:
            log.exception("cannot read an object: a defect of Fovea", extra={"object": raw["metadata"]["name"]})
            message = f"Fovea fails at it ({type(error).__name__}); the operator's log says at what: please report it"
            raise InvalidSpec(message) from error

    def _whole(self, known: Entry[T] | _Packed | None) -> Entry[T] | None:
        if not isinstance(known, _Packed):
            return known
        raw = packed.unpack(known.document)
        held = raw["metadata"].get("labels") or {}
        return Entry(self._read(raw), known.uid, known.version, records.owner(raw), held)

    def _replace(self, name: Name, before: Entry[T] | None, after: Entry[T] | None) -> None:
        self._by_name = None
        for index, of in self._grouping.items():
            groups = self._groups[index]
            if before is not None and (value := of(before)) is not None and value in groups:
                groups[value].pop(name, None)
                if not groups[value]:
                    del groups[value]
            if after is not None and (value := of(after)) is not None:
                groups.setdefault(value, {})[name] = None
        if after is None:
            del self._entries[name]
        else:
            self._entries[name] = after
        for follower in self._followers:
            follower(before.record if before is not None else None, after.record if after is not None else None)


BY_OWNER = "owner"
"""Children by (namespace, group and kind, name) of their controlling owner. The owner's uid tells an earlier object of the same name apart."""
BY_LABEL = "label"
BY_NODE = "node"
"""Pods of ModelDeployments by the name of their node."""
BY_MODEL = "model"
"""ModelDeployments and BatchPredictions by (namespace, model)."""
BY_PREDICTION = "prediction"
"""Workers of BatchPredictions by (namespace, name of the prediction). They are owned by its Job."""


class Cache:
    """The stores of all watched kinds, and the indexes that decisions need."""

    def __init__(self, label: str) -> None:
        """`label`: the label by which a ModelDeployment's pods are found (they are owned by ReplicaSets)."""
        self.jobs: Store[TrainingJob] = Store(resources.TRAINING_JOB, records.job, is_settled)
        self.versions: Store[ModelVersion] = Store(resources.MODEL_VERSION, records.model_version)
        self.model_deployments: Store[ModelDeployment] = Store(resources.MODEL_DEPLOYMENT, records.model_deployment)
        self.predictions: Store[BatchPrediction] = Store(resources.BATCH_PREDICTION, records.prediction)
        self.machine_types: Store[MachineType] = Store(resources.MACHINE_TYPE, records.machine_type)
        self.pods: Store[PodRecord] = Store(resources.POD, records.pod)
        self.workloads: Store[DeploymentRecord] = Store(resources.DEPLOYMENT, records.workload)
        self.batch_jobs: Store[BatchJobRecord] = Store(resources.BATCH_JOB, records.batch_job)
        self.services: Store[ServiceRecord] = Store(resources.SERVICE, records.service)
        self.budgets: Store[BudgetRecord] = Store(resources.DISRUPTION_BUDGET, records.budget)
        self.network_policies: Store[NetworkPolicyRecord] = Store(resources.NETWORK_POLICY, records.network_policy)
        self.nodes: Store[NodeRecord] = Store(resources.NODE, records.node)
        self.queued: Store[WorkloadRecord] = Store(resources.WORKLOAD, records.queued)
        self.flavors: Store[FlavorRecord] = Store(resources.RESOURCE_FLAVOR, records.flavor)
        self.priorities: Store[int] = Store(resources.WORKLOAD_PRIORITY, records.priority)
        self.routes: tuple[Store[RouteRecord], ...] = tuple(Store(each, records.route) for each in resources.ROUTES)
        groups: tuple[Store[Any], ...] = tuple(Store(each, records.pod_group) for each in resources.POD_GROUPS)
        self.models = Models()
        self.jobs.follow(self.models.job_changed)
        self.versions.follow(self.models.version_changed)
        self.model_deployments.follow(self.models.deployment_changed)
        self.predictions.follow(self.models.prediction_changed)
        self.model_deployments.group_by(BY_MODEL, lambda e: (e.record.metadata.namespace, e.record.spec.model))
        self.pods.group_by(BY_OWNER, _owned)
        self.pods.group_by(BY_LABEL, lambda e: (e.record.namespace, e.labels[label]) if label in e.labels else None)
        self.pods.group_by(BY_NODE, lambda e: e.record.node or None if label in e.labels else None)
        self.pods.group_by(BY_PREDICTION, _prediction)
        self.predictions.group_by(BY_MODEL, lambda e: (e.record.metadata.namespace, e.record.spec.model))
        self.batch_jobs.group_by(BY_OWNER, _owned)
        self.workloads.group_by(BY_OWNER, _owned)
        self.services.group_by(BY_OWNER, _owned)
        self.budgets.group_by(BY_OWNER, _owned)
        self.queued.group_by(BY_OWNER, _owned)
        for routes in self.routes:
            routes.group_by(BY_OWNER, _owned)
        self._stores: dict[GroupVersionKind, Store[Any]] = {}
        self.served: frozenset[GroupVersionKind] = frozenset()
        """The optional kinds that the API server serves now, as far as all their objects are known."""
        stores: tuple[Store[Any], ...] = (
            self.jobs,
            self.versions,
            self.model_deployments,
            self.predictions,
            self.machine_types,
            self.pods,
            self.workloads,
            self.batch_jobs,
            self.services,
            self.budgets,
            self.network_policies,
            self.nodes,
            self.queued,
            self.flavors,
            self.priorities,
            *groups,
            *self.routes,
        )
        for store in stores:
            self.add(store)

    def add(self, store: Store[Any]) -> None:
        """Keep objects of one more kind."""
        self._stores[store.resource.gvk] = store

    @property
    def stores(self) -> tuple[Store[Any], ...]:
        """Those of all kinds."""
        return tuple(self._stores.values())

    def store(self, gvk: GroupVersionKind) -> Store[Any] | None:
        """The store of a kind, None for kinds that are not watched."""
        return self._stores.get(gvk)


def _owned(
    entry: Entry[PodRecord]
    | Entry[DeploymentRecord]
    | Entry[BatchJobRecord]
    | Entry[ServiceRecord]
    | Entry[BudgetRecord]
    | Entry[WorkloadRecord]
    | Entry[RouteRecord],
) -> tuple[str, GroupKind, str] | None:
    owner = entry.owner
    return (entry.record.namespace, owner.group_kind, owner.name) if owner.uid else None


def _prediction(entry: Entry[PodRecord]) -> tuple[str, str] | None:
    name = entry.labels.get(labels.BATCH_PREDICTION)
    is_of_job = entry.owner.group_kind == resources.BATCH_JOB.gvk.group_kind
    return (entry.record.namespace, name) if name and is_of_job else None
